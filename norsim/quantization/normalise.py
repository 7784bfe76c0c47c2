"""The means that a public network wants taken from its images, and the deviations it wants them divided by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from norsim.errors import ConfigurationError


@dataclass(frozen=True)
class Normalise:
    """A forward pre-hook of a network: its images `[images, channels, ...]` in [0, 1] become (x - mean) / std.

    `mean` and `std` have a number for each channel. A hook, because a module around the network would change the
    names of all layers. Raises ConfigurationError for numbers that cannot be meant.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if not values or not all(type(value) in (int, float) and math.isfinite(value) for value in values):
                raise ConfigurationError(f"{name} is {values}; expected a number for each channel of an image")
        if len(self.mean) != len(self.std):
            raise ConfigurationError(f"{len(self.mean)} means and {len(self.std)} standard deviations; give as many")
        if min(self.std) <= 0:
            raise ConfigurationError(f"std is {self.std}; expected numbers above 0")

    def __call__(self, network: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs with the first of them normalised; ConfigurationError for another number of channels."""
        images: Tensor = inputs[0]
        self.check(images.shape[1])
        mean, std = (
            torch.tensor(values, dtype=images.dtype, device=images.device).reshape(-1, *[1] * (images.ndim - 2))
            for values in (self.mean, self.std)
        )
        return ((images - mean) / std, *inputs[1:])

    def check(self, channels: int) -> None:
        """Raise ConfigurationError where images have another number of channels."""
        if channels != len(self.mean):
            raise ConfigurationError(
                f"images have {channels} channels, --mean and --std {len(self.mean)} numbers; give one for each channel"
            )

    def on(self, network: nn.Module) -> nn.Module:
        """`network`, whose images are normalised from now on."""
        network.register_forward_pre_hook(self)
        return network


def from_header(content: Any) -> Normalise | None:
    """What the header of a stored network says: `{"mean": [...], "std": [...]}`, or None; ConfigurationError else."""
    if content is None:
        return None
    if not isinstance(content, dict) or set(content) != {"mean", "std"}:
        raise ConfigurationError(f"normalise is {content!r}; expected mean and std")
    if not all(isinstance(values, list) for values in content.values()):
        raise ConfigurationError(f"normalise is {content!r}; expected lists of numbers")
    return Normalise(tuple(content["mean"]), tuple(content["std"]))


def normalisation(network: nn.Module) -> list[Normalise]:
    """How the images of `network` are normalised: nothing, or one Normalise."""
    return [hook for hook in network._forward_pre_hooks.values() if isinstance(hook, Normalise)]
