"""Convolutions: from activations to padded codes and back from sums, compiled by numba; patches of images (im2col)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import prange
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from norsim.array.compiled import njit
from norsim.errors import ConfigurationError
from norsim.periphery.code_vectors import CodeVectors
from norsim.periphery.encoding import Codes
from norsim.quantization.layer import ConvGeometry, QuantizedLayer
from norsim.tiling.grid import signed_weights
from norsim.tiling.on_device.vectors import padded


def patches(codes: Codes, geometry: ConvGeometry) -> CodeVectors:
    """Return the patches `[images x height' x width', inputs]` of padded codes `[images, channels, height, width]`, not
    copied.

    Inputs are in the order of a convolution's weights: channel, then row and column of the kernel.
    """
    images, channels, height, width = codes.shape
    rows, columns = geometry.positions((height, width))
    (down, right), (below, beside) = geometry.stride, geometry.dilation
    begins = _places((images, channels * height * width), (rows, down * width), (columns, right))
    steps = (channels, height * width), (geometry.kernel[0], below * width), (geometry.kernel[1], beside)
    return CodeVectors(codes.reshape(-1), begins, _places(*steps))


def _places(*axes: tuple[int, int]) -> NDArray[np.uint64]:
    """Return the places of the elements of an array, given the length and the stride of each axis."""
    found = np.zeros(1, dtype=np.uint64)
    for length, stride in axes:
        found = (found[:, None] + np.arange(length, dtype=np.uint64) * np.uint64(stride)).ravel()
    return found


def padded_codes(activations: Tensor, layer: QuantizedLayer, geometry: ConvGeometry) -> Codes:
    """Return the codes of `activations` `[images, channels, height, width]`, float32, with the geometry's padding.

    Zero padding means real zeros, so it uses the code of the input's zero point.
    """
    values = activations.contiguous().numpy()
    images, channels, height, width = values.shape
    around = geometry.padding if geometry.padding_mode == "zeros" else (0, 0)
    codes = np.empty((images, channels, height + 2 * around[0], width + 2 * around[1]), dtype=np.uint8)
    _encode(
        values, np.float32(1) / np.float32(layer.input_scale), np.float32(layer.input_zero),
        np.float32(2**layer.input_bits - 1), *around, codes,
    )  # fmt: skip
    if geometry.padding_mode == "zeros":
        return codes
    found: Codes = padded(torch.from_numpy(codes), geometry, layer.input_zero).numpy()
    return found


@njit(parallel=True, error_model="numpy")
def _encode(values, reciprocal, zero, top, vertical, horizontal, codes):  # type: ignore[no-untyped-def]
    """Do `QuantizedLayer.encode`, with a frame of the code of 0 of that width around each image."""
    channels, height, width = values.shape[1:]
    for number in prange(len(values) * channels):
        image, channel = number // channels, number % channels
        codes[image, channel] = np.uint8(zero)
        for i in range(height):
            for j in range(width):
                step = np.rint(values[image, channel, i, j] * reciprocal) + zero
                codes[image, channel, i + vertical, j + horizontal] = np.int32(min(max(step, np.float32(0)), top))


def decoded(sums: NDArray[np.floating], layer: QuantizedLayer) -> NDArray[np.float32]:
    """Return real outputs `[images, outputs, positions]`, float32, for sums of (q - z) x of the same shape: those of
    `layer.decode` for sums without the input's zero point."""
    nothing = np.zeros(layer.outputs)
    step = layer.weight_scale.astype(np.float64) * float(layer.input_scale)
    found = np.empty(sums.shape, dtype=np.float32)
    _decode(sums, layer.zero_sums.astype(np.float64), step,
            nothing if layer.bias is None else layer.bias.astype(np.float64), found)  # fmt: skip
    return found


@njit(parallel=True, error_model="numpy")
def _decode(sums, beyond, step, bias, found):  # type: ignore[no-untyped-def]
    for image in prange(len(sums)):
        for output in range(sums.shape[1]):
            for position in range(sums.shape[2]):
                found[image, output, position] = (sums[image, output, position] - beyond[output]) * step[output] + bias[
                    output
                ]


def exact_convolution(layer: QuantizedLayer, geometry: ConvGeometry, codes: Codes) -> NDArray[np.floating]:
    """Return exact sums of (q - z) x, `[images, outputs, height', width']`, of padded codes."""
    weights = signed_weights(layer).view(layer.outputs, -1, *geometry.kernel)
    # In the type of autocast, sums would lose their last digits.
    with torch.autocast("cpu", enabled=False):
        sums = functional.conv2d(
            torch.from_numpy(codes).to(weights), weights, stride=geometry.stride, dilation=geometry.dilation,
            groups=geometry.groups,
        )  # fmt: skip
    found: NDArray[np.floating] = sums.contiguous().numpy()
    return found


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
