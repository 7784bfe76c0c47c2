"""Pulse-width: every slot on the array, one conversion, by every backend."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from norsim.backends.macro import Macro
from norsim.backends.registry import backend_named, read
from norsim.chip.model import Chip
from norsim.evaluation.dry_run.rates import drives_per_read
from norsim.evaluation.proof.kept_reads import load_samples, samples_of, samples_table, save_samples
from norsim.evaluation.proof.sampling import Quota, Sampler
from norsim.evaluation.proof.verification import decks, verify
from norsim.jobs.workers import HERE
from norsim.periphery.encoding import sensed_amps
from norsim.quantization.layer import QuantizedLayer
from norsim.report.array import SolvedTile, errors, solve_worst
from norsim.tiling.grid import TileGrid, exact_sums, place
from norsim.tiling.on_device.build import device_tile
from norsim.tiling.read_noise import ReadNoise
from tests.conftest import reader_by

MakeLayer = Callable[..., QuantizedLayer]
SmallChip = Callable[..., Chip]
PULSES = (
    "encoding=pulse-width", "tile.bitlines=16", "pulse_width.reference_every=8", "pulse_width.wires.strap_every=8",
)  # fmt: skip
PERFECT = (
    "pulse_width.wires.strap_ends=all",
    *(f"pulse_width.wires.{name}=0 ohm" for name in ("bitline", "bitline_end", "source_line", "source_line_end")),
)


def codes_of(vectors: int, inputs: int, top: int) -> np.ndarray:
    random = np.random.default_rng(1)
    return random.integers(0, top, (vectors, inputs), dtype=np.uint8) * (random.random((vectors, inputs)) < 0.7)


def test_eight_bit_integers_are_exact_on_perfect_wires(small_chip: SmallChip, make_layer: MakeLayer) -> None:
    """255 slots, two slices a weight, by nodal, which solves each different drive once."""
    layer, codes = make_layer(9, 4, weight_bits=8, input_bits=8), codes_of(3, 9, 256)
    grid = place(layer, small_chip(*PULSES, *PERFECT, "adc.bits=24")).program()
    (part, array), nodal = grid.programmed()[0], reader_by("nodal")
    stimulus = array.drive(part.codes(codes))
    assert stimulus.vectors == 3 * 255 and stimulus.distinct()[0].vectors <= 3 * 10
    fitted = grid.fit(codes, nodal, np.random.default_rng(0))
    assert np.array_equal(np.rint(fitted.multiply(codes, nodal)), exact_sums(layer, codes))


@pytest.fixture(scope="module")
def grid(small_chip: SmallChip) -> TileGrid:
    """Return a layer of 3-bit activations, with noise of converters and of cells, fitted."""
    layer = QuantizedLayer(
        "fc", np.random.default_rng(0).integers(0, 256, (4, 11)), 120, np.full(4, 0.5), 8, 0.25, 0, 3
    )  # fmt: skip
    noise = ("adc.noise=0.2", "silicon.reading={scale: 12 nA, knee: 215 nA}")
    grid = place(layer, small_chip(*PULSES, *noise, "calibration.reads=16")).program()
    return grid.fit(codes_of(20, 11, 8), reader_by("macro"), np.random.default_rng(0))


def test_a_pass_is_the_sum_of_its_slots_in_every_backend(grid: TileGrid) -> None:
    codes = codes_of(5, 11, 8)
    for part, array in grid.programmed():
        own, sense = part.codes(codes), array.encoding.sense(array.outputs)
        expected = np.zeros((5, part.conversions))
        for slot in range(7):
            # Code 1 has one slot, so this is a single drive.
            one = array.encoding.drive((own > slot).astype(np.uint8), array.outputs, 1)
            expected += np.array(
                [sensed_amps(read(array.tile, one.take(slice(k, k + 1)), "ngspice"), sense)[0] for k in range(5)]
            )
        for name, bound in (("nodal", 1e-8), ("macro", 1e-4)):
            amps = grid.read_whole(codes, reader_by(name))[grid.tiles.index(part)].amps
            assert amps.shape == (5, 1, part.conversions)
            assert np.abs(amps[:, 0] - expected).max() <= bound * part.full_scale_amps
        assert np.abs(expected).max() > 0.02 * part.full_scale_amps


def test_many_slots_are_read_for_some_vectors_at_a_time(grid: TileGrid, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that their volts need little memory; the result and its noise are the same."""
    codes, noise = codes_of(5, 11, 8), ReadNoise(3, images=5)
    whole = grid.read_whole(codes, reader_by("nodal", noise=noise))
    lines = sum(sum(array.tile.thresholds.shape) for array in grid.arrays)
    monkeypatch.setattr("norsim.tiling.reader.VOLTS_AT_ONCE", 2 * 7 * lines)
    nodal = reader_by("nodal", noise=noise)
    starts = {first for _, first, some, _ in grid.read(codes, nodal) if len(some) == 2 or first == 4}
    assert starts == {0, 2, 4}
    for one, parts in zip(whole, grid.read_whole(codes, nodal), strict=True):
        assert np.array_equal(one.line_noise, parts.line_noise) and one.shape == parts.shape
        np.testing.assert_allclose(parts.amps, one.amps, rtol=0, atol=1e-12)
    np.testing.assert_allclose(grid.multiply(codes, nodal), sum_of(grid, whole), rtol=0, atol=1e-6)


