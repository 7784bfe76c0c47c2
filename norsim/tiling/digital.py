"""The digital part of a converted network: modules, and operations in the forward functions between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from norsim.data.batches import Data, InputBatches, first_inputs
from norsim.data.inputs.structure import Structure, taken, tensors_in
from norsim.data.tensors import BATCH
from norsim.errors import ConfigurationError
from norsim.quantization.forward import check_network, check_single_images, forward
from norsim.tiling.modules import TiledLayer, digital

# Operations that only move or reshape numbers, or make constants.
MOVES = frozenset((
    "arange", "as_tensor", "broadcast_to", "cat", "chunk", "clone", "concat", "contiguous", "data", "detach", "dropout",
    "empty", "expand", "expand_as", "flatten", "flip", "float", "full", "getitem", "hstack", "index", "index_select",
    "mT", "movedim", "moveaxis", "narrow", "ones", "pad", "permute", "ravel", "repeat", "repeat_interleave",
    "reshape", "reshape_as", "roll", "select", "split", "squeeze", "stack", "swapaxes", "t", "T", "tensor", "to",
    "transpose", "unbind", "unflatten", "unfold", "unsqueeze", "view", "view_as", "vstack", "zeros", "zeros_like",
))  # fmt: skip


def digital_modules(model: nn.Module) -> dict[str, str]:
    """Return name and kind of every leaf module that stays digital, including layers fixed to a backend of integers.

    `digital_operations` counts the rest.
    """
    check_network(model)
    return {
        name: type(part).__name__.removeprefix("Tiled")
        for name, part in model.named_modules()
        if not list(part.children()) and (not isinstance(part, TiledLayer) or part.stays_digital)
    }


def digital_operations(model: nn.Module, images: Data) -> dict[str, int]:
    """Count the operations between the modules in one pass of `images` `[images, ...]`, by their names in torch.

    Operations count if they compute real numbers, rather than only move them: additions, products of activations,
    softmax, pooling. A pass is observed, instead of analysing code, so any forward function works. `images` can be any
    kind of data that `norsim.deploy` accepts; its first batch is used.
    """
    check_network(model)
    inputs, watch = first_inputs(images, BATCH), _Watch()
    with torch.inference_mode(), digital(model), _inside(model, watch), watch:
        forward(model, inputs)
    return dict(watch.counts.most_common())


def check_on_images(model: nn.Module, images: Structure, what: str) -> Any:
    """Return the outputs for the first of `images` `[images, ...]`, all layers digital; `what` says which images.

    Raises ConfigurationError if the network fails on them or does not answer each image by itself.
    """
    try:
        with digital(model):
            check_single_images(model, images)
            with torch.inference_mode():
                return forward(model, taken(images, slice(1)))
    except ConfigurationError as problem:
        shape = ", ".join(str(list(part.shape[1:])) for part in tensors_in(images))
        raise type(problem)(f"{what}, each of shape {shape}, do not fit the network: {problem}") from problem


def digital_parts(model: nn.Module, images: Structure) -> dict[str, Any]:
    """Return both for `summary.json`: `modules` and `operations`, for images `[n, channels, height, width]`."""
    return {"modules": digital_modules(model), "operations": digital_operations(model, InputBatches([images]))}


def listed(parts: Mapping[str, Any], by_name: bool = False) -> str:
    """Return the same on one line: counts of modules by kind, or each module by its name, and counts of operations."""
    modules: dict[str, str] = parts["modules"]
    found = [f"{name} ({kind})" for name, kind in modules.items()] if by_name else _counted(Counter(modules.values()))
    return ", ".join([*found, *_counted(parts["operations"])]) or "no modules and no operations"


def _counted(found: Mapping[str, int]) -> list[str]:
    return [f"{count} {name}" for name, count in found.items()]


class _Watch(TorchFunctionMode):
    """A counter of torch functions outside of modules; `depth` is the number of modules being executed."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0
        self.counts: Counter[str] = Counter()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = _name(func)
        if not self.depth and name not in MOVES and _is_real(result):
            self.counts[name] += 1
        return result


@contextmanager
def _inside(model: nn.Module, watch: _Watch) -> Iterator[None]:
    """Tell `watch`, within the block, when a listed module or a layer on the array is executed."""

    def enter(*_: Any) -> None:
        watch.depth += 1

    def leave(*_: Any) -> None:
        watch.depth -= 1

    parts = [part for part in model.modules() if isinstance(part, TiledLayer) or not list(part.children())]
    parts = [part for part in parts if not isinstance(part, torch.jit.ScriptModule)]
    # Within the hooks of the network, whose operations are not those of a module.
    handles = [part.register_forward_pre_hook(enter) for part in parts]
    handles += [part.register_forward_hook(leave, always_call=True, prepend=True) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _name(func: Callable[..., Any]) -> str:
    """Return `add` for torch.add, Tensor.add_, `+` and `+=`; for an attribute, its name."""
    name: str = getattr(func, "__name__", str(func)).strip("_")
    if name == "get":
        name = getattr(getattr(func, "__self__", None), "__name__", name)
    for before in ("r", "i"):
        plain = name.removeprefix(before)
        if plain != name and plain in ("add", "sub", "mul", "div", "truediv", "matmul", "pow"):
            name = plain
    return "div" if name == "truediv" else name


def _is_real(result: Any) -> bool:
    if isinstance(result, (tuple, list)):
        return any(_is_real(part) for part in result)
    return isinstance(result, Tensor) and result.is_floating_point()
