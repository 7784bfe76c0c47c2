"""ONNX pools as torch's; what torch computes otherwise is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional

from norsim.zoo.onnx.axes import Attributes, along, around, padding


def pool(attributes: Attributes, x: Tensor, largest: bool) -> Tensor:
    """Return the largest value, or the mean, in windows of the last axes of `x` `[n, channels, ...]`.

    Raises ValueError for windows along more than two axes, and for averages whose divisor torch counts otherwise.
    """
    axes = len(attributes["kernel_shape"])
    kernel = along(attributes, "kernel_shape", axes)
    names: dict[tuple[int, bool], Callable[..., Tensor]] = {
        (1, True): functional.max_pool1d, (2, True): functional.max_pool2d,
        (1, False): functional.avg_pool1d, (2, False): functional.avg_pool2d,
    }  # fmt: skip
    if (axes, largest) not in names or x.ndim != axes + 2:
        raise ValueError(f"a pool along {axes} axes of {x.ndim}; expected 1 or 2, after those of images and channels")
    before, behind = padding(attributes, axes)
    strides, dilations = along(attributes, "strides", axes), along(attributes, "dilations", axes)
    if any(one >= size for pads in (before, behind) for one, size in zip(pads, kernel, strict=True)):
        raise ValueError(f"pads {before + behind} of windows {kernel}; expected less, or windows hold no pixel")
    options: dict[str, Any] = {"stride": strides}
    if largest:
        options["dilation"] = dilations
    else:
        options["count_include_pad"] = bool(attributes.get("count_include_pad", 0))
    # With auto_pad VALID the standard rounds down.
    if attributes.get("ceil_mode", 0) and attributes.get("auto_pad", b"NOTSET") == b"NOTSET":
        reach = [dilation * (size - 1) + 1 for size, dilation in zip(kernel, dilations, strict=True)]
        padded = [size + one + other for size, one, other in zip(x.shape[2:], before, behind, strict=True)]
        if _has_more(padded, reach, strides):
            if any(before + behind) and not (largest and before == behind):
                raise ValueError("ceil_mode with pads, and a last window beyond them: programs disagree on its value")
            options["ceil_mode"] = True
    if before == behind and all(2 * one <= size for one, size in zip(before, kernel, strict=True)):
        options["padding"] = before
    elif "ceil_mode" in options:
        raise ValueError("ceil_mode with pads of more than half a window")
    elif largest or options.get("count_include_pad"):
        x = functional.pad(x, around(before, behind), value=-math.inf if largest else 0.0)
    else:
        raise ValueError("an average pool with pads that differ between sides or are more than half a window")
    return names[axes, largest](x, kernel, **options)


def _has_more(sizes: Sequence[int], reach: Sequence[int], strides: Sequence[int]) -> bool:
    """Return whether rounding up gives more windows than rounding down."""
    return any((size - one) % stride for size, one, stride in zip(sizes, reach, strides, strict=True))
