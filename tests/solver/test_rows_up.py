"""Reads with few wordlines up have the currents that all cells of the tile as unknowns have, or are left to these."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.solver import nodal
from norsim.solver.nodal import rows_up
from norsim.solver.nodal.tile import Prepared
from norsim.solver.strap_metal import own_ohms, unloaded_straps
from tests.solver.arrays import array_of, channel, characterized, table_of
from tests.solver.test_nodal import tile_of

OHMS = st.one_of(st.just(0.0), st.floats(0.1, 5.0))
STRAPS = st.tuples(st.sampled_from(["one", "both"]), st.floats(0.1, 2.0), OHMS)
WIRES = st.builds(
    lambda straps, bitline, end, source, per_line, every: Wires(
        bitline, end, source, 0.0, per_line, every, strap_ends=straps[0], strap_ohms=straps[1], ground_ohms=straps[2]
    ),
    st.one_of(STRAPS, st.just(("all", 0.0, 0.0))), OHMS, OHMS, st.floats(0.1, 50.0), st.integers(1, 3),
    st.sampled_from([1, 4, 16, 17, 20]),
)  # fmt: skip


def drives(rows: int, columns: int, reads: int, seed: int) -> Stimulus:
    """Return reads without a wordline up, with one, with all, and with random ones of all densities."""
    random = np.random.default_rng(seed)
    up = random.random((reads, rows)) < random.uniform(0.0, 1.0, (reads, 1))
    up[0], up[1], up[2] = False, np.arange(rows) == rows - 1, True
    return Stimulus(5.0 * up, np.full((reads, columns), 0.5))


def all_cells(prepared: Prepared, stimulus: Stimulus) -> Currents:
    bitline, source, residual = nodal._solve_all_cells(prepared, stimulus, 1, 1e-10)
    return Currents(prepared.tile.with_leaks(bitline), source, residual <= 1e-10, residual, "nodal")


def assert_equal(found: Currents, expected: Currents, prepared: Prepared) -> None:
    scale = prepared.table.top_amps * prepared.tile.wordlines
    assert found.converged.all() and expected.converged.all()
    assert np.abs(found.bitline - expected.bitline).max() <= 2e-9 * scale
    assert np.abs(found.source - expected.source).max() <= 2e-9 * scale * prepared.tile.bitlines


@given(WIRES, st.integers(1, 40), st.integers(1, 36), st.integers(3, 40), st.integers(0, 99))
@settings(max_examples=25)
def test_both_ways_find_the_same_currents(wires: Wires, rows: int, columns: int, reads: int, seed: int) -> None:
    random, plain = np.random.default_rng(seed), tile_of(array_of("bit-serial", 4, 4).tile.cell, wires, rows, columns)
    gains = random.uniform(0.8, 1.2, (rows, columns)) if seed % 2 else None
    offsets, leaks = random.uniform(-1e-3, 1e-3, columns), random.uniform(0.0, 1e-8, columns)
    tile = Tile(plain.thresholds, plain.cell, wires, gains=gains, offsets=offsets, leaks=leaks)
    stimulus = drives(rows, columns, reads, seed)
    prepared = nodal.prepare(tile, characterized(tile, stimulus, channel))
    assert rows_up.suits(prepared, stimulus)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_up, "MOST_CELLS", np.inf)
        solved = rows_up.solve(prepared, stimulus, 1, nodal.TOLERANCE)[2]
        assert_equal(nodal.solve(prepared, stimulus), all_cells(prepared, stimulus), prepared)
    assert solved.all()


@given(WIRES, st.integers(1, 30), st.integers(1, 36))
def test_what_a_line_lifts_its_own_straps_is_a_part_of_the_whole_matrix(
    wires: Wires, lines: int, bitlines: int
) -> None:
    assume(wires.has_strap_metal)
    whole, own = unloaded_straps(wires, lines, bitlines).per_ampere(), own_ohms(wires, lines, bitlines)
    straps = own.shape[1]
    for k, found in enumerate(own):
        here = slice(k * straps, (k + 1) * straps)
        np.testing.assert_allclose(found, whole[here, here], rtol=1e-9, atol=1e-9 * np.abs(whole).max())


@pytest.fixture(scope="module")
def large() -> tuple[Prepared, Stimulus]:
    array = array_of("bit-serial", 256, 64, strap_ends="one", strap_ohms=0.4, ground_ohms=1.0)
    stimulus = drives(256, array.tile.bitlines, 700, 1)
    return nodal.prepare(array.tile, table_of(array.tile, stimulus)), stimulus


def test_reads_of_a_large_tile_are_those_of_all_its_cells(large: tuple[Prepared, Stimulus]) -> None:
    prepared, stimulus = large
    assert_equal(nodal.solve(prepared, stimulus), all_cells(prepared, stimulus), prepared)
    some = np.array([5, 3, 699])
    assert_equal(nodal.solve(prepared, stimulus.take(some)), nodal.solve(prepared, stimulus).take(some), prepared)


def test_the_number_of_threads_changes_nothing(large: tuple[Prepared, Stimulus]) -> None:
    prepared, stimulus = large
    one, three = nodal.solve(prepared, stimulus, threads=1), nodal.solve(prepared, stimulus, threads=3)
    assert (one.bitline == three.bitline).all() and (one.residual == three.residual).all()


@pytest.mark.parametrize(("name", "value"), [("MARGIN", 0.2), ("MOST_SWEEPS", 3), ("MOST_CELLS", 0.2)])
def test_reads_that_are_not_solved_are_left_to_all_cells(
    large: tuple[Prepared, Stimulus], monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    prepared, stimulus = large
    before = rows_up.solve(prepared, stimulus, 1, nodal.TOLERANCE)[2]
    monkeypatch.setattr(rows_up, name, value)
    solved = rows_up.solve(prepared, stimulus, 1, nodal.TOLERANCE)[2]
    assert solved.sum() < before.sum() / 2
    assert_equal(nodal.solve(prepared, stimulus), all_cells(prepared, stimulus), prepared)


def test_blocks_of_fewer_reads_are_solved_alike(
    large: tuple[Prepared, Stimulus], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, stimulus = large
    whole = nodal.solve(prepared, stimulus)
    monkeypatch.setattr(rows_up, "CELLS", 2**14)
    assert_equal(nodal.solve(prepared, stimulus), whole, prepared)


def test_only_reads_that_suit_are_taken(large: tuple[Prepared, Stimulus]) -> None:
    prepared, stimulus = large
    tile = prepared.tile
    assert rows_up.suits(prepared, stimulus)
    volts = stimulus.bitline_volts.copy()
    volts[0] = 0.4
    assert not rows_up.suits(prepared, replace(stimulus, bitline_volts=volts))
    for wires in (replace(tile.wires, source_end_ohms=1.0), replace(tile.wires, strap_every=None, strap_ends="all")):
        assert not rows_up.suits(replace(prepared, tile=replace(tile, wires=wires)), stimulus)
    assert not rows_up.suits(replace(prepared, conducting=np.array([True, True])), stimulus)
