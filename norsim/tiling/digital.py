"""What of a converted network no array computes: modules, and the operations in the forwards between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from norsim.data.batches import Data, first_inputs
from norsim.data.tensors import BATCH
from norsim.quantization.forward import check_network, forward
from norsim.tiling.modules import TiledLayer, digital

# These hand numbers on as they are, in another shape or place, or make constants.
MOVES = frozenset((
    "arange", "as_tensor", "broadcast_to", "cat", "chunk", "clone", "concat", "contiguous", "data", "detach", "dropout",
    "empty", "expand", "expand_as", "flatten", "flip", "float", "full", "getitem", "hstack", "index", "index_select",
    "mT", "movedim", "moveaxis", "narrow", "ones", "pad", "permute", "ravel", "repeat", "repeat_interleave",
    "reshape", "reshape_as", "roll", "select", "split", "squeeze", "stack", "swapaxes", "t", "T", "tensor", "to",
    "transpose", "unbind", "unflatten", "unfold", "unsqueeze", "view", "view_as", "vstack", "zeros", "zeros_like",
))  # fmt: skip


def digital_modules(model: nn.Module) -> dict[str, str]:
    """Name and kind of every leaf module that stays digital, also of a layer that is told to. See `digital_operations`
    for the rest."""
    check_network(model)
    return {
        name: type(part).__name__.removeprefix("Tiled")
        for name, part in model.named_modules()
        if not list(part.children()) and (not isinstance(part, TiledLayer) or part.stays_digital)
    }


def digital_operations(model: nn.Module, images: Data) -> dict[str, int]:
    """How often each operation comes between the modules in one pass of `images` `[images, ...]`, by torch's names.

    Counted are operations that compute real numbers and do not just move them: additions, products of activations,
    softmax, pooling. A pass is watched, rather than the code read, so that any forward is understood. `images` are data
    of any kind that `norsim.deploy` takes, of which the first batch is used.
    """
    check_network(model)
    inputs, watch = first_inputs(images, BATCH), _Watch()
    with torch.inference_mode(), digital(model), _inside(model, watch), watch:
        forward(model, inputs)
    return dict(watch.counts.most_common())


def digital_parts(model: nn.Module, images: Tensor) -> dict[str, Any]:
    """Both, as `summary.json` has them: `modules` and `operations`, for images `[n, channels, height, width]`."""
    return {"modules": digital_modules(model), "operations": digital_operations(model, images)}


def listed(parts: Mapping[str, Any], by_name: bool = False) -> str:
    """The same on one line: how many modules of each kind, or each module by its name, and how many operations."""
    modules: dict[str, str] = parts["modules"]
    found = [f"{name} ({kind})" for name, kind in modules.items()] if by_name else _counted(Counter(modules.values()))
    return ", ".join([*found, *_counted(parts["operations"])]) or "no modules and no operations"


def _counted(found: Mapping[str, int]) -> list[str]:
    return [f"{count} {name}" for name, count in found.items()]


class _Watch(TorchFunctionMode):
    """Counts torch's functions, but not those that a module is made of: `depth` is how many it is inside of."""

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
    """Within the block the watch knows when it is in a module that is listed, or on the array."""

    def enter(*_: Any) -> None:
        watch.depth += 1

    def leave(*_: Any) -> None:
        watch.depth -= 1

    parts = [part for part in model.modules() if isinstance(part, TiledLayer) or not list(part.children())]
    handles = [part.register_forward_pre_hook(enter) for part in parts]
    handles += [part.register_forward_hook(leave, always_call=True) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _name(func: Callable[..., Any]) -> str:
    """`add` for torch.add, Tensor.add_, `+` and `+=`; of an attribute, its own name."""
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
