"""Nodal obeys Kirchhoff's laws at every node, is exact for linear cells, and reports when it did not converge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from norsim.array.cell import Cell
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.registry import read
from norsim.errors import SolveError
from norsim.periphery.encoding import full_scale_amps
from norsim.solver import nodal
from norsim.solver.characterize import Sweep
from norsim.solver.nodal import rows_up
from tests.solver.arrays import (
    ENCODINGS,
    LAYOUTS,
    NO_LOSS,
    Array,
    array_of,
    channel,
    characterized,
    layouts,
    ohmic,
    table_of,
)
from tests.solver.resistors import resistor_tile

STATES = np.array([3.2, 3.9, 4.4, 5.5])
OHMS = st.one_of(st.just(0.0), st.floats(0.1, 1e3))
STRAPS = st.tuples(st.sampled_from(["one", "both", "all"]), OHMS, OHMS)
DRAWN_WIRES = st.builds(
    lambda straps, *wires: Wires(*wires, 0.0, 0.0, 0.0, 0.0, 0.0, *(straps if wires[2] else ("all", 0.0, 0.0))),
    STRAPS, OHMS, OHMS, OHMS, OHMS, st.integers(1, 3), st.one_of(st.none(), st.integers(1, 6), st.just(16)),
)  # fmt: skip


def tile_of(cell: Cell, wires: Wires, rows: int = 12, columns: int = 10) -> Tile:
    return Tile(np.random.default_rng(rows).choice(STATES, (rows, columns)), cell, wires)


def solver_of(tile: Tile, stimulus: Stimulus, sweep: Sweep) -> nodal.Prepared:
    return nodal.prepare(tile, characterized(tile, stimulus, sweep))


@given(DRAWN_WIRES, st.integers(1, 7), st.integers(1, 8), st.integers(0, 99))
@settings(max_examples=40)
def test_resistor_cells_meet_a_sparse_nodal_matrix(
    resistor_cell: Cell, wires: Wires, rows: int, columns: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    tile = tile_of(resistor_cell, wires, rows, columns)
    stimulus = Stimulus(np.zeros((2, rows)), random.uniform(0.0, 0.6, (2, columns)))
    found = nodal.solve(solver_of(tile, stimulus, ohmic), stimulus)
    assert found.converged.all()
    for vector, volts in enumerate(stimulus.bitline_volts):
        bitline, source = resistor_tile(1e5 * tile.thresholds, wires, volts)
        source = source if wires.strap_every is None else np.array([source.sum()])
        scale = np.abs(bitline).max()
        np.testing.assert_allclose(found.bitline[vector], bitline, rtol=0, atol=1e-8 * scale)
        np.testing.assert_allclose(found.source[vector], source, rtol=0, atol=1e-8 * max(scale, source.max()))


@pytest.mark.parametrize("wires", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_currents_of_resistor_cells_add_up_as_their_volts_do(resistor_cell: Cell, wires: Wires) -> None:
    one, other = np.random.default_rng(1).uniform(0.0, 0.3, (2, 10))
    tile = tile_of(resistor_cell, wires)
    stimulus = Stimulus(np.zeros((3, 12)), np.array([one, other, one + other]))
    found = nodal.solve(solver_of(tile, stimulus, ohmic), stimulus)
    for amps in (found.bitline, found.source):
        assert amps[2] == pytest.approx(amps[0] + amps[1], rel=1e-8, abs=1e-8 * amps.max())


def reads(rows: int, columns: int, mixed: bool) -> Stimulus:
    """Return random drives, and full drive as the last."""
    random = np.random.default_rng(2)
    gates, volts = 5.0 * (random.random((5, rows)) < 0.5), np.full((5, columns), 0.5)
    if mixed:
        volts[:4] *= random.random((4, columns))
    gates[-1] = 5.0
    return Stimulus(gates, volts)


def misfits(line: Floats, ohms: float, end_ohms: float, drawn: Floats) -> Floats:
    """Return the missing amperes at each node of a line sensed next to node 0; `line` is the deviation in volts."""
    steps = np.diff(line) / ohms
    along = np.r_[line[0] / end_ohms, steps, 0.0]
    return along[:-1] - along[1:] - drawn


def strapped_misfits(line: Floats, ohms: float, end_ohms: float, drawn: Floats, every: int) -> tuple[Floats, float]:
    """Return the same for the cells of a strapped line, and the straps' currents by Kirchhoff's current law."""
    starts = range(0, len(line), every)
    groups = [slice(start, start + every) for start in starts]
    neighbours = [[line[0]], *([line[k - 1], line[k]] for k in starts[1:]), [line[-1]]]
    straps = [sum(near) / ohms / (len(near) / ohms + 1 / end_ohms) if end_ohms else 0.0 for near in neighbours]
    result, through = np.empty(len(line)), 0.0
    for k, group in enumerate(groups):
        steps = np.diff(np.r_[straps[k], line[group], straps[k + 1]]) / ohms
        result[group] = steps[:-1] - steps[1:] - drawn[group]
        through += steps[0] - steps[-1]
    return result, through


RESISTIVE = {name: wires for name, wires in layouts().items() if min(wires.bitline_ohms, wires.source_ohms) > 0}


@pytest.mark.parametrize("mixed", [False, True], ids=["one bitline voltage", "mixed bitline volts"])
@pytest.mark.parametrize("wires", RESISTIVE.values(), ids=RESISTIVE.keys())
def test_kirchhoff_holds_at_every_node(resistor_cell: Cell, wires: Wires, mixed: bool) -> None:
    """An ideal driver gets one ohm here, so that its current can be computed from its volts."""
    wires = replace(wires, bitline_end_ohms=wires.bitline_end_ohms or 1.0)
    tile, stimulus = tile_of(resistor_cell, wires, rows=11), reads(11, 10, mixed)
    prepared = solver_of(tile, stimulus, channel)
    gates, volts = np.searchsorted(prepared.table.gates, stimulus.wordline_volts).T, stimulus.bitline_volts.T
    shape, every = (11, 10, stimulus.vectors), wires.strap_every
    amps, drop, rise = nodal.relax(
        prepared, gates, volts, np.zeros(shape), np.zeros((tile.source_lines, *shape[1:])), "both"
    )
    starts = np.arange(0, 11, wires.rows_per_source_line)
    into_lines = np.add.reduceat(amps, starts, axis=0)
    solved = nodal.solve(prepared, stimulus)
    for vector in range(stimulus.vectors):
        flowing = amps[:, :, vector].sum()
        for j in range(10):
            missing = misfits(drop[:, j, vector], wires.bitline_ohms, wires.bitline_end_ohms, amps[:, j, vector])
            assert np.abs(missing).max() <= 3 * nodal.TOLERANCE * flowing
            assert drop[0, j, vector] / wires.bitline_end_ohms == pytest.approx(solved.bitline[vector, j], rel=3e-8)
        returned = 0.0
        for k in range(tile.source_lines):
            line, drawn = rise[k, :, vector], into_lines[k, :, vector]
            if every:
                missing, through = strapped_misfits(line, wires.source_ohms, wires.source_end_ohms, drawn, every)
                returned += through
            else:
                missing = misfits(line, wires.source_ohms, wires.source_end_ohms or 1.0, drawn)
                # At an ideal sense amplifier the first node has no deviation, whatever its current.
                missing = missing if wires.source_end_ohms else missing[1:]
            assert np.abs(missing).max(initial=0.0) <= 3 * nodal.TOLERANCE * flowing
        if every:
            assert returned == pytest.approx(solved.source[vector, 0], rel=3e-8)


@pytest.mark.parametrize("wires", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_what_goes_in_comes_out(resistor_cell: Cell, wires: Wires) -> None:
    tile, stimulus = tile_of(resistor_cell, wires), reads(12, 10, True)
    found = nodal.solve(solver_of(tile, stimulus, channel), stimulus)
    assert found.bitline.sum(axis=1) == pytest.approx(found.source.sum(axis=1), rel=1e-12)
    assert found.converged.all() and found.residual.max() <= nodal.TOLERANCE and found.backend == "nodal"


@pytest.mark.parametrize("strap_every", [None, 4])
def test_bitlines_can_change_places_where_source_lines_have_no_length(
    resistor_cell: Cell, strap_every: int | None
) -> None:
    tile = tile_of(resistor_cell, Wires(40.0, 300.0, 0.0, 60.0, 2, strap_every))
    order = np.random.default_rng(3).permutation(10)
    moved = replace(tile, thresholds=tile.thresholds[:, order])
    stimulus = reads(12, 10, True)
    permuted = Stimulus(stimulus.wordline_volts, stimulus.bitline_volts[:, order])
    found = nodal.solve(solver_of(tile, stimulus, channel), stimulus)
    again = nodal.solve(solver_of(moved, permuted, channel), permuted)
    np.testing.assert_allclose(again.bitline, found.bitline[:, order], rtol=1e-8)
    np.testing.assert_allclose(again.source, found.source, rtol=1e-8)
    # With resistance along the source lines, neighbouring bitlines affect each other.
    long = replace(tile, wires=replace(tile.wires, source_ohms=100.0))
    apart = replace(moved, wires=long.wires)
    one = nodal.solve(solver_of(long, stimulus, channel), stimulus)
    other = nodal.solve(solver_of(apart, permuted, channel), permuted)
    assert np.abs(other.bitline / one.bitline[:, order] - 1).max() > 1e-4


def test_a_read_does_not_depend_on_the_reads_beside_it(resistor_cell: Cell) -> None:
    """67 vectors are two full blocks and part of a third; each alone has the same result, to the tolerance."""
    tile = tile_of(resistor_cell, layouts()["two rows per line, straps with contacts"])
    random = np.random.default_rng(5)
    stimulus = Stimulus(5.0 * (random.random((67, 12)) < 0.5), np.full((67, 10), 0.5))
    prepared = solver_of(tile, stimulus, channel)
    together = nodal.solve(prepared, stimulus)
    for vector in (0, 31, 32, 66):
        alone = nodal.solve(prepared, stimulus.take(slice(vector, vector + 1)))
        scale = together.bitline.max()
        np.testing.assert_allclose(alone.bitline[0], together.bitline[vector], rtol=0, atol=1e-8 * scale)
    backwards = nodal.solve(prepared, stimulus.take(np.arange(66, -1, -1)))
    np.testing.assert_allclose(backwards.bitline[::-1], together.bitline, rtol=0, atol=1e-8 * scale)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_without_wires_a_line_carries_the_sum_of_its_cells(
    encoding: str, exact_sums: Callable[[Array, Stimulus], Floats]
) -> None:
    array = array_of(encoding, 32, 20, **NO_LOSS)
    stimulus = array.stimulus(6, 1)
    found = read(array.tile, stimulus, "nodal")
    lines = found.bitline if encoding == "bit-serial" else found.source
    scale = full_scale_amps(array.encoding, array.inputs, 4, 4)
    assert np.abs(lines - exact_sums(array, stimulus)).max() <= 1e-7 * scale


def test_sweeps_that_end_too_early_are_data_then_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    array = array_of("bit-serial", 12, 10)
    stimulus = array.stimulus(3, 0)
    prepared = nodal.prepare(array.tile, table_of(array.tile, stimulus))
    settled = nodal.solve(prepared, stimulus)
    monkeypatch.setattr(nodal, "MOST_SWEEPS", 2)
    monkeypatch.setattr(rows_up, "MOST_SWEEPS", 2)
    found = nodal.solve(prepared, stimulus)
    quiet = ~stimulus.wordline_volts.any(axis=1)
    assert settled.converged.all() and not found.converged[~quiet].any()
    assert (found.residual[~quiet] > nodal.TOLERANCE).all() and np.isfinite(found.residual).all()
    with pytest.raises(SolveError, match=rf"nodal did not converge on {(~quiet).sum()} of 12 reads of NOR-flash tile"):
        read(array.tile, stimulus, "nodal")


def test_extrapolated_rises_of_straps_settle_in_two_thirds_of_the_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    array = array_of("bit-serial", 256, 16, strap_ends="one", strap_ohms=0.4)
    stimulus = array.stimulus(4, 0)
    prepared = nodal.prepare(array.tile, table_of(array.tile, stimulus))
    monkeypatch.setattr(rows_up, "MOST_CELLS", 0.0)
    still = np.zeros_like(prepared.double.left)
    plain = replace(
        prepared, single=prepared.single._replace(left=still.astype(np.float32)),
        double=prepared.double._replace(left=still),
    )  # fmt: skip
    settled, same = nodal.solve(prepared, stimulus), nodal.solve(plain, stimulus)
    scale = full_scale_amps(array.encoding, array.inputs, 4, 4)
    assert np.abs(settled.bitline - same.bitline).max() <= 1e-8 * scale
    monkeypatch.setattr(nodal, "MOST_SWEEPS", 12)
    assert nodal.solve(prepared, stimulus).converged.all() and not nodal.solve(plain, stimulus).converged.all()


def test_relaxed_lines_that_do_not_settle_are_an_error(resistor_cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    tile, stimulus = tile_of(resistor_cell, Wires(40.0, 300.0, 150.0, 60.0)), reads(12, 10, False)
    prepared = solver_of(tile, stimulus, channel)
    monkeypatch.setattr(nodal, "MOST_SWEEPS", 2)
    gates = np.searchsorted(prepared.table.gates, stimulus.wordline_volts).T
    shape = (12, 10, stimulus.vectors)
    with pytest.raises(SolveError, match="lines of NOR-flash tile do not converge"):
        nodal.relax(prepared, gates, stimulus.bitline_volts.T, np.zeros(shape), np.zeros((6, *shape[1:])), "both")


def test_held_lines_keep_their_volts(resistor_cell: Cell) -> None:
    tile, stimulus = tile_of(resistor_cell, Wires(40.0, 300.0, 150.0, 60.0)), reads(12, 10, False)
    prepared = solver_of(tile, stimulus, channel)
    gates, volts = np.searchsorted(prepared.table.gates, stimulus.wordline_volts).T, stimulus.bitline_volts.T
    drop, rise = np.full((12, 10, stimulus.vectors), 1e-4), np.full((6, 10, stimulus.vectors), 1e-5)
    still = nodal.relax(prepared, gates, volts, drop, rise, "none")
    assert np.array_equal(still[1], drop) and np.array_equal(still[2], rise)
    at_cells = 0.5 - 1e-4 * np.ones((12, 10)), 1e-5 * np.ones((12, 10))
    expected = channel(tile.cell, stimulus.wordline_volts[0][:, None], *at_cells, tile.thresholds)
    np.testing.assert_allclose(still[0][:, :, 0], expected, atol=1e-8 * prepared.table.top_amps)
    assert np.array_equal(nodal.relax(prepared, gates, volts, drop, rise, "bitlines")[2], rise)
    assert np.array_equal(nodal.relax(prepared, gates, volts, drop, rise, "source lines")[1], drop)
