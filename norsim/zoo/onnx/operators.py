"""ONNX operators without weights as functions of tensors, for opset 13 and later; other files are converted to it.

Each takes the node's attributes and its inputs (None for an omitted one) and returns its output or a tuple of outputs.
Semantics follow the ONNX operator specification.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from norsim.zoo.onnx.axes import Attributes, around, axes_of, axis_of, integers
from norsim.zoo.onnx.pools import pool
from norsim.zoo.onnx.resize import resize

Operator = Callable[..., Any]

# Most values in a computed tensor.
LARGEST = 2**28
# Supported types by their ONNX numbers.
TYPES = {1: torch.float32, 2: torch.uint8, 6: torch.int32, 7: torch.int64, 9: torch.bool, 11: torch.float64}


def _reduce(function: Callable[..., Tensor]) -> Operator:
    def reduce(attributes: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
        chosen = integers(axes if axes is not None else attributes.get("axes"))
        if not chosen:
            if attributes.get("noop_with_empty_axes", 0):
                return x
            chosen = list(range(x.ndim))
        return function(x, chosen, bool(attributes.get("keepdims", 1)))

    return reduce


def _reshape(attributes: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    sizes = integers(shape) or []
    kept = not attributes.get("allowzero", 0)
    return x.reshape([x.shape[axis] if kept and size == 0 else size for axis, size in enumerate(sizes)])


def _squeeze(attributes: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    if axes is None:
        return x.squeeze()
    chosen = axes_of(axes, x.ndim)
    if any(x.shape[axis] != 1 for axis in chosen):
        raise ValueError(f"axes {chosen} of shape {list(x.shape)} are not all of size 1")
    return x.squeeze(tuple(chosen))


def _unsqueeze(attributes: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    for axis in sorted(axes_of(axes, x.ndim + axes.numel())):
        x = x.unsqueeze(axis)
    return x


def _split(attributes: Attributes, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis, count = axis_of(attributes.get("axis", 0), x.ndim), attributes["num_outputs"]
    parts: Any = integers(sizes) if sizes is not None else -(-x.shape[axis] // count)
    found: tuple[Tensor, ...] = x.split(parts, axis)  # type: ignore[no-untyped-call]
    if len(found) != count:
        raise ValueError(f"{x.shape[axis]} values along axis {axis} give {len(found)} parts for {count} outputs")
    return found


def _slice(
    attributes: Attributes, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:  # fmt: skip
    first, last = integers(starts) or [], integers(ends) or []
    chosen = list(range(len(first))) if axes is None else axes_of(axes, x.ndim)
    strides = integers(steps) or [1] * len(first)
    if any(stride < 1 for stride in strides):
        raise ValueError("a slice that goes backwards")
    places = [slice(None)] * x.ndim
    for axis, start, end, stride in zip(chosen, first, last, strides, strict=True):
        places[axis] = slice(start, end, stride)
    return x[tuple(places)]


def _gather(attributes: Attributes, x: Tensor, index: Tensor) -> Tensor:
    axis = axis_of(attributes.get("axis", 0), x.ndim)
    if index.ndim == 0:
        return x.select(axis, int(index))
    flat = torch.where(index < 0, index + x.shape[axis], index).reshape(-1)
    return x.index_select(axis, flat).reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _pad(
    attributes: Attributes, x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    sizes = integers(pads) or []
    if axes is not None:
        chosen = axes_of(axes, x.ndim)
        given = dict(zip(chosen, zip(sizes[: len(chosen)], sizes[len(chosen) :], strict=True), strict=True))
        sizes = [given.get(axis, (0, 0))[end] for end in (0, 1) for axis in range(x.ndim)]
    named = attributes.get("mode", b"constant").decode()
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}.get(named)
    if mode is None:
        raise ValueError(f"mode {named}; expected constant, reflect, edge or wrap")
    if len(sizes) != 2 * x.ndim:
        raise ValueError(f"pads {sizes} for {x.ndim} axes; expected two numbers for each")
    wanted = around(sizes[: x.ndim], sizes[x.ndim :])
    _allow(math.prod(size + sizes[axis] + sizes[x.ndim + axis] for axis, size in enumerate(x.shape)))
    if mode == "constant":
        return functional.pad(x, wanted, value=0.0 if value is None else float(value))
    # In these modes torch pads only the last axes.
    if any(wanted[2 * (x.ndim - 2) :]):
        raise ValueError(f"padding of the first two axes in mode {mode}")
    return functional.pad(x, wanted[: 2 * (x.ndim - 2)], mode)


def _shape(attributes: Attributes, x: Tensor) -> Tensor:
    return torch.tensor(list(x.shape)[attributes.get("start", 0) : attributes.get("end", None)])


def _constant_of_shape(attributes: Attributes, shape: Tensor) -> Tensor:
    value = attributes.get("value", torch.zeros(1))
    _allow(math.prod(integers(shape) or []))
    return torch.full(integers(shape) or [], value.item(), dtype=value.dtype)


def _resize(attributes: Attributes, x: Tensor, *given: Tensor | None) -> Tensor:
    roi, scales, sizes = (*given, None, None, None)[:3]
    grown = [] if scales is None else scales.reshape(-1).tolist()
    _allow(x.numel() * math.prod(grown) if grown else math.prod(integers(sizes) or []))
    return resize(attributes, x, roi, scales, sizes)


def _tile(attributes: Attributes, x: Tensor, repeats: Tensor) -> Tensor:
    counts = integers(repeats) or []
    if len(counts) != x.ndim or min(counts, default=0) < 0:
        raise ValueError(f"repeats {counts} for {x.ndim} axes")
    _allow(x.numel() * math.prod(counts))
    return x.repeat(counts)


def _expand(attributes: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    sizes = integers(shape) or []
    whole = [1] * (len(sizes) - x.ndim) + list(x.shape)
    sizes = [1] * (len(whole) - len(sizes)) + sizes
    if any(size < 0 or (size != 1 and own not in (1, size)) for own, size in zip(whole, sizes, strict=True)):
        raise ValueError(f"shape {list(x.shape)} cannot be expanded to {integers(shape)}")
    return x.expand([own if size == 1 else size for own, size in zip(whole, sizes, strict=True)])


def _range(attributes: Attributes, start: Tensor, limit: Tensor, step: Tensor) -> Tensor:
    first, last, stride = start.item(), limit.item(), step.item()
    if not stride:
        raise ValueError("a range in steps of 0")
    _allow((last - first) / stride)
    return torch.arange(first, last, stride, dtype=start.dtype)


def _allow(values: float) -> None:
    if not values <= LARGEST:
        raise ValueError(f"{values:g} values; expected at most {LARGEST}")


def _layer_norm(attributes: Attributes, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    shape = x.shape[attributes.get("axis", -1) :]
    return functional.layer_norm(x, shape, scale, bias, attributes.get("epsilon", 1e-5))


def _divide(attributes: Attributes, x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def _clip(attributes: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    return x if low is None and high is None else torch.clamp(x, low, high)


def _modulo(attributes: Attributes, x: Tensor, y: Tensor) -> Tensor:
    """With the sign of y, or with that of x if `fmod` is set."""
    return torch.fmod(x, y) if attributes.get("fmod", 0) else torch.remainder(x, y)


def _dropout(attributes: Attributes, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None) -> Tensor:
    if training is not None and bool(training):
        raise ValueError("it is in training mode; export the network in eval mode")
    return x


def _flatten(attributes: Attributes, x: Tensor) -> Tensor:
    axis = attributes.get("axis", 1)
    if not -x.ndim <= axis <= x.ndim:
        raise ValueError(f"axis {axis} of {x.ndim}")
    return x.flatten(1) if axis == 1 else x.reshape(math.prod(x.shape[:axis]), -1)


def _cast(attributes: Attributes, x: Tensor) -> Tensor:
    if attributes["to"] not in TYPES:
        names = ", ".join(str(kind).removeprefix("torch.") for kind in TYPES.values())
        raise ValueError(f"type {attributes['to']} of the ONNX standard; expected one of {names}")
    return x.to(TYPES[attributes["to"]])


def _gelu(attributes: Attributes, x: Tensor) -> Tensor:
    return functional.gelu(x, approximate=attributes.get("approximate", b"none").decode())


def _of_all(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """Return an operator of any number of tensors, whose shapes are broadcast."""
    return lambda attributes, first, *others: functools.reduce(function, others, first)


def _mean(attributes: Attributes, *inputs: Tensor) -> Tensor:
    return functools.reduce(torch.add, inputs) / len(inputs)


OPERATORS: dict[str, Operator] = {
    # between tensors
    "Max": _of_all(torch.maximum), "Min": _of_all(torch.minimum), "Sum": _of_all(torch.add), "Mean": _mean,
    "And": lambda a, x, y: x & y, "Or": lambda a, x, y: x | y,
    "LessOrEqual": lambda a, x, y: x <= y, "GreaterOrEqual": lambda a, x, y: x >= y,
    "Add": lambda a, x, y: x + y, "Sub": lambda a, x, y: x - y, "Mul": lambda a, x, y: x * y, "Div": _divide,
    "Pow": lambda a, x, y: x**y, "MatMul": lambda a, x, y: x @ y, "Equal": lambda a, x, y: x == y,
    "Less": lambda a, x, y: x < y, "Greater": lambda a, x, y: x > y, "Where": lambda a, c, x, y: torch.where(c, x, y),
    "Mod": _modulo, "PRelu": lambda a, x, y: torch.where(x < 0, x * y, x),
    # of each number
    "Abs": lambda a, x: x.abs(), "Cast": _cast, "Clip": _clip, "Erf": lambda a, x: x.erf(),
    "Elu": lambda a, x: functional.elu(x, a.get("alpha", 1.0)), "Exp": lambda a, x: x.exp(), "Gelu": _gelu,
    "HardSigmoid": lambda a, x: torch.clamp(a.get("alpha", 0.2) * x + a.get("beta", 0.5), 0, 1),
    "HardSwish": lambda a, x: functional.hardswish(x), "Identity": lambda a, x: x, "Log": lambda a, x: x.log(),
    "LeakyRelu": lambda a, x: functional.leaky_relu(x, a.get("alpha", 0.01)), "Neg": lambda a, x: -x,
    "Not": lambda a, x: ~x, "Reciprocal": lambda a, x: x.reciprocal(), "Relu": lambda a, x: torch.relu(x),
    "Sigmoid": lambda a, x: torch.sigmoid(x), "Sqrt": lambda a, x: x.sqrt(), "Tanh": lambda a, x: torch.tanh(x),
    "Softplus": lambda a, x: functional.softplus(x), "Dropout": _dropout, "Floor": lambda a, x: x.floor(),
    "Ceil": lambda a, x: x.ceil(), "Round": lambda a, x: x.round(), "Sign": lambda a, x: x.sign(),
    "Sin": lambda a, x: x.sin(), "Cos": lambda a, x: x.cos(),
    # over axes
    "Softmax": lambda a, x: torch.softmax(x, a.get("axis", -1)), "LayerNormalization": _layer_norm,
    "LogSoftmax": lambda a, x: torch.log_softmax(x, a.get("axis", -1)),
    "MaxPool": lambda a, x: pool(a, x, True), "AveragePool": lambda a, x: pool(a, x, False),
    "GlobalAveragePool": lambda a, x: x.mean(tuple(range(2, x.ndim)), True),
    "GlobalMaxPool": lambda a, x: x.amax(tuple(range(2, x.ndim)), True),
    "ReduceMean": _reduce(torch.mean), "ReduceSum": _reduce(torch.sum), "ReduceMax": _reduce(torch.amax),
    "ReduceMin": _reduce(torch.amin),
    # shapes
    "Flatten": _flatten, "Reshape": _reshape,
    "Transpose": lambda a, x: x.permute(a.get("perm", list(range(x.ndim))[::-1])),
    "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Concat": lambda a, *x: torch.cat(x, a["axis"]), "Split": _split,
    "Slice": _slice, "Gather": _gather, "Pad": _pad, "Shape": _shape, "ConstantOfShape": _constant_of_shape,
    "Expand": _expand, "Range": _range, "Resize": _resize,
    "Tile": _tile,
}  # fmt: skip
