"""What the tests of users' networks share: a network in three forms, whose answers are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from norsim.chip.load import load_chip
from norsim.quantization.forward import forward
from norsim.quantization.quantize import quantize
from norsim.tiling.convert import convert
from norsim.tiling.modules import digital

SMALL = ("tile.wordlines=8", "tile.bitlines=8", "bit_serial.reference_every=4", "bit_serial.wires.strap_every=4")


class Two(nn.Module):
    """Two linear layers `a` and `b`, and a function of (network, inputs `[images, 8]`) as its forward."""

    def __init__(self, call: Callable[[Any, Tensor], Any] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(8, 6), nn.Linear(6, 4)
        self.act = nn.ReLU()
        self.call = call

    def forward(self, x: Tensor) -> Any:
        return self.b(self.act(self.a(x))) if self.call is None else self.call(self, x)


def rows(count: int = 12, width: int = 8, seed: int = 1) -> Tensor:
    return torch.rand(count, width, generator=torch.Generator().manual_seed(seed))


def pictures(count: int = 6, channels: int = 3, side: int = 6) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(2))


def converted(network: nn.Module, inputs: Tensor, bits: int = 8) -> tuple[nn.Module, nn.Module]:
    """Return the network with quantized layers, of many bits, and with layers on tiles."""
    quantized = quantize(network, [inputs], 4, bits)
    return quantized, convert(quantized, load_chip("etox65", SMALL))


def check_same_answers(network: nn.Module, inputs: Tensor, largest: float = 0.15, rounding: float = 1e-4) -> nn.Module:
    """Check that the float network, the quantized one and the integers on tiles agree; return the last one.

    `largest` is the bound of the quantization's error, and `rounding` that of the error of integers, as shares of the
    largest output.
    """
    quantized, analog = converted(network, inputs)
    network.eval()
    with torch.no_grad(), digital(analog):
        full, exact, integers = (forward(one, inputs).float() for one in (network, quantized, analog))
    scale = float(full.abs().max())
    assert float((exact - full).abs().max()) < largest * scale
    assert float((integers - exact).abs().max()) < rounding * scale
    return analog
