"""Axes, paddings and strides that ONNX nodes state as attributes or as tensors of integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

Attributes = Mapping[str, Any]


def integers(values: Tensor | Sequence[int] | None) -> list[int] | None:
    """Return a tensor of integers of any shape, or a sequence of them, as a list."""
    if values is None:
        return None
    return [int(value) for value in (values.reshape(-1).tolist() if isinstance(values, Tensor) else values)]


def padding(attributes: Attributes, axes: int) -> tuple[list[int], list[int]]:
    """Return the padding before and after each of the last `axes` axes; ValueError if it depends on the input."""
    kind = attributes.get("auto_pad", b"NOTSET").decode()
    if kind not in ("NOTSET", "VALID"):
        raise ValueError(f"auto_pad {kind} depends on the size of the image; export with explicit pads")
    pads = list(attributes.get("pads", [0] * 2 * axes))
    if len(pads) != 2 * axes or min(pads) < 0:
        raise ValueError(f"pads {pads}; expected {2 * axes} numbers of at least 0")
    if kind == "VALID" and any(pads):
        raise ValueError(f"auto_pad VALID, which is no padding, together with pads {pads}")
    return pads[:axes], pads[axes:]


def along(attributes: Attributes, name: str, axes: int) -> list[int]:
    """Return an attribute with one number of at least 1 for each axis; ones if it is omitted. ValueError otherwise."""
    values = list(attributes.get(name, [1] * axes))
    if len(values) != axes or min(values) < 1:
        raise ValueError(f"{name} {values}; expected {axes} numbers of at least 1")
    return values


def axis_of(axis: int, axes: int) -> int:
    """Return the number, from 0, of one of `axes` axes; ValueError if there is none of that number."""
    if not -axes <= axis < axes:
        raise ValueError(f"axis {axis} of {axes}")
    return axis % axes


def axes_of(values: Tensor, axes: int) -> list[int]:
    """Return `values` `[n]`, numbers of different axes out of `axes`, as numbers from 0. ValueError for others."""
    found = [axis_of(axis, axes) for axis in integers(values) or []]
    if len(set(found)) != len(found):
        raise ValueError(f"axes {integers(values)}; expected different ones")
    return found


def around(before: Sequence[int], behind: Sequence[int]) -> list[int]:
    """Return the same padding in torch's order, the last axis first."""
    return [size for pair in reversed(list(zip(before, behind, strict=True))) for size in pair]
