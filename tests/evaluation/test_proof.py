"""The verification of a run: a sample solved again by ngspice, which detects any changed current."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.registry import reference
from norsim.chip.model import Chip
from norsim.evaluation.proof import Sampler, Verification, choose_samples, verify
from norsim.jobs.workers import Threads
from norsim.quantization.layer import QuantizedLayer
from norsim.spice.simulators import ngspice
from norsim.tiling.grid import TileGrid, place
from tests.conftest import reader_by

MakeLayer = Callable[..., QuantizedLayer]
SmallChip = Callable[..., Chip]
Solver = Callable[[Tile, Stimulus], Currents]
CODES = np.random.default_rng(1).integers(0, 16, (6, 11), dtype=np.uint8)


@pytest.fixture
def grid(small_chip: SmallChip, make_layer: MakeLayer) -> TileGrid:
    """Return a grid of two rows and two columns of tiles."""
    return place(make_layer(11, 8), small_chip()).program()


def proof(grid: TileGrid, backend: str, count: int = 10, jobs: int = 2) -> Verification:
    sampler = Sampler(count, seed=0)
    grid.multiply(CODES, reader_by(backend, observe=sampler.observe))
    return verify(choose_samples(sampler.samples(), count), Threads(jobs), reference())


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_a_run_with_ngspice_is_confirmed(small_chip: SmallChip, make_layer: MakeLayer, encoding: str) -> None:
    found = proof(place(make_layer(11, 8), small_chip(f"encoding={encoding}")).program(), "ngspice")
    assert found.samples == 10
    assert found.max_error_full_scale is not None and found.rms_error_full_scale is not None
    assert found.rms_error_full_scale <= found.max_error_full_scale < 1e-8
    assert found.adc_mismatch_fraction == 0.0
    assert found.adc_mismatch_ci95 is not None
    # Wilson's interval of 0 in n outputs: 0 to z^2 / (n + z^2).
    assert found.adc_mismatch_ci95[0] == pytest.approx(0.0, abs=1e-12) and 0 < found.adc_mismatch_ci95[1] < 0.2


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
    assert found.rms_error_full_scale is not None and 0.2 * share < found.rms_error_full_scale < share
    # 1 % of full scale is more than one converter step: 255 steps span twice the full scale.
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


def observed(grid: TileGrid, count: int, seed: int, name: str) -> Sampler:
    sampler = Sampler(count, seed)
    for batch in (CODES[:2], CODES[2:]):
        grid.multiply(batch, reader_by(name, observe=sampler.observe))
    return sampler


def test_the_sample_is_seeded_and_spread_evenly_over_tiles(
    grid: TileGrid, register: Callable[[Solver], str], switched: Solver
) -> None:
    name = register(switched)
    samplers = [observed(grid, 6, seed, name) for seed in (0, 0, 1)]
    assert samplers[0].reads == {"fc": 4 * 6 * 4}
    first, again, other = (choose_samples(sampler.samples(), 6) for sampler in samplers)
    per_tile = [sample.part.name for sample in first]
    assert len(per_tile) == 6 and {per_tile.count(part.name) for part in grid.tiles} == {1, 2}
    same = zip(first, again, strict=True)
    assert all(np.array_equal(a.amps, b.amps) and a.key == b.key for a, b in same)
    assert [sample.key for sample in first] != [sample.key for sample in other]


def test_a_sample_holds_the_results_of_its_read(
    grid: TileGrid, register: Callable[[Solver], str], switched: Solver
) -> None:
    for sample in observed(grid, 12, 0, register(switched)).samples():
        assert sample.array is not None
        amps = sample.part.amps(switched(sample.array.tile, sample.stimulus))
        assert sample.stimulus.vectors == 1
        assert np.array_equal(sample.amps, amps[0])
        assert np.array_equal(sample.adc, sample.part.adc.convert(sample.amps))


def test_without_samples_there_is_no_result(grid: TileGrid) -> None:
    assert verify(Sampler(5, 0).samples(), Threads(1), reference()) == Verification(0, None, None, None, None)
    assert proof(grid, "ideal") == Verification(0)
