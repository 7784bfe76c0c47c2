"""Noise that is drawn for each read, as evaluations see it: its verification, and the accuracy that it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import norsim
from norsim.backends.registry import reference
from norsim.chip.load import choose_chip
from norsim.chip.model import Chip
from norsim.data import load
from norsim.evaluation.attribution import classify
from norsim.evaluation.proof.kept_reads import load_samples, samples_table, save_samples
from norsim.evaluation.proof.sampling import Quota, Sample, Sampler
from norsim.evaluation.proof.verification import tiles_of, verify
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
# Twice the spread of SONOS cells from read to read; small currents have small deviations.
SONOS = ("silicon.reading.scale=25 nA", "silicon.reading.knee=215 nA")
CODES = np.random.default_rng(1).integers(0, 16, (6, 11), dtype=np.uint8)


def sampled(chip: Chip, layer: QuantizedLayer, backend: str) -> list[Sample]:
    """Return all reads of a layer with noise, with their tiles, as a run samples them."""
    grid, sampler = place(layer, chip).program(), Sampler(Quota(1000, 0, 0), seed=0)
    grid.multiply(CODES, reader_by(backend, observe=sampler.observe, noise=ReadNoise(0)))
    return sampler.samples()


LOSSLESS = tuple(
    f"bit_serial.wires.{text}" for text in ("bitline=0 ohm", "bitline_end=0 ohm", "source_line=0 ohm", "strap_ends=all")
)


@pytest.mark.parametrize(
    ("settings", "least", "most"),
    [
        pytest.param(LOSSLESS, 0, 1e-4, id="lossless wires"),
        pytest.param((), 0, 0.02, id="wires"),
        # Resistive lines take a part of each deviation, which the run leaves out.
        pytest.param(("bit_serial.wires.source_line=2 kohm",), 0.02, 0.2, id="resistive wires"),
        # Cells conduct other currents than their targets.
        pytest.param((*LOSSLESS, "silicon.programmed_at=27 degC", "temperature=85 degC"), 0, 0.01, id="hot"),
        # Deviations are proportional to the drain volts to first order only.
        pytest.param(("encoding=linear-pair",), 0.01, 0.12, id="linear-pair"),
    ],
)
def test_a_read_is_verified_with_cells_drawn_for_it(
    small_chip: SmallChip, make_layer: MakeLayer, settings: tuple[str, ...], least: float, most: float
) -> None:
    """Each deck has thresholds of its own, and their currents are those of the run up to a share of its noise."""
    samples = sampled(small_chip(*SONOS, *settings), make_layer(11, 8), "ngspice")[::5]
    found = verify(samples, Threads(2), reference(), len(samples))
    without = verify([replace(sample, line_noise=None) for sample in samples], Threads(2), reference(), len(samples))
    assert found.rms_error_full_scale is not None and without.rms_error_full_scale is not None
    assert without.rms_error_full_scale > 1e-3
    assert least <= found.rms_error_full_scale / without.rms_error_full_scale < most
    tiles = [one for one, sample in zip(tiles_of(samples), samples, strict=True) if sample.part is samples[0].part]
    assert len(tiles) > 1 and not np.array_equal(tiles[0].thresholds, tiles[1].thresholds)


def test_kept_reads_are_verified_as_in_the_run(
    small_chip: SmallChip, make_layer: MakeLayer, tmp_path: Path
) -> None:  # fmt: skip
    """From the file of a run and from its table of batches, whose tiles are programmed again."""
    grid = place(make_layer(11, 8), small_chip(*SONOS)).program()
    sampler = Sampler(Quota(2, 0, 0), seed=0)
    grid.multiply(CODES, reader_by("ngspice", observe=sampler.observe, noise=ReadNoise(0)))
    with open(tmp_path / "samples.npz", "wb") as file:
        save_samples(sampler.samples(), 0, file)
    read_back, _ = load_samples(tmp_path / "samples.npz", {"fc": grid})
    rows = samples_table(sampler.samples()).to_pylist()
    expected = tiles_of(sampler.samples())
    for tile, again, sample, row in zip(expected, tiles_of(read_back), sampler.samples(), rows, strict=True):
        assert np.array_equal(tile.thresholds, again.thresholds)
        assert sample.line_noise is not None and row["line_noise"] == sample.line_noise.tolist()


def test_the_size_of_batches_does_not_change_the_noise() -> None:
    """Predictions and verified reads of 600 inputs, in batches of 64 and of 500, with noise of cells and converters."""
    torch.manual_seed(0)
    inputs, labels = torch.rand(600, 12), torch.arange(600) % 4
    settings = {"silicon.reading": {"scale": "60 nA", "knee": "1 nA"}, "adc.noise": 1, "tile.wordlines": 16}
    net = norsim.deploy(nn.Linear(12, 4), "etox65", calibration=(inputs[:50], labels[:50]), set=settings)
    one, other = (
        net.evaluate(DataLoader(TensorDataset(inputs, labels), batch_size=size), spice_sample=0, proof_images=0)
        for size in (64, 500)
    )
    assert np.array_equal(one.predictions, other.predictions)
    assert not np.array_equal(one.predictions, one.predictions_quantized)


def losses(network: str, data: str, folder: Path | None, images: int, settings: tuple[str, ...]) -> dict[str, float]:
    """Return the points of accuracy that a network loses on the chip by noise drawn per read and once per chip, against
    the chip without noise, on the same images."""
    test = load(data, "test", folder).take(images, None)
    right = {}
    for kind, noise in (("none", ()), ("per_read", HALF), ("per_chip", (*HALF, "silicon.reading_drawn=per_chip"))):
        choice = choose_chip("etox65", (*settings, *noise))
        net = open_experiment(network, choice, data, folder, seed=0).net.calibrate()
        predictions = classify(net.parts.analog, test, reader_by("macro"), test.labels).classes
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
