"""Replace some modules of a network by others that take over their weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from torch import Tensor, nn

from norsim.quantization.exempt import refused
from norsim.quantization.plain import take_hooks
from norsim.quantization.references import TORCH_KEEPS, redirect


def linear_of(weight: nn.Parameter, bias: nn.Parameter | None) -> nn.Linear:
    """Return the layer with that weight `[outputs, inputs]` and bias `[outputs]`."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = weight
    if bias is not None:
        layer.bias = bias
    return layer


def replace_modules(model: nn.Module, new: Mapping[int, nn.Module], own: Collection[str] = ()) -> nn.Module:
    """Replace every module `part` of `model` by `new[id(part)]`, and return the model, or its own replacement.

    Names stay, and shared modules stay shared. Replacements take over the hooks of a module and what else its user
    gave it: attributes, buffers, parameters and children that they lack, except for names in `own`. Attributes,
    closures and hooks refer to the replacements. A replaced module that something still calls raises PlacementError:
    the model must be a copy, because replaced modules lose their parameters.
    """
    names = {id(part): name for name, part in model.named_modules() if id(part) in new}
    replaced = {id(part): part for part in model.modules() if id(part) in new}
    for place, part in replaced.items():
        _take_over(new[place], part, own)
    for parent in list(model.modules()):
        for key, child in parent._modules.items():
            if id(child) in new:
                parent._modules[key] = new[id(child)]
    root = new.get(id(model), model)
    redirect(root, new)
    for place, part in replaced.items():
        part._parameters = {}
        part.__dict__["forward"] = Replaced(names[place])
    return root


@contextmanager
def forwards(new: Iterable[tuple[nn.Module, Callable[[Tensor], Tensor]]]) -> Iterator[None]:
    """Give layers other forwards, functions of an input `[..., inputs]`, within the block; direct calls reach them."""
    changed = list(new)
    try:
        for part, function in changed:
            part.__dict__["forward"] = function
        yield
    finally:
        for part, _ in changed:
            part.__dict__.pop("forward", None)


class Replaced:
    """The forward of a module that was replaced, and that no part of the network should call any more."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *inputs: Any, **named: Any) -> NoReturn:
        """Raise PlacementError."""
        raise refused(
            self.name,
            f"layer {self.name!r} is called through a reference in an object that norsim cannot change; call it as an "
            "attribute of its module, such as self.layer(x)",
        )


def _take_over(new: nn.Module, old: nn.Module, own: Collection[str]) -> None:
    """Give `new` the hooks of `old`, and those attributes, parameters, buffers and children that it lacks."""
    take_hooks(new, old)
    for kind in ("_parameters", "_buffers", "_modules"):
        for name, value in getattr(old, kind).items():
            if name not in own and not hasattr(new, name):
                getattr(new, kind)[name] = value
    new._non_persistent_buffers_set |= old._non_persistent_buffers_set - set(own)
    for name, value in vars(old).items():
        if name not in TORCH_KEEPS and name not in own and name not in vars(new) and not hasattr(new, name):
            new.__dict__[name] = value
