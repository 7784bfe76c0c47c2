"""A factored line agrees with a matrix solver for any resistances, including ideal straps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from norsim.array.tile import Floats
from norsim.array.wires import Wires
from norsim.solver import factored_line, nodal_kernels
from tests.solver.resistors import line_edges, node_volts

OHMS = st.one_of(st.just(0.0), st.floats(1e-3, 1e4))


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
    amps = random.normal(0, 1e-6, (2 * lines, cells, 3))
    wires = Wires(0.0, 0.0, ohms, end_ohms, 2, every)
    line = factored_line.source_lines(wires, conductances)
    rise = np.zeros((lines, cells, 3))
    solver: Any = nodal_kernels._solve_source_lines
    solver(
        amps, 2, conductances, line.ohms, line.cell, line.share, line.last, rise, np.empty((len(line.cell), 3))
    )  # fmt: skip
    for k in range(lines):
        for lane in range(3):
            drawn = amps[2 * k : 2 * k + 2, :, lane].sum(axis=0)
            expected = by_matrix(conductances[k], drawn, ohms, end_ohms, every)
            scale = max(np.abs(expected).max(), 1e-12)
            np.testing.assert_allclose(rise[k, :, lane], expected, rtol=1e-9, atol=1e-9 * scale)


@given(st.integers(1, 9), st.integers(1, 4), OHMS, OHMS, st.integers(0, 99))
def test_bitlines_meet_a_nodal_matrix(cells: int, lines: int, ohms: float, end_ohms: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    conductances = random.choice([0.0, 1e-6, 1e-4], (cells, lines)) * random.random((cells, lines))
    amps = random.normal(0, 1e-6, (cells, lines, 3))
    line = factored_line.bitlines(Wires(ohms, end_ohms), conductances)
    drop, updated = np.zeros(amps.shape), amps.copy()
    solver: Any = nodal_kernels._solve_bitlines
    solver(updated, conductances, line.ohms, line.share, line.last, drop, np.empty(amps.shape), np.empty(3))
    for j in range(lines):
        for lane in range(3):
            expected = by_matrix(conductances[:, j], amps[:, j, lane], ohms, end_ohms, None)
            scale = max(np.abs(expected).max(), 1e-12)
            np.testing.assert_allclose(drop[:, j, lane], expected, rtol=1e-9, atol=1e-9 * scale)
    np.testing.assert_allclose(updated, amps - conductances[:, :, None] * drop, rtol=1e-9, atol=1e-18)


def test_the_sign_of_a_drop_is_that_of_the_currents() -> None:
    """By hand: 1 uA at each of two cells, 2 ohm to the driver and 3 ohm between: 4 uV and 7 uV."""
    line = factored_line.bitlines(Wires(3.0, 2.0), np.zeros((2, 1)))
    drop, amps = np.zeros((2, 1, 1)), np.full((2, 1, 1), 1e-6)
    solver: Any = nodal_kernels._solve_bitlines
    solver(amps, np.zeros((2, 1)), line.ohms, line.share, line.last, drop, np.empty((2, 1, 1)), np.empty(1))
    assert drop.ravel() == pytest.approx([4e-6, 7e-6], rel=1e-12)


def test_an_ideal_strap_holds_its_node() -> None:
    line = factored_line.source_lines(Wires(source_ohms=5.0, strap_every=1), np.zeros((1, 2)))
    assert line.cell.tolist() == [-1, 0, -1, 1, -1]
    assert line.share[0, [2, 4]].tolist() == [0.0, 0.0] and line.last[0] == 0.0
