"""A factored line agrees with a matrix solver for any resistances, including ideal straps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from norsim.array.compiled import njit
from norsim.array.tile import Floats
from norsim.array.wires import Wires
from norsim.solver import factored_line
from norsim.solver.factored_line import Chain
from norsim.solver.nodal import kernels
from norsim.solver.simd import double_zero
from tests.solver.resistors import line_edges, node_volts

LANES = kernels.HALF
OHMS = st.one_of(st.just(0.0), st.floats(1e-3, 1e4))


@njit()
def of_bitlines(conductances, ohms, lost, ends, drop, amps, totals, up, moved):  # type: ignore[no-untyped-def]
    for first in range(0, conductances.shape[1], kernels.CHUNK):
        last = min(first + kernels.CHUNK, conductances.shape[1])
        kernels.solve_bitlines(
            double_zero(), first, last, conductances, ohms, lost, ends, drop, amps, totals, LANES, up, moved
        )


@njit()
def of_source_lines(  # type: ignore[no-untyped-def]
    per_line, wordlines, conductances, ohms, lost, ends, cell, slopes, rise, amps, along, up, moved
):
    """Solve with ideal straps."""
    kernels.solve_source_lines(
        double_zero(),
        per_line,
        wordlines,
        conductances,
        ohms,
        lost,
        ends,
        cell,
        slopes,
        cell,
        slopes,
        slopes,
        moved,
        0,
        rise,
        amps,
        along,
        LANES,
        up,
        moved,
    )


def solve_bitlines(line: Chain, conductances: Floats, amps: Floats) -> tuple[Floats, Floats, Floats]:
    """Solve by the kernel, with all wordlines up and from no drop; return drops, currents that follow, and changes."""
    drop, updated, moved = np.zeros(amps.shape), amps.copy(), np.zeros(LANES)
    lost, totals = np.ascontiguousarray(1 - line.share.T), np.empty((len(amps), kernels.CHUNK, LANES))
    of_bitlines(
        conductances, line.ohms, lost, line.last, drop, updated, totals, np.ones((len(amps), LANES)), moved
    )  # fmt: skip
    return drop, updated, moved


def by_matrix(conductances: Floats, drawn: Floats, ohms: float, end_ohms: float, every: int | None) -> Floats:
    """Solve by a nodal matrix how far a line's cells are above its volts, `[cells]`; `drawn` flows into the line."""
    cells = len(conductances)
    edges, nodes = line_edges(range(cells), [cells], cells + 1, ohms, end_ohms, every)
    edges += [(m, cells, 1 / conductances[m]) for m in range(cells) if conductances[m] > 0]
    # A last node connected to the line's volts, so that at least one edge has resistance.
    edges.append((cells, nodes, 1.0))
    return node_volts(nodes + 1, edges, {cells: 0.0}, -np.pad(drawn, (0, nodes + 1 - cells)))[:cells]


@given(st.integers(1, 9), st.integers(1, 4), OHMS, OHMS, st.sampled_from([None, 1, 2, 3, 16]), st.integers(0, 99))
def test_source_lines_meet_a_nodal_matrix(
    cells: int, lines: int, ohms: float, end_ohms: float, every: int | None, seed: int
) -> None:
    random = np.random.default_rng(seed)
    conductances = random.choice([0.0, 1e-6, 1e-4], (lines, cells)) * random.random((lines, cells))
    amps = random.normal(0, 1e-6, (2 * lines, cells, LANES))
    wires = Wires(0.0, 0.0, ohms, end_ohms, 2, every)
    line = factored_line.source_lines(wires, conductances)
    rise, moved, drawn_amps = np.zeros((lines, cells, LANES)), np.zeros(LANES), amps.copy()
    slopes = random.random((2 * lines, cells))
    of_source_lines(
        2, 2 * lines, conductances, line.ohms, 1 - line.share, line.last, line.cell, slopes, rise, drawn_amps,
        np.empty((len(line.cell), LANES)), np.ones((2 * lines, LANES)), moved,
    )  # fmt: skip
    np.testing.assert_allclose(
        drawn_amps, amps - slopes[:, :, None] * np.repeat(rise, 2, axis=0), rtol=1e-9, atol=1e-18
    )
    np.testing.assert_allclose(moved, (conductances[:, :, None] * np.abs(rise)).sum(axis=(0, 1)), rtol=1e-9)
    for k in range(lines):
        for lane in range(LANES):
            drawn = amps[2 * k : 2 * k + 2, :, lane].sum(axis=0)
            expected = by_matrix(conductances[k], drawn, ohms, end_ohms, every)
            scale = max(np.abs(expected).max(), 1e-12)
            np.testing.assert_allclose(rise[k, :, lane], expected, rtol=1e-9, atol=1e-9 * scale)


@given(st.integers(1, 9), st.integers(1, 20), OHMS, OHMS, st.integers(0, 99))
def test_bitlines_meet_a_nodal_matrix(cells: int, lines: int, ohms: float, end_ohms: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    conductances = random.choice([0.0, 1e-6, 1e-4], (cells, lines)) * random.random((cells, lines))
    amps = random.normal(0, 1e-6, (cells, lines, LANES))
    line = factored_line.bitlines(Wires(ohms, end_ohms), conductances)
    drop, updated, moved = solve_bitlines(line, conductances, amps)
    for j in range(lines):
        for lane in (0, LANES - 1):
            expected = by_matrix(conductances[:, j], amps[:, j, lane], ohms, end_ohms, None)
            scale = max(np.abs(expected).max(), 1e-12)
            np.testing.assert_allclose(drop[:, j, lane], expected, rtol=1e-9, atol=1e-9 * scale)
    fallen = conductances[:, :, None] * drop
    np.testing.assert_allclose(updated, amps - fallen, rtol=1e-9, atol=1e-18)
    np.testing.assert_allclose(moved, np.abs(fallen).sum(axis=(0, 1)), rtol=1e-9)


def test_the_sign_of_a_drop_is_that_of_the_currents() -> None:
    """By hand: 1 uA at each of two cells, 2 ohm to the driver and 3 ohm between: 4 uV and 7 uV."""
    conductances = np.zeros((2, 1))
    line = factored_line.bitlines(Wires(3.0, 2.0), conductances)
    drop, _, _ = solve_bitlines(line, conductances, np.full((2, 1, LANES), 1e-6))
    assert drop[:, 0, 3] == pytest.approx([4e-6, 7e-6], rel=1e-12)


def test_an_ideal_strap_holds_its_node() -> None:
    line = factored_line.source_lines(Wires(source_ohms=5.0, strap_every=1), np.zeros((1, 2)))
    assert line.cell.tolist() == [-1, 0, -1, 1, -1]
    assert line.share[0, [2, 4]].tolist() == [0.0, 0.0] and line.last[0] == 0.0
