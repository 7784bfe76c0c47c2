"""Memory layout: a user's forward sees contiguous images, and outputs that are laid out as those of torch's layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from norsim.chip.load import load_chip
from norsim.data import Dataset, load
from norsim.quantization.quantize import quantize
from norsim.saved.network_folder import load_network
from norsim.saved.post_training import DataPlace, quantized_folder
from norsim.tiling.convert import convert
from norsim.tiling.modules import digital, reading
from norsim.training.finetune import examples_of
from tests.conftest import Solver, reader_by, ready
from tests.faults.networks import SMALL, check_same_answers, pictures

NETS = '''
import torch
from torch import nn

class Lenet(nn.Module):
    """As in torch's tutorial, and deeper: images and features are viewed as vectors, in every form of that."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.c, self.f = nn.Linear(192, 192), nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6 * 16, 10)

    def forward(self, x):
        assert x.is_contiguous() and x.stride() == (192, 64, 8, 1)
        x = self.first(x.view(-1, 192)).view(-1, 3, 8, 8)
        y = self.c(x)
        assert y.is_contiguous() and y.stride(1) == 64
        return self.f(torch.max_pool2d(torch.relu_(y), 2).view(x.size(0), -1))

def make():
    return Lenet()
'''


def colour(split: str, count: int) -> Dataset:
    digits = load("digits", split).take(count)
    images = np.repeat(digits.images, 3, axis=1)
    return Dataset("colour", split, images, digits.labels, digits.classes, digits.full_scale, "digits")


def test_a_network_that_views_colour_images_is_quantized_and_stored(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    train, test = colour("train", 64), colour("test", 8)
    arrays = {f"{one.split}_{kind}": getattr(one, kind) for one in (train, test) for kind in ("images", "labels")}
    np.savez(tmp_path / "colour.npz", **arrays, full_scale=16)
    place = tmp_path / "network"
    quantized_folder(f"{tmp_path}/nets.py:make", None, DataPlace(str(tmp_path / "colour.npz")), place, "norsim")
    network, _ = load_network(str(place), trusted=True)
    analog = convert(network, load_chip("etox65", SMALL))
    images = torch.from_numpy(test.images).float() / 16
    with torch.no_grad(), digital(analog):
        torch.testing.assert_close(analog(images), network(images), rtol=1e-4, atol=1e-4)


def test_fine_tuning_gives_contiguous_images() -> None:
    examples = examples_of(colour("train", 20), "crop-flip", torch.device("cpu"))
    batch = examples.batch(torch.arange(4), "crop-flip", torch.Generator())
    assert batch.shape == (4, 3, 8, 8) and batch.is_contiguous()


FORMATS = (torch.contiguous_format, torch.channels_last)


def laid_out(kind: str) -> Tensor:
    images = pictures(4, 3, 6)
    return {
        "contiguous": images, "channels last": images.contiguous(memory_format=torch.channels_last),
        "transposed": images.transpose(2, 3), "part of channels last": images.contiguous(
            memory_format=torch.channels_last)[:, :, 1:],
        "every other column": images[..., ::2], "expanded": images[:1].expand(4, -1, -1, -1),
    }[kind]  # fmt: skip


KINDS = ("contiguous", "channels last", "transposed", "part of channels last", "every other column", "expanded")


@pytest.mark.parametrize("weights", FORMATS)
def test_outputs_are_laid_out_as_torch_does(weights: torch.memory_format, switched: Solver, register: Any) -> None:
    """From integers and from an array, for all layouts of inputs and weights."""
    layers = [nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(3, 5, 1), nn.Conv2d(3, 1, 2)]
    network = nn.ModuleList(layers).to(memory_format=weights)  # type: ignore[call-overload]
    reader = reader_by(register(switched))
    for layer in network:
        analog = convert(quantize(layer, [pictures()]), load_chip("etox65", SMALL))
        for kind in KINDS:
            images = laid_out(kind)
            with torch.no_grad(), digital(analog):
                expected, found = layer(images), analog(images)
            for layout in FORMATS:
                same = found.is_contiguous(memory_format=layout) == expected.is_contiguous(memory_format=layout)
                assert same, (kind, layer, layout)
    with torch.no_grad(), reading(ready(analog), reader):
        assert analog(laid_out("channels last")).stride() == layer(laid_out("channels last")).stride()


@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
def test_outputs_of_linear_layers_and_1d_convolutions_are_contiguous(axes: tuple[int, int]) -> None:
    sequence = pictures(4, 5, 8)[:, :, 0].permute(*axes, 2)
    linear = convert(quantize(nn.Linear(8, 3), [sequence]), load_chip("etox65", SMALL))
    convolution = convert(quantize(nn.Conv1d(8, 3, 2), [sequence.mT]), load_chip("etox65", SMALL))
    with digital(linear), digital(convolution):
        assert linear(sequence).is_contiguous() and convolution(sequence.mT).is_contiguous()


class PerImage(nn.Module):
    """Convolves images one by one, without an axis of images, and changes outputs in place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.c, self.d, self.f = nn.Conv2d(3, 4, 3), nn.Conv1d(4, 4, 2), nn.Linear(4 * 3, 5)

    def forward(self, x: Tensor) -> Any:
        y = torch.stack([self.c(image).add_(0.1) for image in x])
        y = torch.stack([self.d(image) for image in y.flatten(2)[..., :4]])
        y[:, 0] = 0
        return self.f(y.view(len(x), -1))


def test_images_one_by_one_and_changes_in_place() -> None:
    check_same_answers(PerImage(), pictures())
