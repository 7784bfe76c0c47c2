"""Input normalisation: the means and standard deviations that a public network expects its images normalised with."""

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

    `mean` and `std` have one number per channel. It is a hook because a module around the network would change the
    names of all layers. Raises ConfigurationError for numbers that are not finite, or not positive in `std`.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if not values or not all(type(value) in (int, float) and math.isfinite(value) for value in values):
                raise ConfigurationError(f"{name} is {values}; expected one finite number per channel of an image")
        if len(self.mean) != len(self.std):
            raise ConfigurationError(
                f"{len(self.mean)} means and {len(self.std)} standard deviations; expected the same number of both"
            )
        if min(self.std) <= 0:
            raise ConfigurationError(f"std is {self.std}; expected numbers above 0")

    def __call__(self, network: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the inputs with the first one normalised. Raises ConfigurationError for a wrong number of channels."""
        images: Tensor = inputs[0]
        self.check(images.shape[1])
        mean, std = (
            torch.tensor(values, dtype=images.dtype, device=images.device).reshape(-1, *[1] * (images.ndim - 2))
            for values in (self.mean, self.std)
        )
        return ((images - mean) / std, *inputs[1:])

    def check(self, channels: int) -> None:
        """Raise ConfigurationError if `channels` is not the number of means."""
        if channels != len(self.mean):
            raise ConfigurationError(
                f"images have {channels} channels, but mean and std have {len(self.mean)} numbers each; give one per "
                "channel"
            )

    def on(self, network: nn.Module) -> nn.Module:
        """Add this hook to `network`, and return the network."""
        network.register_forward_pre_hook(self)
        return network


def from_header(content: Any) -> Normalise | None:
    """Read the entry of a stored network's header, `{"mean": [...], "std": [...]}` or None.

    Raises ConfigurationError for anything else.
    """
    if content is None:
        return None
    if not isinstance(content, dict) or set(content) != {"mean", "std"}:
        raise ConfigurationError(f"normalise is {content!r}; expected mean and std")
    if not all(isinstance(values, list) for values in content.values()):
        raise ConfigurationError(f"normalise is {content!r}; expected lists of numbers")
    return Normalise(tuple(content["mean"]), tuple(content["std"]))


def normalisation(network: nn.Module) -> list[Normalise]:
    """Return the Normalise hooks of `network`: none or one."""
    return [hook for hook in network._forward_pre_hooks.values() if isinstance(hook, Normalise)]
