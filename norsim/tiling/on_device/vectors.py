"""Activation codes and the vectors that a layer multiplies, in torch: codes, patches of convolutions, exact sums.

QuantizedLayer and norsim.tiling.convolutions.im2col do the same in NumPy and numba on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from norsim.quantization.layer import ConvGeometry
from norsim.solver.macro.float16_parts import multiply


@dataclass(frozen=True, eq=False)
class DigitalSide:
    """The integers of a layer, and what they stand for: `QuantizedLayer` as tensors.

    `reciprocal`   of the input's scale, float32 `[]`; `zero`, `top`: the input's zero point and highest code
    `weights`      signed weights q - z, `[groups, inputs, outputs of a group]`, float16 if its sums are exact in
                   float32, else float64
    `step`, `bias`, `zero_part`   float64 `[outputs]`: a sum S of (q - z) x stands for (S - zero_part) step + bias
    """

    reciprocal: Tensor
    zero: int
    top: int
    weights: Tensor
    step: Tensor
    bias: Tensor
    zero_part: Tensor

    def encode(self, activations: Tensor) -> Tensor:
        """Return the codes, uint8, of real activations, float32, of any shape, as QuantizedLayer.encode does."""
        steps = (activations * self.reciprocal).round_()
        return steps.add_(self.zero).clamp_(0, self.top).to(torch.uint8)

    def exact_sums(self, codes: Tensor) -> Tensor:
        """Return the integer sums of (q - z) x, `[vectors, outputs]`, of codes `[vectors, inputs]`."""
        kind = self.weights.dtype
        by_group = codes.view(len(codes), *self.weights.shape[:2]).to(kind)
        product = torch.matmul if kind == torch.float64 else multiply
        found = [product(by_group[:, group].contiguous(), one) for group, one in enumerate(self.weights)]
        return torch.cat(found, dim=1)

    def real(self, sums: Tensor) -> Tensor:
        """Return real outputs `[..., outputs]`, float32, for sums of (q - z) x of the same shape."""
        return ((sums.to(torch.float64) - self.zero_part) * self.step + self.bias).to(torch.float32)


def padded(codes: Tensor, geometry: ConvGeometry, padding_code: int) -> Tensor:
    """Return activation codes `[images, channels, height, width]`, contiguous, with the geometry's padding.

    Zero padding means real zeros, so it uses `padding_code`, the code of the input's zero point.
    """
    vertical, horizontal = geometry.padding
    around = (horizontal, horizontal, vertical, vertical)
    if geometry.padding_mode == "zeros":
        return functional.pad(codes, around, value=padding_code).contiguous()
    return functional.pad(codes.float(), around, mode=geometry.padding_mode).to(codes.dtype).contiguous()


def patches(codes: Tensor, geometry: ConvGeometry) -> Tensor:
    """Return the patches `[images x height' x width', inputs]` of padded codes `[images, channels, height, width]`.

    Inputs are in the order of a convolution's weights: channel, then row and column of the kernel.
    """
    (images, channels, *size), (stride, dilation) = codes.shape, (geometry.stride, geometry.dilation)
    rows, columns = geometry.positions(size)
    image, channel, row, column = codes.stride()
    views = codes.as_strided(
        (images, rows, columns, channels, *geometry.kernel),
        (image, row * stride[0], column * stride[1], channel, row * dilation[0], column * dilation[1]),
    )
    return views.reshape(images * rows * columns, -1)
