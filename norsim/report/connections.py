"""Which layers of a network feed which, observed while it computes one image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from norsim.data import Dataset
from norsim.data.tensors import images_tensor
from norsim.errors import NorsimError
from norsim.experiments.run_record import Missing
from norsim.quantization.forward import forward
from norsim.tiling.modules import digital

INPUT = "input"


@dataclass(frozen=True)
class Connections:
    """The flow of activations between layers.

    `order`   layers in the order of their first call
    `inputs`  pairs (source, layer): the output of `source`, or `INPUT`, is what `layer` receives, perhaps through
              functions that are not layers on the array
    `joins`   pairs (source, layer): the output of `source` is combined with that of the later `layer`, as in the sum at
              the end of a residual block
    """

    order: tuple[str, ...]
    inputs: tuple[tuple[str, str], ...]
    joins: tuple[tuple[str, str], ...]


class _Follow(TorchFunctionMode):
    """Names, for each tensor, the latest layer that it comes from."""

    def __init__(self) -> None:
        super().__init__()
        self.source: dict[int, str] = {}
        self.kept: list[torch.Tensor] = []  # An id belongs to its tensor as long as that lives.
        self.order: list[str] = [INPUT]
        self.inputs: dict[tuple[str, str], None] = {}
        self.joins: dict[tuple[str, str], None] = {}

    def name(self, content: Any, source: str) -> None:
        for tensor in _tensors(content):
            self.source[id(tensor)] = source
            self.kept.append(tensor)

    def sources(self, content: Any) -> list[str]:
        """Return the sources of the tensors in `content`, the latest layer last."""
        found = {self.source[id(tensor)] for tensor in _tensors(content) if id(tensor) in self.source}
        return sorted(found, key=self.order.index)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        found = self.sources((args, kwargs or {}))
        if found:
            self.joins.update(dict.fromkeys((one, found[-1]) for one in found[:-1] if one != INPUT))
            self.name(result, found[-1])
        return result

    def enters(self, layer: str, content: Any) -> None:
        if layer not in self.order:
            self.order.append(layer)
        self.inputs.update(dict.fromkeys((source, layer) for source in self.sources(content)))


def connections(model: nn.Module, data: Dataset) -> Connections | Missing:
    """Follow the first image of `data` through the converted network `model`, all its layers computing integers."""
    follow, image = _Follow(), images_tensor(data.take(1))
    hooks = []
    try:
        with digital(model) as layers, torch.inference_mode():
            for name, layer in layers.items():
                hooks.append(layer.register_forward_pre_hook(lambda _, given, name=name: follow.enters(name, given)))
                hooks.append(layer.register_forward_hook(lambda _, given, out, name=name: follow.name(out, name)))
            follow.name(image, INPUT)
            with follow:
                forward(model, image)
    except NorsimError as problem:
        return Missing(f"The connections of the layers could not be followed: {problem}")
    finally:
        for hook in hooks:
            hook.remove()
    return Connections(tuple(follow.order[1:]), tuple(follow.inputs), tuple(follow.joins))


def _tensors(content: Any) -> Iterator[torch.Tensor]:
    if isinstance(content, torch.Tensor):
        yield content
    elif isinstance(content, dict):
        yield from _tensors_of(content.values())
    elif isinstance(content, (list, tuple)):
        yield from _tensors_of(content)


def _tensors_of(parts: Iterable[Any]) -> Iterator[torch.Tensor]:
    for part in parts:
        yield from _tensors(part)
