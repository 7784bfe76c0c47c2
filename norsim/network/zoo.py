"""The networks norsim knows by name: their float definitions, and the recipe that trains each.

All leave the input in [0, 1], without normalisation, so that the first layer's inputs are unsigned
codes like all others.
"""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from norsim.errors import ConfigurationError


@dataclass(frozen=True)
class NetworkSpec:
    """A network by name: `builder()` returns it untrained; `dataset` is the one it is defined for."""

    name: str
    dataset: str
    builder: Callable[[], nn.Module]
    description: str


def digits_cnn() -> nn.Module:
    """A two-convolution network for 8 × 8 grey images: `[n, 1, 8, 8]` in [0, 1] to `[n, 10]` logits."""
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(1, 8, 3, padding=1, bias=False)),
        ("bn1", nn.BatchNorm2d(8)),
        ("relu1", nn.ReLU()),
        ("pool", nn.MaxPool2d(2)),
        ("conv2", nn.Conv2d(8, 20, 3, padding=1, bias=False)),
        ("bn2", nn.BatchNorm2d(20)),
        ("relu2", nn.ReLU()),
        ("flatten", nn.Flatten()),
        ("fc", nn.Linear(320, 10)),
    ]
    return nn.Sequential(OrderedDict(layers))


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions and a parameter-free shortcut: option A of He et al. (2016), section 3.3.

    `[n, inputs, h, w]` to `[n, outputs, h / stride, w / stride]`; the shortcut takes every `stride`-th
    pixel and appends channels of zeros.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.new_channels = outputs - inputs

    def forward(self, images: Tensor) -> Tensor:
        main = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(images)))))
        shortcut = images[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            before = self.new_channels // 2
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, before, self.new_channels - before))
        return functional.relu(main + shortcut)


class ResNet(nn.Module):
    """The CIFAR residual network of He et al. (2016), section 4.2: 6 · `blocks` + 2 layers.

    `[n, 3, 32, 32]` in [0, 1] to `[n, 10]` logits; three stages of 16, 32 and 64 channels.
    """

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, 1, blocks)
        self.layer2 = _stage(16, 32, 2, blocks)
        self.layer3 = _stage(32, 64, 2, blocks)
        self.linear = nn.Linear(64, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        features = functional.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        logits: Tensor = self.linear(torch.flatten(functional.adaptive_avg_pool2d(features, 1), 1))
        return logits


def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    rest = [BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)]
    return nn.Sequential(BasicBlock(inputs, outputs, stride), *rest)


def resnet20() -> nn.Module:
    """ResNet with three blocks a stage: 20 layers, 0.27 million parameters."""
    return ResNet(3)


NETWORKS = {
    spec.name: spec
    for spec in (
        NetworkSpec("digits-cnn", "digits", digits_cnn, "two convolutions and a linear layer, 8 x 8 digits"),
        NetworkSpec("resnet20", "cifar10", resnet20, "20-layer residual network of He et al. for CIFAR-10"),
    )
}


# Largest translation in pixels, and whether images are mirrored, of each augmentation.
AUGMENTATIONS = {"none": (0, False), "shift": (1, False), "crop-flip": (4, True)}


@dataclass(frozen=True)
class Recipe:
    """All that decides a training, apart from the network and the data.

    `float_rate` and `quantized_rate` are peak learning rates; `ema_decay` 0 turns the moving average of
    the weights off; `distillation` is the share (0 to 1) of the quantized loss that follows the float
    network's outputs at `temperature` (Hinton et al. 2015) instead of the labels.
    """

    float_epochs: int
    quantized_epochs: int
    batch_size: int
    float_rate: float
    quantized_rate: float
    weight_decay: float = 5e-4
    momentum: float = 0.9
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    augmentation: Literal["none", "shift", "crop-flip"] = "none"
    distillation: float = 0.0
    temperature: float = 2.0
    calibration_images: int = 512
    weight_bits: int = 4
    activation_bits: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.augmentation not in AUGMENTATIONS:
            known = ", ".join(AUGMENTATIONS)
            raise ConfigurationError(f"augmentation is {self.augmentation!r}; expected one of {known}")
        for field in ("label_smoothing", "ema_decay", "distillation", "momentum"):
            if not 0 <= getattr(self, field) <= 1:
                raise ConfigurationError(f"{field} is {getattr(self, field)}; expected 0 to 1")
        for field in ("batch_size", "calibration_images", "float_rate", "quantized_rate", "temperature"):
            if not getattr(self, field) > 0:
                raise ConfigurationError(f"{field} is {getattr(self, field)}; expected above 0")


RECIPES = {
    "digits-cnn": Recipe(60, 40, 64, 0.1, 0.02, ema_decay=0.99, augmentation="shift"),
    "resnet20": Recipe(*(60, 30, 128, 0.4, 0.04), ema_decay=0.999, augmentation="crop-flip", distillation=0.5),
}


def spec_of(name: str) -> NetworkSpec:
    """The definition of a network by name; ConfigurationError, with the nearest name, if there is none."""
    if name in NETWORKS:
        return NETWORKS[name]
    near = difflib.get_close_matches(name, NETWORKS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigurationError(f"no network is called {name!r}; {hint}known networks: {', '.join(NETWORKS)}")


def build(name: str) -> nn.Module:
    """A new, untrained network (float32, weights from torch's global random state) by its name."""
    return spec_of(name).builder()
