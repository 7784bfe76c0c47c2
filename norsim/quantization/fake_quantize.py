"""Rounding of real numbers to a grid that is learned.

With a scale s, a zero point z and codes from 0 to `top`, a value v becomes

    q = clip(rint(v · fl32(1 / s)) + clip(rint(z), 0, top), 0, top)        v̂ = (q − z) · s

with ties to even. Gradients are those of LSQ (Esser et al., "Learned Step Size Quantization", ICLR 2020, equations 2
and 3), and of LSQ+ for the zero point (Bhalgat et al., 2020, equation 6): rounding counts as the identity, so that

    dv̂/dv = 1, dv̂/ds = (v̂ − v) / s, dv̂/dz = 0     where q is not clipped
    dv̂/dv = 0, dv̂/ds = q − z,       dv̂/dz = −s    where it is

and those of s and z are summed and multiplied by a factor. torch's `_fake_quantize_learnable_*` kernels compute the
same. On a CUDA card they wait for the card, which takes longer than the computation and cannot be recorded in a graph;
on a CPU they are a little faster in a training, and slower without gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def fake_quantize(values: Tensor, scale: Tensor, zero: Tensor, top: int, factor: float) -> Tensor:
    """Return `values` `[...]` on their grid: same shape, differentiable in `values`, `scale` and `zero`.

    `scale`, positive, is `[1]`, or `[outputs, 1, ...]` for the first axis of the values; `zero` `[1]` is not rounded;
    `factor` multiplies their gradients. Taken by torch's kernels in a training on a CPU, else elementwise.
    """
    if values.device.type == "cpu" and torch.is_grad_enabled():
        return by_kernel(values, scale, zero, top, factor)
    return elementwise(values, scale, zero, top, factor)


def by_kernel(values: Tensor, scale: Tensor, zero: Tensor, top: int, factor: float) -> Tensor:
    """Do as `fake_quantize` for values `[...]`, by torch's kernels, in the type of the values."""
    if scale.ndim == 1:
        zero = zero.to(values.dtype)
        return torch._fake_quantize_learnable_per_tensor_affine(values, scale, zero, 0, top, factor)
    zero = zero.expand(len(scale))
    return torch._fake_quantize_learnable_per_channel_affine(values, scale.flatten(), zero, 0, 0, top, factor)


def elementwise(values: Tensor, scale: Tensor, zero: Tensor, top: int, factor: float) -> Tensor:
    """Do as `fake_quantize` for values `[...]`, by elementwise operations, which wait for nothing, in float32."""
    found: Tensor = _OnGrid.apply(values.float(), scale, zero, top, factor)  # type: ignore[no-untyped-call]
    return found


class _OnGrid(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor, scale: Tensor, zero: Tensor, top: int, factor: float) -> Tensor:
        context.save_for_backward(values, scale, zero)
        context.top, context.factor = top, factor
        steps = zero.round().clamp_(0, top)
        return (values * scale.reciprocal()).round_().add_(steps).clamp_(0, top).sub_(steps).mul_(scale)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        values, scale, zero = context.saved_tensors
        top, factor = context.top, context.factor
        of_values, of_scale, of_zero = context.needs_input_grad[:3]
        zero = zero.round().clamp_(0, top)
        inverse = scale.reciprocal()
        codes = (values * inverse).round_().add_(zero)
        clipped = codes.clamp(0, top)
        beyond = clipped != codes
        found: list[Tensor | None] = [None, None, None]
        if of_values:
            found[0] = gradient.masked_fill(beyond, 0)
        if of_scale:
            steps = clipped.sub_(zero)
            slopes = torch.where(beyond, steps, (steps * scale).sub_(values).mul_(inverse))
            found[1] = slopes.mul_(gradient).sum_to_size(scale.shape).mul_(factor)
        if of_zero:
            found[2] = (gradient * beyond).mul_(scale).sum_to_size(zero.shape).mul_(-factor)
        return *found, None, None
