"""Typical networks, on lossless wires and with wide converters: the sums of the array are the integers.

A current is never an exact integer: program-verify leaves a deviation of each level, cells at 0 V leak, and a converter
has steps. So a sum is within a small bound of its integer, not equal to it. Everything that a digital accumulator
computes from it is exact, and is compared bit for bit: the rounded sums, the activation codes of every layer, and the
outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from norsim.chip.load import load_chip
from norsim.chip.model import Chip
from norsim.jobs.workers import Threads
from norsim.periphery.encoding import Codes
from norsim.quantization.quantize import quantize
from norsim.tiling.calibrate import calibrate
from norsim.tiling.convert import convert
from norsim.tiling.grid import TileGrid
from norsim.tiling.macs import count_macs
from norsim.tiling.modules import reading, tiled_layers
from norsim.tiling.reader import Reader
from tests.conftest import reader_by, ready
from tests.tiling.real_networks import Deep, DeiT, Functional, KeywordSpotter, Swin, UNet, mobilenet

WIDE = "adc.bits=24"
# Bound on the deviation of a sum from its integer, in steps of one weight code times one activation code; below 0.5.
NEAR = 1e-3


class Block(nn.Module):
    """A residual block with a grouped and a depthwise convolution; the addition is functional."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(inputs, outputs, 3, stride, padding=1, groups=2, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.depthwise = nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.grouped(x)))
        return torch.relu(self.norm2(self.depthwise(y)) + self.shortcut(x))


class GroupedResNet(nn.Module):
    """Two residual blocks between a stem and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.layer1, self.layer2 = Block(4, 4, 1), Block(4, 6, 2)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(torch.relu(self.stem(x))))
        found: Tensor = self.head(x.mean((2, 3)))
        return found


class Attention(nn.Module):
    """Attention with two heads, linear layers for projections, and products in the forward function."""

    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        images, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(images, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-2, -1) * (width / self.heads) ** -0.5, -1)
        found: Tensor = self.project((weights @ v).transpose(1, 2).reshape(images, tokens, width))
        return found


class VisionTransformer(nn.Module):
    """4 x 4 patches, a class token, learned positions, one pre-norm layer, and a head."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, 5, width))
        self.norm1, self.norm2, self.norm = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        x = x + self.attention(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        found: Tensor = self.head(self.norm(x)[:, 0])
        return found


def along_one_axis() -> nn.Module:
    """Return a network for signals: strided, dilated, grouped and with circular padding."""
    return nn.Sequential(
        nn.Conv1d(2, 6, 5, stride=2, padding=2), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(6, 6, 3, padding=2, dilation=2, groups=3, padding_mode="circular"), nn.LeakyReLU(),
        nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(12, 4),
    )  # fmt: skip


def transformer() -> nn.Module:
    """Return an encoder layer of torch, which multiplies weights in functions until it is split."""
    layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0, batch_first=True)
    return nn.Sequential(nn.Linear(6, 8), layer, nn.Flatten(), nn.Linear(40, 4))


