"""The ONNX operator Resize: values between those of a tensor, one axis after another.

Coordinates and weights follow the ONNX operator specification of Resize (opset 11 and later). With `align_corners` and
a length that is rounded, coordinates follow from the rounded length, as in onnxruntime.
"""

from __future__ import annotations

import torch
from torch import Tensor

from norsim.zoo.onnx.axes import Attributes, axis_of, integers


def resize(
    attributes: Attributes, x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return `x` of any shape with other lengths of some axes. Raises ValueError for a case without meaning."""
    named = {key: attributes.get(key, default) for key, default in (
        ("mode", b"nearest"), ("coordinate_transformation_mode", b"half_pixel"),
        ("nearest_mode", b"round_prefer_floor"), ("keep_aspect_ratio_policy", b"stretch"),
    )}  # fmt: skip
    mode, places, rounding, policy = (value.decode() for value in named.values())
    axes = [axis_of(axis, x.ndim) for axis in attributes.get("axes", range(x.ndim))]
    given = None if scales is None or not scales.numel() else scales.reshape(-1).tolist()
    wanted = None if given is not None else integers(sizes)
    if len(given or wanted or []) != len(axes):
        raise ValueError(f"{len(given or wanted or [])} scales or sizes for {len(axes)} axes")
    if wanted is not None and policy != "stretch":
        choose = min if policy == "not_larger" else max
        ratio = choose(size / x.shape[axis] for size, axis in zip(wanted, axes, strict=True))
        given, wanted = [ratio] * len(axes), [round(ratio * x.shape[axis]) for axis in axes]
    for turn, axis in enumerate(axes):
        length = x.shape[axis]
        scale = given[turn] if given is not None else (wanted or [])[turn] / length
        size = wanted[turn] if wanted is not None else int(length * scale)
        if scale == 1 and size == length:
            continue
        if size < 1:
            raise ValueError(f"axis {axis} of length {length} times {scale:g}")
        at = _coordinates(places, length, size, scale)
        x = _between(x, axis, at, mode, rounding, attributes)
    return x


def is_plain(attributes: Attributes) -> bool:
    """Return whether `resize` computes this node: without antialiasing and crops."""
    crops = attributes.get("coordinate_transformation_mode", b"") == b"tf_crop_and_resize"
    return not crops and not attributes.get("antialias", 0)


def _coordinates(kind: str, length: int, size: int, scale: float) -> Tensor:
    """Return where the `size` new values are among the `length` old ones, float64 `[size]`."""
    new = torch.arange(size, dtype=torch.float64)
    if kind == "asymmetric":
        return new / scale
    if kind == "align_corners":
        return new * (length - 1) / (size - 1) if size > 1 else torch.zeros(1, dtype=torch.float64)
    if kind == "pytorch_half_pixel" and size == 1:
        return torch.zeros(1, dtype=torch.float64)
    if kind in ("half_pixel", "pytorch_half_pixel"):
        return (new + 0.5) / scale - 0.5
    if kind == "half_pixel_symmetric":
        return length / 2 * (1 - size / (scale * length)) + (new + 0.5) / scale - 0.5
    raise ValueError(f"coordinate_transformation_mode {kind}")


def _between(x: Tensor, axis: int, at: Tensor, mode: str, rounding: str, attributes: Attributes) -> Tensor:
    """Return the values of `x` at places `at` `[size]` along an axis."""
    length = x.shape[axis]
    if mode == "nearest":
        rounded = {
            "floor": at.floor(), "ceil": at.ceil(), "round_prefer_floor": (at - 0.5).ceil(),
            "round_prefer_ceil": (at + 0.5).floor(),
        }  # fmt: skip
        if rounding not in rounded:
            raise ValueError(f"nearest_mode {rounding}")
        return x.index_select(axis, rounded[rounding].clamp(0, length - 1).long().to(x.device))
    if mode not in ("linear", "cubic"):
        raise ValueError(f"mode {mode}")
    first = at.floor()
    share = at - first
    taps = (1 - share, share) if mode == "linear" else _cubic(share, float(attributes.get("cubic_coeff_a", -0.75)))
    start = first.long() - (len(taps) // 2 - 1)
    weights, chosen = torch.stack(taps), torch.stack([start + tap for tap in range(len(taps))])
    if attributes.get("exclude_outside", 0):
        weights = torch.where((chosen >= 0) & (chosen < length), weights, 0.0)
        weights = weights / weights.sum(0)
    shape = [-1 if one == axis else 1 for one in range(x.ndim)]
    parts = [
        x.index_select(axis, places.to(x.device)) * weight.to(x.dtype).to(x.device).view(shape)
        for places, weight in zip(chosen.clamp(0, length - 1), weights, strict=True)
    ]
    return torch.stack(parts).sum(0)


def _cubic(share: Tensor, a: float) -> tuple[Tensor, ...]:
    """Return the weights of four values around a place (R. G. Keys, IEEE Trans. ASSP 29, 1981), `[size]` each."""

    def near(d: Tensor) -> Tensor:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Tensor) -> Tensor:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return far(share + 1), near(share), near(1 - share), far(2 - share)
