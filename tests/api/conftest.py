"""What the tests of the Python API share: digits as tensors, a small trained network, and the same deployed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import norsim
from norsim.data.tensors import images_tensor
from tests.api.networks import Small, trained

SETTINGS = {"adc.bits": 9}


@dataclass(frozen=True, eq=False)
class Split:
    """Digits as a norsim data set and as tensors: `x` `[images, 1, 8, 8]` and labels `y` `[images]`."""

    data: norsim.Dataset
    x: Tensor
    y: Tensor

    @property
    def pair(self) -> tuple[Tensor, Tensor]:
        return self.x, self.y


def split_of(name: str, count: int) -> Split:
    data = norsim.load_data("digits", name).take(count)
    return Split(data, images_tensor(data), torch.from_numpy(data.labels))


@pytest.fixture(scope="session")
def train_set() -> Split:
    """The first training digits: three batches."""
    return split_of("train", 300)


@pytest.fixture(scope="session")
def test_set() -> Split:
    """The first test digits: one batch."""
    return split_of("test", 60)


@pytest.fixture(scope="session")
def model() -> nn.Module:
    """A trained float network."""
    torch.manual_seed(0)
    return trained(Small(), *split_of("train", 1000).pair)


@pytest.fixture(scope="module")
def net(model: nn.Module, train_set: Split) -> norsim.DeployedNetwork:
    """The network on the preset chip, its last layer digital. Tests leave it as it is."""
    return deployed(model, train_set)


def deployed(model: nn.Module, train: Split, **options: Any) -> norsim.DeployedNetwork:
    """A network on the preset chip with a converter of 9 bits, its layer fc digital."""
    return norsim.deploy(model, **{"calibration": train.pair, "set": SETTINGS, "digital": ["fc"], **options})
