"""The verification of a run: reads solved again by ngspice and by the next rung, which detect any changed current."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.nodal import Nodal
from norsim.backends.registry import BACKENDS, reference
from norsim.chip.model import Chip
from norsim.errors import ThresholdError
from norsim.evaluation.proof.sampling import Quota, Sample, Sampler, drawn, drawn_of_passes
from norsim.evaluation.proof.verification import (
    READS_PER_DECK,
    READS_PER_ROUND,
    Verification,
    check_errors,
    decks,
    verify,
    worse_fraction,
)
from norsim.evaluation.proof.words import sentences
from norsim.jobs.workers import HERE, Threads
from norsim.quantization.layer import QuantizedLayer
from norsim.spice.simulators import ngspice
from norsim.tiling.grid import TileGrid, place
from tests.conftest import USUAL_SAMPLE, OfTheTest, reader_by

MakeLayer = Callable[..., QuantizedLayer]
SmallChip = Callable[..., Chip]
Solver = Callable[[Tile, Stimulus], Currents]
CODES = np.random.default_rng(1).integers(0, 16, (6, 11), dtype=np.uint8)


@pytest.fixture
def grid(small_chip: SmallChip, make_layer: MakeLayer) -> TileGrid:
    """Return a grid of two rows and two columns of tiles."""
    return place(make_layer(11, 8), small_chip()).program()


def observed(grid: TileGrid, name: str, quota: Quota, seed: int = 0) -> Sampler:
    sampler = Sampler(quota, seed)
    for batch in (CODES[:2], CODES[2:]):
        grid.multiply(batch, reader_by(name, observe=sampler.observe))
    return sampler


def proof(grid: TileGrid, backend: str, count: int = 10, jobs: int = 2) -> Verification:
    return verify(observed(grid, backend, Quota()).samples(), Threads(jobs), reference(), count)


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_a_run_with_ngspice_is_confirmed(small_chip: SmallChip, make_layer: MakeLayer, encoding: str) -> None:
    """Decks of the proof hold other reads in another order than those of the run: ngspice starts each read from the one
    before, which changes currents by its tolerance."""
    grid = place(make_layer(11, 8), small_chip(f"encoding={encoding}")).program()
    samples = observed(grid, "ngspice", Quota()).samples()
    found = verify(samples, Threads(2), reference(), 10, each_pass=True)
    assert found.samples == found.drawn == 10 and found.layers == {"fc": 10}
    assert found.max_error_full_scale is not None and found.rms_error_full_scale is not None
    assert found.rms_error_full_scale <= found.max_error_full_scale < 1e-7
    assert found.adc_mismatch_fraction == 0.0 and found.worse_fraction_95 == pytest.approx(1 - 0.05**0.1)
    # The exact interval of 0 in 10 reads: 1 - (1 - u)^10 = 97.5 %.
    assert found.adc_mismatch_ci95 == pytest.approx((0.0, 1 - 0.025**0.1))
    assert found.tiles is None, "ngspice has no rung above it"
    passes = len({sample.pass_index for sample in samples})
    assert found.passes and found.passes.reads == passes and (found.passes.max_error_full_scale or 1) < 1e-7


@pytest.mark.parametrize("share", [1e-6, 1e-2])
def test_a_modified_current_is_measured(grid: TileGrid, register: Callable[[Solver], str], share: float) -> None:
    """A share of full scale is added to bitline 0, which is output 0, in every read of every tile."""

    def modified(tile: Tile, stimulus: Stimulus) -> Currents:
        currents = ngspice.read(tile, stimulus)
        (part,) = [part for part, one in zip(grid.tiles, grid.arrays, strict=True) if one.tile.name == tile.name]
        bitline = currents.bitline.copy()
        bitline[:, 0] += share * part.full_scale_amps
        return replace(currents, bitline=bitline)

    found = proof(grid, register(modified))
    assert found.max_error_full_scale == pytest.approx(share, rel=1e-2)
    # 255 steps span twice the full scale.
    assert found.max_error_steps == pytest.approx(share * 255 / 2, rel=1e-2)
    assert found.rms_error_full_scale is not None and 0.2 * share < found.rms_error_full_scale < share
    # 1 % of full scale is more than one converter step.
    assert found.adc_mismatch_fraction is not None and (found.adc_mismatch_fraction > 0.1) == (share > 1e-3)


def test_one_wrong_read_is_detected_if_all_are_sampled(grid: TileGrid, register: Callable[[Solver], str]) -> None:
    def modified(tile: Tile, stimulus: Stimulus) -> Currents:
        currents = ngspice.read(tile, stimulus)
        if "tile 1,0" not in tile.name:
            return currents
        bitline = currents.bitline.copy()
        bitline[3, 0] += 1e-6
        return replace(currents, bitline=bitline)

    found = proof(grid, register(modified), count=1000)
    assert found.samples == 4 * 6 * 4
    assert found.max_error_full_scale == pytest.approx(1e-6 / grid.at(1, 0).full_scale_amps, rel=1e-2)


def test_one_wrong_tile_is_found_by_the_next_rung(grid: TileGrid, switched: Solver) -> None:
    """The error is in one tile of four; the only read of the random sample is of another tile."""

    def wrong(tile: Tile, stimulus: Stimulus) -> Currents:
        currents = switched(tile, stimulus)
        bitline = currents.bitline.copy()
        if "tile 1,1" in tile.name:
            bitline[:, 0] += 1e-3 * grid.at(1, 1).full_scale_amps
        return replace(currents, bitline=bitline)

    exact, lower = OfTheTest(switched, {"name": "exact"}), OfTheTest(wrong, {})
    sampler = Sampler(Quota(), 1)
    grid.multiply(CODES, replace(reader_by("macro", observe=sampler.observe), backend=lower))
    found = verify(sampler.samples(), HERE, exact, 1, rungs={"fc": exact})
    assert found.samples == 1 and found.max_error_full_scale == 0.0
    assert found.tiles and (found.tiles.drawn, found.tiles.reads, found.tiles.witness) == (16, 16, "exact")
    assert found.tiles.worst_tile == "fc tile 1,1"
    assert found.tiles.max_error_full_scale == pytest.approx(1e-3, rel=1e-6)
    check_errors(found, 1.01e-3, 0.13)
    for limits in ((0.99e-3, None), (None, 0.12)):
        with pytest.raises(ThresholdError, match="in the reads of every tile, the largest error"):
            check_errors(found, *limits)
    assert any("fc tile 1,1" in line for line in sentences(found))


def test_macro_is_checked_by_nodal_and_nodal_by_none() -> None:
    rungs = {name: backend.rung_above for name, backend in BACKENDS.items()}
    assert isinstance(rungs.pop("macro"), Nodal) and set(rungs.values()) == {None}


def fake(key: float, tile: str, grid: TileGrid, one: int = 0) -> Sample:
    """Return a read of a tile, by its place, without results."""
    row, column = map(int, tile.split(","))
    part = grid.at(row, column)
    nothing = np.zeros(len(part.outputs))
    volts = Stimulus(np.zeros((1, 8)), np.zeros((1, 8)))
    tile_key = (1 + 2 * row + column) / 5
    return Sample(key, part, volts, nothing, nothing.astype(np.int32), None, one, tile_key=tile_key)


def test_reads_of_a_tile_share_a_deck_and_no_read_is_solved_twice(grid: TileGrid) -> None:
    random = np.random.default_rng(0)
    places = [f"{row},{column}" for row in (0, 1) for column in (0, 1)]
    samples = [fake(float(key), places[k % 4], grid, k % 3) for k, key in enumerate(random.random(100))]
    passes = drawn_of_passes(samples, 1)
    assert {(read.part.name, read.pass_index) for read in passes} == {("fc tile 0,0", one) for one in range(3)}
    whole = decks(drawn(samples, 60), passes, in_rounds=False)
    assert {id(read) for deck in whole for read in deck} == {id(read) for read in [*drawn(samples, 60), *passes]}
    assert sum(map(len, whole)) == len({id(read) for deck in whole for read in deck})
    assert all(len(deck) <= READS_PER_DECK and len({read.part.name for read in deck}) == 1 for deck in whole)
    # In rounds, any number of decks holds the first reads in random order, up to one round.
    order = [id(read) for read in drawn(samples, 60)]
    done: list[int] = []
    for deck in decks(drawn(samples, 60), passes, in_rounds=True):
        done += [order.index(id(read)) for read in deck if id(read) in order]
        first = next(k for k in range(61) if k not in done)
        assert max(done) < first + READS_PER_ROUND


def test_the_result_of_a_limited_time_is_about_the_reads_that_were_done(grid: TileGrid, switched: Solver) -> None:
    def slow(tile: Tile, stimulus: Stimulus) -> Currents:
        time.sleep(0.1)
        return switched(tile, stimulus)

    one, sampler = OfTheTest(switched, {}), Sampler(Quota(), 0)
    grid.multiply(CODES, replace(reader_by("macro", observe=sampler.observe), backend=one))
    samples, witness = sampler.samples(), OfTheTest(slow, {"name": "slow"})
    found = verify(samples, HERE, witness, 60, each_pass=True, seconds=0.35)
    assert found.drawn == 60 and 0 < found.samples < 60
    assert found.passes and found.passes.drawn == 4 and found.passes.reads > 0
    assert found.worse_fraction_95 is not None and found.worse_fraction_95 >= worse_fraction(found.samples)
    assert f"in the given time {found.samples} of 60 reads" in sentences(found)[-1]
    least = verify(samples, HERE, witness, 60, seconds=1e-9)
    assert 1 <= least.samples <= READS_PER_ROUND, "one deck is always solved"


def test_the_largest_share_that_may_be_worse() -> None:
    """Of 59 reads, none is among the worst 5 % with a probability of 0.95^59 = 4.85 %; of 58, with 5.1 %."""
    assert worse_fraction(59) < 0.05 < worse_fraction(58) and USUAL_SAMPLE == 59
    assert worse_fraction(1) == pytest.approx(0.95) and worse_fraction(0) == 1.0


def test_a_sample_holds_the_results_of_its_read(
    grid: TileGrid, register: Callable[[Solver], str], switched: Solver
) -> None:
    for sample in observed(grid, register(switched), Quota()).samples():
        assert sample.array is not None
        amps = sample.part.amps(switched(sample.array.tile, sample.stimulus))
        assert sample.stimulus.vectors == 1
        assert np.array_equal(sample.amps, amps[0])
        assert np.array_equal(sample.adc, sample.part.adcs[0].convert(sample.amps))


def test_without_samples_there_is_no_result(
    grid: TileGrid, register: Callable[[Solver], str], switched: Solver
) -> None:
    assert verify([], Threads(1), reference(), 5, each_pass=True) == Verification(0)
    assert proof(grid, "ideal") == Verification(0)
    samples = observed(grid, register(switched), Quota()).samples()
    assert verify(samples, Threads(1), reference(), 0, each_pass=True) == Verification(0)
    assert sentences(Verification(0)) == []
