"""Networks with random weights, for `--model` of `norsim eval-network`: their cost does not depend on training.

Data: random images of 32 x 32 pixels, see `write_images`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from norsim.zoo.registry import spec_of

CLASSES = 10


class Block(nn.Module):
    """A block of a transformer, which normalises first: attention, then two linear layers."""

    def __init__(self, width: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, ratio * width), nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[images, tokens, width]` for the same shape."""
        y = self.before(x)
        parts = (
            layer(y).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        x = x + self.out(functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.between(x))))


class VisionTransformer(nn.Module):
    """Two convolutions, blocks on 64 tokens, the mean of the tokens, a linear layer."""

    def __init__(self, width: int = 192, depth: int = 7, heads: int = 6, ratio: int = 2) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.position = nn.Parameter(torch.zeros(1, 64, width))
        self.blocks = nn.Sequential(*[Block(width, heads, ratio) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores `[images, classes]` for images `[images, 3, 32, 32]`."""
        x = self.stem(images - 0.5).flatten(2).transpose(1, 2) + self.position
        found: Tensor = self.head(self.norm(self.blocks(x)).mean(1))
        return found


def _resnet(width: float) -> nn.Module:
    torch.manual_seed(0)
    return spec_of("resnet18", width).build()


def small() -> nn.Module:
    """Return a ResNet-18 of a quarter of the usual width, some 50 tiles of 256 x 128."""
    return _resnet(0.25)


def large() -> nn.Module:
    """Return a ResNet-18 of some 300 tiles of 256 x 128."""
    return _resnet(0.78)


def transformer() -> nn.Module:
    """Return a vision transformer of 120 tiles of 256 x 128."""
    torch.manual_seed(0)
    return VisionTransformer()


def write_images(path: Path, train: int = 512, test: int = 16) -> None:
    """Write random images and labels as the data set of a `.npz` file."""
    random, arrays = np.random.default_rng(0), {}
    for part, count in (("train", train), ("test", test)):
        arrays[f"{part}_images"] = random.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(count) % CLASSES
    np.savez(path, allow_pickle=False, **arrays)