def sum_of(grid: TileGrid, whole: list) -> np.ndarray:
    total = np.zeros((5, grid.layer.outputs))
    for part, read_ in zip(grid.tiles, whole, strict=True):
        total[:, part.outputs.start : part.outputs.stop] += read_.sums
    return total


def test_a_read_counts_for_its_different_drives(grid: TileGrid) -> None:
    part = grid.tiles[0]
    codes = np.repeat(np.array([[0], [5]], np.uint8), 11, axis=1)
    assert drives_per_read(part, codes, backend_named("macro")) == 1
    # Code 0 leaves all slots empty; code 5 has five that are up and two that are not.
    assert drives_per_read(part, codes, backend_named("nodal")) == 1.5


def test_sums_with_noise_are_those_of_reads_and_of_a_device(grid: TileGrid) -> None:
    codes, noise = codes_of(30, 11, 8), ReadNoise(3, images=30)
    sums = grid.multiply(codes, reader_by("macro", noise=noise))
    again, quiet = np.zeros_like(sums), grid.multiply(codes, reader_by("macro"))
    whole = grid.read_whole(codes, reader_by("macro", noise=noise))
    for (part, array), one in zip(grid.programmed(), whole, strict=True):
        own = slice(part.outputs.start, part.outputs.stop)
        again[:, own] += one.sums
        tile = device_tile(part, array, Macro(), torch.device("cpu"))
        found = tile.read_some(torch.from_numpy(codes), noise.of_tile(part, array, 30))
        assert found.amps.shape == one.shape == (30, 1, part.conversions)
        assert np.abs(found.amps.numpy() - one.amps).max() <= 3e-6 * part.full_scale_amps
        assert found.line_noise is not None and one.line_noise is not None
        np.testing.assert_allclose(found.line_noise.numpy(), one.line_noise, rtol=1e-4, atol=1e-12)
    np.testing.assert_allclose(sums, again, rtol=1e-5, atol=1e-3)
    assert np.abs(sums - quiet).max() > 1


def test_kept_reads_have_all_slots_and_are_proved(grid: TileGrid, tmp_path_factory: pytest.TempPathFactory) -> None:
    sampler = Sampler(Quota(1, 1, 4), 0)
    reader = reader_by("macro", observe=sampler.observe, noise=None)
    codes = codes_of(12, 11, 8)
    grid.multiply(codes, reader)
    samples = sampler.samples()
    assert all(sample.stimulus.vectors == 7 for sample in samples)
    # Two reads of seven slots are a deck of at most 16 drives.
    assert {len(deck) for deck in decks(samples, [], in_rounds=False)} <= {1, 2}
    found = verify(samples, HERE, backend_named("ngspice"), 4, rungs={"fc": backend_named("nodal")})
    assert found.samples == 4 and found.max_error_full_scale is not None and found.tiles is not None
    assert found.max_error_full_scale < 1e-4 and 0 < found.tiles.reads
    assert np.abs(errors(samples[0])).max() < 0.05
    path = tmp_path_factory.mktemp("kept") / "samples.npz"
    with open(path, "wb") as file:
        save_samples(samples, 4, file)
    stored, at_random = load_samples(path, {"fc": grid})
    of_table = samples_of(samples_table(samples), {"fc": grid})
    assert at_random == 4
    for one, other, third in zip(samples, stored, of_table, strict=True):
        assert one.part.adcs == other.part.adcs == third.part.adcs and np.array_equal(one.amps, other.amps)
        assert np.array_equal(one.stimulus.wordline_volts, other.stimulus.wordline_volts)
        assert np.array_equal(one.stimulus.wordline_volts, third.stimulus.wordline_volts)
    solved = solve_worst(stored)
    assert isinstance(solved, SolvedTile)
    assert solved.wordlines_up in {(one.stimulus.wordline_volts[0] > 0).sum() for one in stored}


def test_energy_counts_slots_and_one_conversion(small_chip: SmallChip, make_layer: MakeLayer) -> None:
    energies = {}
    for encoding in ("bit-serial", "pulse-width"):
        chip = small_chip(*PULSES, f"encoding={encoding}", "cost.held=true")
        grid = place(make_layer(8, 3, input_bits=3), chip).program()
        codes = codes_of(9, 8, 8)
        energies[encoding] = grid.fit(codes, reader_by("macro"), np.random.default_rng(0)).tiles[0].energy
    serial, pulses = energies["bit-serial"], energies["pulse-width"]
    assert pulses.converters == pytest.approx(serial.converters)
    # Cells of code x conduct in x slots of a read, or in one of three reads for each of its bits.
    bits = sum((codes >> bit & 1).sum() for bit in range(3)) / 3
    assert pulses.cells / serial.cells == pytest.approx(codes.sum() / bits, rel=0.1)
    # Each wordline with a pulse rises once, across four bitlines, with a pump of half efficiency.
    assert pulses.lines == pytest.approx((codes > 0).sum() / 9 * 4 * 0.15e-15 * 25 / 0.5, rel=1e-6)