class Shared(nn.Module):
    """A convolution and a linear layer that are each called twice, one of them under a second name."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.turn, self.step, self.head = (
            nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 4), nn.Linear(4, 3),
        )  # fmt: skip
        self.again = self.turn

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(self.again(torch.relu(self.turn(x))) + x)
        x = x.amax((2, 3))
        for _ in range(2):
            x = x - torch.tanh(self.step(x))
        found: Tensor = self.head(x)
        return found


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "grouped resnet": (GroupedResNet, (2, 3, 6, 6)),
    "vision transformer": (VisionTransformer, (2, 1, 8, 8)),
    "torch's transformer": (transformer, (2, 5, 6)),
    "1-d": (along_one_axis, (3, 2, 24)),
    "shared": (Shared, (2, 1, 5, 5)),
    "mobilenet": (mobilenet, (2, 3, 4, 4)),
    "u-net": (UNet, (1, 1, 4, 4)),
    "keyword spotter": (KeywordSpotter, (1, 6, 3)),
    "swin": (Swin, (1, 3, 8, 8)),
    "deit": (DeiT, (1, 3, 8, 8)),
    "products in functions": (Functional, (1, 3, 6, 6)),
    "volumes and states": (Deep, (1, 2, 2, 3, 3)),
}
# The least share of the multiply-accumulates on the array: all but the products of two activations, as in attention.
LEAST = {"mobilenet": 1.0, "u-net": 1.0, "keyword spotter": 1.0, "swin": 0.89, "deit": 0.89,
         "products in functions": 1.0, "volumes and states": 1.0}  # fmt: skip


def quantized(kind: str) -> tuple[nn.Module, Tensor]:
    """Return the network with random weights and statistics, and the images that it was calibrated on."""
    build, shape = NETWORKS[kind]
    torch.manual_seed(0)
    network, images = build(), torch.rand(shape)
    # Norms with the statistics of these images, so that they have an effect.
    network.train()
    for _ in range(20):
        network(images)
    return quantize(network, [images]), images


@contextmanager
def rounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Round sums to integers within the block; the list gets the deviation of each layer."""
    multiply, distances = TileGrid.multiply, []

    def accumulate(grid: TileGrid, codes: Codes, reader: Reader) -> NDArray[np.floating]:
        sums = multiply(grid, codes, reader)
        distances.append(float(np.abs(sums - np.rint(sums)).max()))
        return np.rint(sums)

    with monkeypatch.context() as patch:
        patch.setattr(TileGrid, "multiply", accumulate)
        yield distances


@torch.no_grad()
def read(analog: nn.Module, images: Tensor, backend: str) -> tuple[Tensor, dict[str, Codes]]:
    """Return the outputs and the input codes of each layer, with every layer read by `backend`."""
    codes: dict[str, list[Codes]] = {}
    with reading(analog, reader_by(backend, Threads(2))) as layers:
        try:
            for name, layer in layers.items():
                layer.record = codes[name] = []
            outputs = analog(images)
        finally:
            for layer in layers.values():
                layer.record = None
    return outputs, {name: np.concatenate(found) for name, found in codes.items()}


def assert_integers(analog: nn.Module, images: Tensor, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, expected_codes = read(analog, images, "ideal")
    found, codes = read(analog, images, backend)
    assert all(np.array_equal(codes[name], expected_codes[name]) for name in codes)
    with rounded(monkeypatch) as distances:
        exact, _ = read(analog, images, backend)
    assert torch.equal(exact, expected)
    assert len(distances) >= len(codes) and 0 < max(distances) < NEAR, distances
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


SLOW = ("deit", "u-net")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if kind in SLOW else kind for kind in NETWORKS]
)
def test_a_network_on_lossless_wires_gives_the_integers(
    kind: str, lossless: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, images = quantized(kind)
    analog = convert(network, load_chip("etox65", (*lossless, WIDE, "calibration.reads=32")))
    calibrate(analog, images, "nodal")
    assert_integers(analog, images, "nodal", monkeypatch)
    assert count_macs(analog, images).on_array >= LEAST.get(kind, 0.8)


def test_layers_of_one_tile_give_the_integers_with_ngspice(
    small_chip: Callable[..., Chip], lossless: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network, images = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6, 4)), torch.rand(2, 2, 4)
    analog = convert(quantize(network, [images]), small_chip(*lossless, WIDE))
    ready(analog)
    assert all(len(layer.grid.tiles) == 1 for layer in tiled_layers(analog).values())
    assert_integers(analog, images, "ngspice", monkeypatch)


def test_wires_and_narrow_converters_have_an_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the tests above would be meaningless."""
    network, images = quantized("vision transformer")
    analog = convert(network, load_chip("etox65-stress", ("calibration.reads=32", "adc.bits=4")))
    calibrate(analog, images, "nodal")
    expected = read(analog, images, "ideal")[0]
    with rounded(monkeypatch) as distances:
        assert not torch.equal(read(analog, images, "nodal")[0], expected)
    assert max(distances) > 100 * NEAR
