"""Transposed convolutions as a product with a matrix at each position of the input, and digital sums of what overlaps.

A transposed convolution (Dumoulin & Visin, "A guide to convolution arithmetic for deep learning", 2016, chapter 4) adds
w[i, o, k] x[i, p] to the output o at the place stride p + dilation k - padding, for each input channel i, position p
and place k in the kernel. The products of one position with all its weights are those of a convolution with a kernel of
1 whose outputs are all pairs (o, k); what falls on the same place is added digitally.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from torch import Tensor, nn

from norsim.errors import ConfigurationError

Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class SplitTransposed(nn.Module):
    """An equivalent of a transposed convolution along one to three axes: `[images, channels, ...]`, or without images.

    `product` multiplies: an nn.Conv1d with a kernel of 1 along all positions in a row. Its weight is
    `[outputs x places in the kernel, channels of a group, 1]`.
    """

    def __init__(self, layer: Transposed) -> None:
        """Take the weight and the bias of `layer`."""
        super().__init__()
        self.in_channels, self.out_channels, self.groups = layer.in_channels, layer.out_channels, layer.groups
        self.kernel_size, self.stride, self.dilation = layer.kernel_size, layer.stride, layer.dilation
        self.padding, self.output_padding = layer.padding, layer.output_padding
        inputs, each = layer.in_channels // layer.groups, layer.out_channels // layer.groups
        places = layer.weight[0, 0].numel()
        by_group = layer.weight.detach().reshape(layer.groups, inputs, each * places).transpose(1, 2)
        self.product = nn.Conv1d(
            layer.in_channels, layer.out_channels * places, 1, groups=layer.groups, bias=False, device="meta"
        )
        self.product.weight = nn.Parameter(by_group.reshape(-1, inputs, 1).clone())
        self.bias = layer.bias
        self.train(layer.training)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return `[images, outputs, ...]`, of the size `output_size` along the last axes if it is given.

        Raises ConfigurationError for a size that no output padding below the stride gives.
        """
        axes = len(self.kernel_size)
        single = input.ndim == axes + 1
        images = input[None] if single else input
        size = images.shape[2:]
        parts = self.product(images.flatten(2)).unflatten(1, (self.out_channels, -1)).unflatten(3, size)
        steps = list(zip(size, self.stride, self.dilation, self.kernel_size, strict=True))
        whole = [(length - 1) * stride + dilation * (kernel - 1) + 1 for length, stride, dilation, kernel in steps]
        paddings: Any = self.padding
        more: Any = self.output_padding
        if output_size is not None:
            least = [length - 2 * padding for length, padding in zip(whole, paddings, strict=True)]
            more = [wanted - length for wanted, length in zip(output_size[-axes:], least, strict=True)]
            if any(not 0 <= extra < stride for extra, stride in zip(more, self.stride, strict=True)):
                raise ConfigurationError(
                    f"the output_size of a transposed convolution is {list(output_size)}; expected {least}, or more by "
                    f"less than the strides {list(self.stride)}"
                )
        found: Tensor = parts.new_zeros(
            *parts.shape[:2], *(length + extra for length, extra in zip(whole, more, strict=True))
        )
        for number, place in enumerate(product(*(range(kernel) for kernel in self.kernel_size))):
            where = [
                slice(dilation * at, dilation * at + stride * (length - 1) + 1, stride)
                for at, (length, stride, dilation, _) in zip(place, steps, strict=True)
            ]
            found[(slice(None), slice(None), *where)] += parts[:, :, number]
        for axis, (padding, length, extra) in enumerate(zip(paddings, whole, more, strict=True), 2):
            found = found.narrow(axis, padding, length + extra - 2 * padding)
        if self.bias is not None:
            found = found + self.bias.reshape(-1, *[1] * axes)
        return found[0] if single else found
