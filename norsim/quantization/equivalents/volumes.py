"""Three-dimensional convolutions as two-dimensional ones, whose channels are those of all planes under the kernel.

    y[o, d] = sum over planes k of  w[o, :, k] * x[:, stride d + dilation k - padding],

where * is a convolution in the plane. So the planes under the kernel are copied beside each other as channels, and the
sum over them is one matrix product: that of an nn.Conv2d with channels times planes inputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class SplitVolume(nn.Module):
    """An equivalent of nn.Conv3d: `[images, channels, depth, height, width]`, or without images.

    `product` multiplies. Its weight is `[outputs, channels of a group x planes, height, width]` of the kernel.
    """

    def __init__(self, layer: nn.Conv3d) -> None:
        """Take the weight and the bias of `layer`."""
        super().__init__()
        self.in_channels, self.out_channels, self.groups = layer.in_channels, layer.out_channels, layer.groups
        self.kernel_size, self.stride, self.dilation = layer.kernel_size, layer.stride, layer.dilation
        self.padding, self.padding_mode = layer.padding, layer.padding_mode
        # On both sides of each axis, the last axis first: the order of torch.nn.functional.pad.
        self.around: list[int] = list(layer._reversed_padding_repeated_twice)
        planes = layer.kernel_size[0]
        kernel, stride, dilation = (values[1:] for values in (layer.kernel_size, layer.stride, layer.dilation))
        kind: Any = nn.Conv2d
        self.product = kind(
            layer.in_channels * planes, layer.out_channels, kernel, stride, 0, dilation, layer.groups,
            layer.bias is not None, device="meta",
        )  # fmt: skip
        self.product.weight = nn.Parameter(layer.weight.detach().flatten(1, 2).clone())
        self.product.bias = layer.bias
        self.train(layer.training)

    def forward(self, input: Tensor) -> Tensor:
        """Return `[images, outputs, depth', height', width']`."""
        single = input.ndim == 4
        images = input[None] if single else input
        mode: Any = "constant" if self.padding_mode == "zeros" else self.padding_mode
        if any(self.around):
            images = functional.pad(images, self.around, mode=mode)
        kernel, stride, dilation = self.kernel_size[0], self.stride[0], self.dilation[0]
        depth = (images.shape[2] - dilation * (kernel - 1) - 1) // stride + 1
        under = torch.arange(depth)[:, None] * stride + torch.arange(kernel) * dilation
        # [images, channels, depth', planes, height, width] -> [images x depth', channels x planes, height, width]
        planes = images[:, :, under.to(images.device)].movedim(2, 1).flatten(2, 3)
        found: Tensor = self.product(planes.flatten(0, 1)).unflatten(0, planes.shape[:2]).movedim(1, 2)
        return found[0] if single else found
