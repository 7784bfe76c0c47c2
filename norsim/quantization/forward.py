"""Call a user-supplied network on a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from norsim.errors import ConfigurationError, NorsimError


def forward(network: nn.Module, inputs: Tensor) -> Any:
    """Return what `network` returns for `inputs` `[images, ...]`, which are moved to its device first.

    Raises ConfigurationError, with the shape and type of the inputs, if it fails on them.
    """
    try:
        return network(inputs.to(device_of(network)))
    except NorsimError:
        raise
    except Exception as problem:  # user code may raise anything
        said = str(problem).strip().partition("\n")[0]
        raise ConfigurationError(
            f"{type(network).__name__} fails on inputs {list(inputs.shape)} of {inputs.dtype}: "
            f"{type(problem).__name__}: {said}. Give inputs that the float network accepts"
        ) from problem


def device_of(network: nn.Module) -> torch.device:
    """Return the device of the parameters and buffers of `network`; the CPU if it has none."""
    kept = [*network.parameters(), *network.buffers()]
    return kept[0].device if kept else torch.device("cpu")


def check_network(network: object) -> None:
    """Raise ConfigurationError for anything that is not a torch.nn.Module."""
    if not isinstance(network, nn.Module):
        raise ConfigurationError(f"the network is a {type(network).__name__}; expected a torch.nn.Module")
