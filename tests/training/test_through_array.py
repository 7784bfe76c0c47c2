"""Training through the circuit: the array's output and its gradient, and recovery on a bad chip."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from norsim.chip.load import load_chip
from norsim.chip.model import Chip
from norsim.data import load
from norsim.data.tensors import images_tensor
from norsim.errors import ConfigurationError, DataError, WriteError
from norsim.evaluation.evaluate import evaluate
from norsim.quantization.quantize import quantize
from norsim.saved.network_folder import load_network
from norsim.tiling.calibrate import calibrate
from norsim.tiling.convert import convert
from norsim.tiling.modules import TiledLayer, reading, tiled_layers
from norsim.tiling.read_noise import ReadNoise
from norsim.tiling.reader import Reader
from norsim.training import finetune, through_array
from norsim.training.checkpoint import CHECKPOINT
from norsim.training.finetune import fine_tune, training_chip
from norsim.training.through_array import effective_weights, through_circuit
from norsim.training.tuning import Tuning
from tests.conftest import contents, reader_by

BAD = ("bit_serial.wires.source_line=1 kohm",)


def digits_on(encoding: str, *settings: str) -> tuple[nn.Module, nn.Module]:
    """Return the shipped network, and the same network on a chip, calibrated."""
    network, _ = load_network("digits-cnn")
    analog = convert(network, load_chip("etox65-stress", (f"encoding={encoding}", *settings)))
    calibrate(analog, images_tensor(load("digits", "train", None).take(64, None)))
    return network, analog


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_forward_equals_the_array(encoding: str) -> None:
    network, analog = digits_on(encoding)
    images = images_tensor(load("digits", "test", None).take(8, None))
    with reading(analog, reader_by("macro")):
        expected = analog(images)
    digital = network(images)
    with through_circuit(network, analog, ReadNoise(0)):
        found = network(images)
    assert found.requires_grad
    found, digital = found.detach(), digital.detach()
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * scale)
    assert float((found - digital).abs().max()) > 1e-3 * scale
    # After the block it is digital again.
    torch.testing.assert_close(network(images).detach(), digital)


def test_in_torch_it_is_the_same_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a card: the circuit's outputs and gradients, but for a few currents at the edge of a converter's code."""
    found = []
    for in_torch in (False, True):
        monkeypatch.setattr(through_array, "Reader", partial(Reader, in_torch=in_torch))
        network, analog = digits_on("bit-serial")
        images = images_tensor(load("digits", "test", None).take(8, None)).requires_grad_(True)
        with through_circuit(network, analog, ReadNoise(0)):
            outputs = network(images)
            outputs.square().sum().backward()
        assert all((layer.path is not None) == in_torch for layer in tiled_layers(analog).values())
        assert images.grad is not None
        found.append((outputs.detach(), images.grad, network.get_parameter("conv1.weight").grad))
    for one, other in zip(*found, strict=True):
        assert one is not None and other is not None
        torch.testing.assert_close(one, other, rtol=0, atol=2e-3 * float(one.abs().max()))


@pytest.mark.parametrize("settings", [(), ("tile.row_order=true",), ("mapping.scheme=digital",)])
@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_effective_weights_are_the_slopes_of_the_array(encoding: str, settings: tuple[str, ...]) -> None:
    """Compared with finite differences: all codes at a quarter of full drive, then each input one step higher. The
    weights approximate the integers q - z, with deviations caused by wires."""
    analog = digits_on(encoding, "adc.bits=20", *settings)[1]
    grid = tiled_layers(analog)["fc"].grid
    found = effective_weights(grid).numpy()
    exact = grid.layer.weights.astype(float) - grid.layer.weight_zero
    inputs = [0, 17, 255, 256, 319]
    # A bit is binary, so the mean slope over set and cleared bits is that of random patterns.
    random = np.random.default_rng(0)
    # Few bits are set; otherwise a converter of this layer clips.
    base = (random.random((400, grid.layer.inputs)) < 0.1) * 15 if encoding == "bit-serial" else np.full((1, 320), 4)
    for k in inputs:
        low, high = base.astype(np.uint8).copy(), base.astype(np.uint8).copy()
        low[:, k], high[:, k] = (0, 15) if encoding == "bit-serial" else (3, 5)
        step = float(high[0, k]) - float(low[0, k])
        slope = (grid.multiply(high, reader_by("macro")) - grid.multiply(low, reader_by("macro"))).mean(axis=0) / step
        assert np.abs(found[:, k] - slope).max() <= 0.35
        assert np.corrcoef(found[:, k], exact[:, k])[0, 1] > 0.98


def test_effective_weights_of_groups_have_the_order_of_the_weights(
    small_chip: Callable[..., Chip], lossless: tuple[str, ...]
) -> None:
    """On lossless wires they are the integers, over several tiles of each group."""
    torch.manual_seed(0)
    images = torch.randn(2, 4, 5, 5)
    analog = convert(quantize(nn.Conv2d(4, 20, 3, groups=2), [images]), small_chip(*lossless, "adc.bits=16"))
    assert isinstance(analog, TiledLayer) and len(analog.grid.tiles) > 4
    calibrate(analog, images)
    exact = analog.grid.layer.weights.astype(float) - analog.grid.layer.weight_zero
    assert np.abs(effective_weights(analog.grid).numpy() - exact).max() < 0.1


