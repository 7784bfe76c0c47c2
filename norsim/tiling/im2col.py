"""Convolutions of codes: the patches of images that they multiply (im2col), compiled by numba; exact sums; padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import prange
from torch import Tensor
from torch.nn import functional

from norsim.array.compiled import njit
from norsim.errors import ConfigurationError
from norsim.periphery.encoding import Codes
from norsim.quantization.layer import ConvGeometry, QuantizedLayer
from norsim.tiling.grid import signed_weights


def patches(codes: Codes, geometry: ConvGeometry) -> tuple[Codes, int]:
    """Return patches `[images x height' x width', inputs]` of padded codes `[images, channels, height, width]`, and
    height'.

    Inputs are in the order of a convolution's weights: channel, then row and column of the kernel.
    """
    along = zip(codes.shape[2:], geometry.kernel, geometry.dilation, geometry.stride, strict=True)
    rows, columns = ((length - step * (kernel - 1) - 1) // stride + 1 for length, kernel, step, stride in along)
    inputs = codes.shape[1] * geometry.kernel[0] * geometry.kernel[1]
    found = np.empty((len(codes) * rows * columns, inputs), dtype=np.uint8)
    _patches(codes, geometry.kernel, geometry.stride, geometry.dilation, rows, columns, found)
    return found, rows


@njit(parallel=True)
def _patches(codes, kernel, stride, dilation, rows, columns, found):  # type: ignore[no-untyped-def]
    (tall, wide), (down, right), (below, beside) = kernel, stride, dilation
    for number in prange(len(codes) * rows):
        image, row = number // rows, number % rows
        for channel in range(codes.shape[1]):
            for i in range(tall):
                for j in range(wide):
                    place = (channel * tall + i) * wide + j
                    for column in range(columns):
                        found[number * columns + column, place] = codes[
                            image, channel, row * down + i * below, column * right + j * beside
                        ]


def padded(codes: Tensor, geometry: ConvGeometry, padding_code: int) -> Tensor:
    """Return activation codes `[images, channels, height, width]`, contiguous, with the geometry's padding.

    Zero padding means real zeros, so it uses `padding_code`, the code of the input's zero point.
    """
    vertical, horizontal = geometry.padding
    around = (horizontal, horizontal, vertical, vertical)
    if geometry.padding_mode == "zeros":
        return functional.pad(codes, around, value=padding_code).contiguous()
    return functional.pad(codes.float(), around, mode=geometry.padding_mode).to(codes.dtype).contiguous()


def exact_convolution(layer: QuantizedLayer, geometry: ConvGeometry, codes: Tensor) -> Tensor:
    """Return exact sums of (q - z) x, `[images, height', width', outputs]`, of padded codes."""
    weights = signed_weights(layer).view(layer.outputs, -1, *geometry.kernel)
    # In the type of autocast, sums would lose their last digits.
    with torch.autocast("cpu", enabled=False):
        sums = functional.conv2d(
            codes.to(weights), weights, stride=geometry.stride, dilation=geometry.dilation, groups=geometry.groups
        )
    return sums.permute(0, 2, 3, 1)


def memory_format(tensor: Tensor) -> torch.memory_format:
    """Return the memory format that torch takes a tensor `[images, channels, height, width]` to have."""
    shape, strides = tensor.shape, tensor.stride()
    # By the order of strides alone, so that a part of a tensor has the format of the whole: channels, columns, rows.
    least = 1 if strides[1] else torch.inf
    for axis in (1, 3, 2, 0):
        if strides[axis] < least or (axis == 0 and strides[1] == least):
            return torch.contiguous_format
        least = strides[axis] * max(shape[axis], 1)
    return torch.channels_last


def of_convolution(layer: QuantizedLayer, axes: slice) -> dict[str, Any]:
    """Return the arguments of torch's convolution along `axes` of (vertical, horizontal)."""
    geometry = layer.geometry
    if geometry is None:
        raise ConfigurationError(f"layer {layer.name!r} is not a convolution: it has no geometry")
    return {
        "in_channels": geometry.in_channels, "out_channels": layer.outputs, "kernel_size": geometry.kernel[axes],
        "stride": geometry.stride[axes], "padding": geometry.padding[axes], "dilation": geometry.dilation[axes],
        "groups": geometry.groups, "bias": layer.bias is not None, "padding_mode": geometry.padding_mode,
    }  # fmt: skip


def batched(input: Tensor, layer: QuantizedLayer, axes: int) -> Tensor:
    """Return the input of a convolution along 1 or 2 `axes`, `[channels, ...]` or `[images, channels, ...]`, as the
    second of these.

    Raises ConfigurationError for another shape.
    """
    channels = layer.geometry.in_channels if layer.geometry else 0
    if input.ndim - axes not in (1, 2) or input.shape[-1 - axes] != channels:
        wanted = f"{channels}, length" if axes == 1 else f"{channels}, height, width"
        raise ConfigurationError(
            f"layer {layer.name!r}: input of shape {tuple(input.shape)}; expected [images, {wanted}] or [{wanted}]"
        )
    return input if input.ndim == axes + 2 else input[None]
