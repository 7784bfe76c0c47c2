"""A forward whose products with weights are done by layers.

A user's forward may multiply by a weight in a function, such as torch.nn.functional.linear, without calling a layer.
Here the forward runs as it is, but those calls go to layers that hold the weights, which can be quantized and placed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

LINEAR, CONVOLUTIONS = functional.linear, (torch.conv1d, torch.conv2d)
PRODUCTS = (torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm)
# Functions that return the same matrix, and those that may transpose it.
SAME = (Tensor.contiguous, Tensor.clone, torch.clone, Tensor.detach, Tensor.float, Tensor.to, Tensor.type_as)
TRANSPOSED = (Tensor.t, torch.t)
PROPERTIES = ("T", "mT")
AXES = (Tensor.transpose, torch.transpose, Tensor.permute, torch.permute, Tensor.swapaxes, torch.swapaxes)


@dataclass(frozen=True, eq=False)
class Call:
    """A product of `input` `[..., inputs]` with a weight in a function: `y = input W^T + bias`, or a convolution.

    `weight`      the parameter, `[outputs, inputs]`, or `[inputs, outputs]` if it is `transposed`, or that of a
                  convolution; `bias` is `[outputs]` or None
    `transposed`  whether W is its transpose
    `geometry`    stride, padding, dilation and groups of a convolution; None for a linear product
    """

    input: Tensor
    weight: Tensor
    transposed: bool
    bias: Tensor | None
    geometry: tuple[Any, ...] | None = None


class Tracked:
    """Which tensors are weights, `[outputs, inputs, ...]`, or the same in another form, while a forward runs."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        # Tensors are kept, so that no id is used again.
        self.known: dict[int, tuple[Tensor, Tensor, bool]] = {id(one): (one, one, False) for one in weights}

    def follow(self, func: Callable[..., Any], args: tuple[Any, ...], found: Any) -> None:
        """Remember `found`, the result of a function of tensors, if it is a weight in another form."""
        if not (args and isinstance(found, Tensor) and id(args[0]) in self.known):
            return
        _, weight, transposed = self.known[id(args[0])]
        if func in SAME and found.dtype == weight.dtype:
            self.known[id(found)] = found, weight, transposed
        elif weight.ndim == 2 and found.shape == weight.shape[:: 1 if transposed else -1] and _swaps(func, args):
            self.known[id(found)] = found, weight, not transposed

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], named: Mapping[str, Any]) -> Call | None:
        """Return the product that a call of a function of torch is, None for any other call."""
        if func is LINEAR:
            input, weight, bias = _arguments(("input", "weight", "bias"), args, named)
            return self._linear(input, weight, bias, as_rows=True)
        if func in PRODUCTS:
            input, weight = _arguments(("input", "other"), args, named)
            return self._linear(input, named.get("mat2", weight), None, as_rows=False)
        if func in (torch.addmm, Tensor.addmm) and {named.get(key, 1) for key in ("alpha", "beta")} == {1}:
            bias, input, weight = _arguments(("input", "mat1", "mat2"), args, named)
            return self._linear(input, weight, bias, as_rows=False)
        if func in CONVOLUTIONS:
            names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
            input, weight, bias, *geometry = _arguments(names, args, named)
            known = self.known.get(id(weight))
            if known is None or known[1].shape != weight.shape or id(input) in self.known:
                return None
            defaults = (1, 0, 1, 1)
            values = tuple(one if value is None else value for value, one in zip(geometry, defaults, strict=True))
            return Call(input, known[1], False, bias, values)
        return None

    def _linear(self, input: Any, weight: Any, bias: Any, as_rows: bool) -> Call | None:
        """Return the product with a matrix whose rows, or columns, are outputs."""
        known = self.known.get(id(weight))
        if known is None or weight.ndim != 2 or not isinstance(input, Tensor) or id(input) in self.known:
            return None
        return Call(input, known[1], known[2] == as_rows, bias)


def _swaps(func: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Return whether a function of a matrix transposes it."""
    if func in TRANSPOSED:
        return True
    owner = getattr(func, "__self__", None)
    if getattr(func, "__name__", "") == "__get__" and getattr(owner, "__name__", "") in PROPERTIES:
        return True
    axes = args[1] if len(args) == 2 and isinstance(args[1], (tuple, list)) else args[1:]
    if func in AXES[2:4]:
        return [axis % 2 for axis in axes] == [1, 0]
    return func in AXES and sorted(axis % 2 for axis in axes) == [0, 1]


def _arguments(names: tuple[str, ...], args: tuple[Any, ...], named: Mapping[str, Any]) -> list[Any]:
    """Return the arguments of a call by name; None for one that was not given."""
    given = dict(zip(names, args, strict=False)) | dict(named)
    return [given.get(name) for name in names]


@dataclass(eq=False)
class Route:
    """Products with a parameter are done by `layer`.

    `places`   modules and names that have the parameter: several for a tied weight
    `bias`     module and name of the bias that the layer adds too; None if it adds none
    `product`  what it is made from
    """

    places: tuple[tuple[nn.Module, str], ...]
    layer: nn.Module
    bias: tuple[nn.Module, str] | None
    product: Any

    def weights(self) -> list[Tensor]:
        """Return the parameter `[outputs, inputs, ...]`, as the forward gets it from each place."""
        return [getattr(*place) for place in self.places]


class RoutedForward:
    """The forward of a module with products done by layers, which are among its children or those of other modules."""

    def __init__(self, part: nn.Module, routes: list[Route]) -> None:
        self.part, self.routes = part, routes

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Return what the module's own forward returns."""
        forward: Any = type(self.part).forward
        with _Routing(self.routes):
            return forward(self.part, *inputs, **named)


class _Routing(TorchFunctionMode):
    """A mode in which products with the weights of routes are done by their layers."""

    def __init__(self, routes: Iterable[Route]) -> None:
        super().__init__()
        self.routes = {id(weight): route for route in routes for weight in route.weights()}
        self.tracked = Tracked(weight for route in self.routes.values() for weight in route.weights())

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        call = self.tracked.call(func, args, named)
        if call is None:
            found = func(*args, **named)
            self.tracked.follow(func, args, found)
            return found
        route = self.routes[id(call.weight)]
        outputs: Tensor = route.layer(call.input)
        own = None if route.bias is None else getattr(*route.bias)
        layer_bias: Any = route.layer.bias
        if (call.bias is None and layer_bias is None) or (call.bias is not None and call.bias is own):
            return outputs
        # Another bias than the layer's own: that is replaced.
        shape = [-1] + [1] * (call.weight.ndim - 2)
        for bias, sign in ((layer_bias, -1), (call.bias, 1)):
            if bias is not None:
                outputs = outputs + sign * bias.detach().reshape(shape)
        return outputs


def is_routed(part: nn.Module) -> bool:
    """Return whether the products in a module's forward are done by layers."""
    return isinstance(vars(part).get("forward"), RoutedForward)
