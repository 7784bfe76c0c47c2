"""A convolution whose padding differs between two sides, as digital padding and a convolution without."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional


class SplitPadding(nn.Module):
    """An equivalent of nn.Conv1d or nn.Conv2d with the padding 'same' and an even kernel.

    `product` is the convolution.
    """

    def __init__(self, layer: nn.Conv1d | nn.Conv2d) -> None:
        """Take the weight and the bias of `layer`."""
        super().__init__()
        self.padding_mode, self.around = layer.padding_mode, list(layer._reversed_padding_repeated_twice)
        kind: Any = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.Conv1d
        self.product = kind(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, 0, layer.dilation, layer.groups,
            layer.bias is not None, device="meta",
        )  # fmt: skip
        self.product.weight, self.product.bias = layer.weight, layer.bias
        self.train(layer.training)

    def forward(self, input: Tensor) -> Tensor:
        """Return what `layer` returns for `[images, channels, ...]`, or without images."""
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        found: Tensor = self.product(functional.pad(input, self.around, mode=mode))
        return found


def is_asymmetric(layer: nn.Module) -> bool:
    """Return whether `layer` is a convolution that pads two sides by different widths."""
    if not isinstance(layer, (nn.Conv1d, nn.Conv2d)) or layer.padding != "same":
        return False
    around = layer._reversed_padding_repeated_twice
    return any(before != after for before, after in zip(around[::2], around[1::2], strict=True))
