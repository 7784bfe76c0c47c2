"""ONNX operators with constant weights as torch layers, which arrays can hold.

Each takes the node's attributes, its weights, the bias added by a following node or None, and the rank of its input.
ValueError names what the torch layer does not support.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from norsim.quantization.replace import linear_of
from norsim.zoo.onnx.axes import Attributes, along, padding


def _parameter(value: Tensor, count: int | None = None) -> nn.Parameter:
    """Return weights as a parameter. Raises ValueError unless they are finite numbers of float32, `count` if given."""
    if count is not None and value.shape != (count,):
        raise ValueError(f"its weights have shape {list(value.shape)}; expected [{count}]")
    if value.dtype != torch.float32:
        raise ValueError(f"its weights are {str(value.dtype).removeprefix('torch.')}; expected float32")
    if not torch.isfinite(value).all():
        raise ValueError("its weights are not all finite")
    return nn.Parameter(value.contiguous())


def _convolution(attributes: Attributes, weights: list[Tensor], bias: Tensor | None, rank: int) -> nn.Module:
    weight, groups = weights[0], attributes.get("group", 1)
    axes = weight.ndim - 2
    kind: Any = {1: nn.Conv1d, 2: nn.Conv2d}.get(axes)
    if kind is None:
        raise ValueError(f"a convolution along {axes} axes")
    if list(attributes.get("kernel_shape", weight.shape[2:])) != list(weight.shape[2:]):
        raise ValueError(f"its kernel_shape {attributes['kernel_shape']} is not that of its weights")
    before, behind = padding(attributes, axes)
    options: Any = {
        "stride": tuple(along(attributes, "strides", axes)), "padding": tuple(before) if before == behind else 0,
        "dilation": tuple(along(attributes, "dilations", axes)), "groups": groups, "bias": len(weights) > 1,
    }  # fmt: skip
    layer: nn.Module = kind(
        weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]), **options, device="meta"
    )
    layer.weight = _parameter(weight)
    if len(weights) > 1:
        layer.bias = _parameter(weights[1], len(weight))
    return layer


def _transposed(attributes: Attributes, weights: list[Tensor], bias: Tensor | None, rank: int) -> nn.Module:
    weight, groups = weights[0], attributes.get("group", 1)
    axes = weight.ndim - 2
    kind: Any = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}.get(axes)
    if kind is None or "output_shape" in attributes:
        raise ValueError(f"a transposed convolution along {axes} axes, or of a stated output_shape")
    before, behind = padding(attributes, axes)
    further = list(attributes.get("output_padding", [0] * axes))
    # What is cut off less at the end is padding of the output.
    more = [one + start - end for one, start, end in zip(further, before, behind, strict=True)]
    strides, dilations = along(attributes, "strides", axes), along(attributes, "dilations", axes)
    if any(not 0 <= one < max(pair) for one, *pair in zip(more, strides, dilations, strict=True)):
        raise ValueError(f"pads {before + behind} with output_padding {further}")
    layer: nn.Module = kind(
        weight.shape[0], weight.shape[1] * groups, tuple(weight.shape[2:]), stride=tuple(strides),
        padding=tuple(before), output_padding=tuple(more), dilation=tuple(dilations), groups=groups,
        bias=len(weights) > 1, device="meta",
    )  # fmt: skip
    layer.weight = _parameter(weight)
    if len(weights) > 1:
        layer.bias = _parameter(weights[1], weight.shape[1] * groups)
    return layer


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    return linear_of(_parameter(weight), None if bias is None else _parameter(bias))


def _gemm(attributes: Attributes, weights: list[Tensor], bias: Tensor | None, rank: int) -> nn.Module:
    if attributes.get("transA", 0):
        raise ValueError("its input is transposed")
    weight = weights[0] if attributes.get("transB", 0) else weights[0].T
    if len(weights) > 1:
        bias = (attributes.get("beta", 1.0) * weights[1]).expand(1, len(weight))[0]
    return _linear(attributes.get("alpha", 1.0) * weight, bias)


def _product(attributes: Attributes, weights: list[Tensor], bias: Tensor | None, rank: int) -> nn.Module:
    return _linear(weights[0].T, bias)


def _norm(attributes: Attributes, weights: list[Tensor], bias: Tensor | None, rank: int) -> nn.Module:
    if attributes.get("training_mode", 0):
        raise ValueError("it is in training mode; export the network in eval mode")
    if rank not in (2, 3, 4):
        raise ValueError(f"its input has {rank} axes; expected 2 to 4")
    scale, shift, mean, variance = (_parameter(value, weights[0].numel()) for value in weights)
    if (variance < 0).any():
        raise ValueError("its variance is negative")
    kind = nn.BatchNorm2d if rank == 4 else nn.BatchNorm1d
    norm = kind(len(scale), attributes.get("epsilon", 1e-5), device="meta")
    norm.weight, norm.bias = scale, shift
    norm.running_mean, norm.running_var = mean.detach().clone(), variance.detach().clone()
    norm.num_batches_tracked = torch.zeros((), dtype=torch.int64)
    return norm


LAYERS = {
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "MatMul": _product,
    "BatchNormalization": _norm,
}
