"""Copies of a user's network that share nothing with it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from norsim.errors import ConfigurationError, NorsimError, first_line
from norsim.quantization.references import TORCH_KEEPS, redirect


def independent_copy(network: nn.Module, kept: Mapping[int, Any] | None = None) -> nn.Module:
    """Return a deep copy of `network` in eval mode; objects by id in `kept` are replaced by their values there.

    Functions of the network, such as hooks, refer to modules of the copy, where a deep copy's still refer to those of
    the network. Tensors that attributes keep with their gradients are copied without. Raises ConfigurationError for a
    network that cannot be copied or has no eval mode.
    """
    memo: dict[int, Any] = {id(value): value.detach().clone() for value in _computed(network)} | dict(kept or {})
    try:
        found: nn.Module = copy.deepcopy(network, memo)
        # Not its result: a user's train() may return None.
        found.eval()
    except NorsimError:
        raise
    except Exception as problem:  # user code may raise anything
        raise ConfigurationError(
            f"{type(network).__name__} cannot be copied in eval mode: {type(problem).__name__}: {first_line(problem)}. "
            "Expected a network that copy.deepcopy copies; remove attributes such as files, locks and generators"
        ) from problem
    parts = [*network.modules(), *network.parameters(), *network.buffers()]
    redirect(found, {id(part): memo[id(part)] for part in parts if id(part) in memo})
    return found


def _computed(network: nn.Module) -> Iterator[Tensor]:
    """Yield the tensors in attributes that were computed with gradients, which torch does not copy."""
    for part in network.modules():
        for name, value in vars(part).items():
            if name not in TORCH_KEEPS:
                yield from _in(value, 4)


def _in(value: Any, depth: int) -> Iterator[Tensor]:
    if isinstance(value, Tensor) and not value.is_leaf:
        yield value
    elif depth and isinstance(value, (list, tuple, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _in(one, depth - 1)