def test_every_weight_and_the_image_get_a_gradient() -> None:
    network, analog = digits_on("bit-serial")
    images = images_tensor(load("digits", "test", None).take(4, None)).requires_grad_(True)
    with through_circuit(network, analog, ReadNoise(0)):
        network(images).square().sum().backward()
    for name, layer in network.named_modules():
        if name in tiled_layers(analog):
            assert float(layer.weight.grad.abs().max()) > 0, name
    assert images.grad is not None and float(images.grad.abs().max()) > 0


@pytest.mark.slow
def test_training_recovers_accuracy_on_a_bad_chip(tmp_path: Path) -> None:
    """With 1 kilohm of source line per cell, the accuracy on unseen test images recovers."""
    network, _ = load_network("digits-cnn")
    chip, train, test = load_chip("etox65-stress", BAD), load("digits", "train", None), load("digits", "test", None)

    def on_the_array(some: nn.Module) -> float:
        analog = convert(some, chip)
        calibrate(analog, images_tensor(train.take(256, np.random.default_rng([0, 4]))))
        return evaluate(analog, test, spice_sample=0).accuracy

    before = copy.deepcopy(network.state_dict())
    tuned = fine_tune(network, chip, train, Tuning(steps=40, rate=0.03), tmp_path)
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in before.items())
    assert on_the_array(network) < 0.9
    assert on_the_array(tuned) > on_the_array(network) + 0.08


def test_tuning_draws_chips_that_no_evaluation_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the user's seed 0, tuning used chips 0, 1, ... of an evaluation with that seed."""
    programmed: list[Chip] = []

    def watching(model: nn.Module, chip: Chip, *arguments: Any, **named: Any) -> nn.Module:
        programmed.append(chip)
        return convert(model, chip, *arguments, **named)

    monkeypatch.setattr(finetune, "convert", watching)
    network, _ = load_network("digits-cnn")
    chip, train = (
        load_chip("etox65-stress", ("silicon.drift_cell=5 mV", "calibration.reads=4")),
        load("digits", "train", None),
    )
    tuning = Tuning(steps=3, refresh=1, batch_size=2)
    fine_tune(network, chip, train.take(16, None), tuning, tmp_path)
    assert len(programmed) == 3

    def cells(some: Chip) -> bytes:
        return some.draw.at((0, 0)).normal("cell", (64,)).tobytes()

    tuned = {cells(one) for one in programmed}
    evaluated = {cells(chip.specimen(seed, number)) for seed in (0, 1) for number in range(50)}
    assert len(tuned) == 3 and not tuned & evaluated
    # The same seed tunes on the same chips, another one on others.
    assert [training_chip(chip, 0, number) for number in range(3)] == programmed
    seeds = {training_chip(chip, seed, number).draw.seed for seed in range(20) for number in range(20)}
    assert len(seeds) == 400 and min(seeds) >= 1 << 62


def test_an_interrupted_tuning_ends_in_the_same_weights(tmp_path: Path, full_disk: Callable[[str], None]) -> None:
    network, _ = load_network("digits-cnn")
    chip, train = load_chip("etox65-stress", ("silicon.drift_cell=5 mV",)), load("digits", "train", None)
    tuning = Tuning(steps=6, refresh=2)
    whole = fine_tune(network, chip, train, tuning, tmp_path / "whole").state_dict()

    def stop(done: int, steps: int, loss: float) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(network, chip, train, tuning, tmp_path / "part", progress=stop)
    seen: list[int] = []
    part = fine_tune(
        network, chip, train, tuning, tmp_path / "part", resume=True, progress=lambda done, *_: seen.append(done)
    ).state_dict()
    assert seen == [6]
    assert all(torch.equal(value, part[key]) for key, value in whole.items())
    with pytest.raises(ConfigurationError, match="another network, chip or data"):
        fine_tune(network, chip, train, Tuning(steps=8, refresh=2), tmp_path / "part", resume=True)
    saved = torch.load(tmp_path / "part" / CHECKPOINT, weights_only=True)
    torch.save(saved | {"device": "cuda NVIDIA H100"}, tmp_path / "part" / CHECKPOINT)
    with pytest.raises(ConfigurationError, match="the device is cpu, but .* was computed on cuda NVIDIA H100"):
        fine_tune(network, chip, train, tuning, tmp_path / "part", resume=True)
    before = contents(tmp_path / "part")
    full_disk(CHECKPOINT)
    with pytest.raises(WriteError, match="checkpoint.pt cannot be written: No space left on device"):
        fine_tune(network, chip, train, Tuning(steps=1, refresh=1), tmp_path / "part")
    assert contents(tmp_path / "part") == before
    (tmp_path / "part" / CHECKPOINT).write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="cannot be read"):
        fine_tune(network, chip, train, tuning, tmp_path / "part", resume=True)
