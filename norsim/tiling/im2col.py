"""The patches of images that a convolution multiplies (im2col), compiled by numba."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from norsim.periphery.encoding import Codes
from norsim.quantization.layer import ConvGeometry


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


@njit(cache=True, parallel=True)
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
