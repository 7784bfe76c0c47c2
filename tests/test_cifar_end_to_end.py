"""A user-supplied network on real CIFAR-10 images, from Python, through ngspice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import norsim
from norsim.data import load
from norsim.data.batches import batches_of
from norsim.data.tensors import images_tensor
from norsim.jobs.workers import Threads
from norsim.tiling.modules import tiled_layers

CIFAR = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar10"


@pytest.mark.skipif(not CIFAR.is_dir(), reason="no CIFAR-10 beside the repository")
@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_a_tiny_network_runs_on_two_images(encoding: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=5), nn.ReLU(), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(16, 10)
    ).eval()
    test = load("cifar10", "test", CIFAR).take(8, None)
    images = images_tensor(test)
    chip = norsim.load_chip("etox65", (f"encoding={encoding}", "calibration.reads=16"))
    analog = norsim.convert(norsim.quantize(network, [images]), chip)
    norsim.calibrate(analog, images[2:], workers=Threads(2))
    loader = [(images[:1], test.labels[:1]), (images[1:2], test.labels[1:2])]
    result = norsim.evaluate(analog, loader, backend="ngspice", spice_sample=4, workers=Threads(2))
    assert result.images == 2 and result.encoding == encoding
    assert (result.verification.max_error_full_scale or 1) < 1e-7
    assert {name for name, _ in tiled_layers(analog).items()} == {"0", "4"}
    # The network is untrained, so its accuracy is meaningless, but the array must not change its answers.
    assert (result.predictions == result.predictions_quantized).all()
    assert len(list(batches_of(test))) == 1
