"""Noise that is drawn for each read, as evaluations see it: its verification, and the accuracy that it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from norsim.backends.registry import reference
from norsim.chip.load import choose_chip
from norsim.chip.model import Chip
from norsim.data import load
from norsim.evaluation.attribution import classify
from norsim.evaluation.proof import Sample, Sampler, tiles_of, verify
from norsim.experiments.experiment import open_experiment
from norsim.jobs.workers import Threads
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.grid import place
from norsim.tiling.read_noise import ReadNoise
from tests.conftest import reader_by

MakeLayer = Callable[..., QuantizedLayer]
SmallChip = Callable[..., Chip]

CIFAR = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10"
# Half a level step for all cells that conduct.
HALF = ("silicon.reading.scale=53.333 nA", "silicon.reading.knee=1 fA")
CODES = np.random.default_rng(1).integers(0, 16, (6, 11), dtype=np.uint8)


def sampled(chip: Chip, layer: QuantizedLayer, backend: str) -> list[Sample]:
    """Return all reads of a layer with noise, with their tiles, as a run samples them."""
    grid, sampler = place(layer, chip).program(), Sampler(1000, seed=0)
    grid.multiply(CODES, reader_by(backend, observe=sampler.observe, noise=ReadNoise(0)))
    return sampler.samples()


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_a_read_is_verified_with_cells_drawn_for_it(
    small_chip: SmallChip, make_layer: MakeLayer, lossless: tuple[str, ...], encoding: str
) -> None:
    """On lossless wires each deck gives the run's current, by thresholds of its own; without the noise of the read, its
    currents are far from them."""
    chip = small_chip(*HALF, *lossless, f"encoding={encoding}")
    samples = sampled(chip, make_layer(11, 8), "ngspice")[::7]
    # The deviation of a linear-pair cell is proportional to its drain volts to first order only.
    bound = 1e-5 if encoding == "bit-serial" else 5e-3
    found = verify(samples, Threads(2), reference())
    assert found.max_error_full_scale is not None and found.max_error_full_scale < bound
    tiles = tiles_of(samples)
    same_tile = [one for one, sample in zip(tiles, samples, strict=True) if sample.part is samples[0].part]
    assert len(same_tile) > 1 and not np.array_equal(same_tile[0].thresholds, same_tile[1].thresholds)
    without = verify([replace(sample, line_noise=None) for sample in samples], Threads(2), reference())
    assert without.rms_error_full_scale is not None and without.rms_error_full_scale > 2 * bound


@pytest.mark.slow
def test_wires_leave_an_error_of_the_first_order(small_chip: SmallChip, make_layer: MakeLayer) -> None:
    """A cell's deviation reaches the sense amplifier whole in a run; in the circuit, resistive lines take a part of it:
    an rms error of less than 3 % of the noise on the preset's wires, and more on lines of the stress chip."""
    shares = []
    for ohms in ("20 ohm", "600 ohm"):
        chip = small_chip(*HALF, f"bit_serial.wires.source_line={ohms}")
        samples = sampled(chip, make_layer(11, 8), "ngspice")[::7]
        with_noise = verify(samples, Threads(2), reference())
        without = verify([replace(sample, line_noise=None) for sample in samples], Threads(2), reference())
        assert with_noise.rms_error_full_scale is not None and without.rms_error_full_scale is not None
        shares.append(with_noise.rms_error_full_scale / without.rms_error_full_scale)
    assert shares[0] < 0.03 < shares[1] < 0.3, shares


def losses(network: str, data: str, folder: Path | None, images: int, settings: tuple[str, ...]) -> dict[str, float]:
    """Return the points of accuracy that a network loses on the chip by noise drawn per read and once per chip, against
    the chip without noise, on the same images."""
    test = load(data, "test", folder).take(images, None)
    right = {}
    for kind, noise in (("none", ()), ("per_read", HALF), ("per_chip", (*HALF, "silicon.reading_drawn=per_chip"))):
        choice = choose_chip("etox65", (*settings, *noise))
        net = open_experiment(network, choice, data, folder, seed=0).net.calibrate()
        predictions = classify(net.parts.analog, test, reader_by("macro"))
        right[kind] = 100 * float((predictions == test.labels).mean())
    return {kind: right["none"] - right[kind] for kind in ("per_read", "per_chip")}


@pytest.mark.slow
def test_noise_per_read_costs_less_than_noise_per_chip() -> None:
    """The small network of digits, on 300 images and with more noise than on CIFAR-10."""
    found = losses("digits-cnn", "digits", None, 300, ())
    assert 0 <= found["per_read"] < found["per_chip"], found


@pytest.mark.soak
@pytest.mark.skipif(not CIFAR.is_dir(), reason="no CIFAR-10 beside the repository")
def test_noise_of_half_a_level_costs_resnet_20() -> None:
    """On 1,000 images of CIFAR-10: 6 +- 3 points drawn for each read, more than twice that drawn once per chip."""
    found = losses("resnet20", "cifar10", CIFAR, 1000, ())
    assert found["per_read"] == pytest.approx(6, abs=3), found
    assert found["per_chip"] > 2 * found["per_read"], found
