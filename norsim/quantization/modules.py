"""Quantized counterparts of Conv1d, Conv2d and Linear.

Scales are learned as in LSQ (Esser et al., "Learned Step Size Quantization", ICLR 2020, equations 1 to
3 and section 2.2), the weight zero point by the same straight-through rule (Bhalgat et al., "LSQ+",
2020); norsim.quantization.fake_quantize has the equations. `weight_codes` and `input_codes` recover the codes from
the real numbers of the forward, so the exported integers are those that it computes with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from norsim.quantization.by_layer.bits import Bits
from norsim.quantization.exempt import refused
from norsim.quantization.fake_quantize import fake_quantize
from norsim.quantization.layer import ConvGeometry, QuantizedLayer, fit_grid, fit_percentile

SMALLEST_SCALE = 1e-8
# Attributes that a quantized layer has, and the layer on tiles that replaces it has not.
OWN = frozenset(("weight_bits", "input_bits", "weight_scale", "weight_zero", "input_scale", "input_zero"))


class QuantizedOperands(nn.Module):
    """The quantizers of weight and input that all quantized layers share.

    `weight_scale` `[outputs]`, `weight_zero` `[1]` (real during training, rounded when used) and
    `input_scale` `[1]` are parameters; `input_zero` `[1]` is a fixed integer buffer. `weight_bits` and
    `input_bits` are the code widths.
    """

    weight: Tensor
    input_zero: Tensor

    def __init__(self, *shape: Any, weight_bits: int = 4, activation_bits: int = 4, **options: Any) -> None:
        """Make a layer that is not calibrated; `shape` and `options` as for the torch layer, widths of 1 to 8 bits."""
        super().__init__(*shape, **options)
        bits = Bits(weight_bits, activation_bits)
        self.weight_bits, self.input_bits = bits.weights, bits.activations
        self.weight_scale = nn.Parameter(torch.full((self.weight.shape[0],), 1 / (2**weight_bits - 1)))
        self.weight_zero = nn.Parameter(torch.full((1,), float(2 ** (weight_bits - 1))))
        self.input_scale = nn.Parameter(torch.full((1,), 1 / (2**activation_bits - 1)))
        self.register_buffer("input_zero", torch.zeros(1, dtype=torch.int64))

    def quantized_weight(self) -> Tensor:
        """Return the weight on its grid, same shape, real values, differentiable in weight, scale and zero point."""
        top = 2**self.weight_bits - 1
        factor = 1 / math.sqrt(self.weight[0].numel() * top)
        scale = positive(self.weight_scale).view(-1, *[1] * (self.weight.ndim - 1))
        return fake_quantize(self.weight, scale, self.weight_zero, top, factor)

    def quantized_input(self, activations: Tensor) -> Tensor:
        """Return the activations on their grid, same shape, real values, differentiable in activations and scale."""
        if not activations.numel():
            return activations
        if not self.training:
            # In the types of autocast, codes would differ from the integers of the array.
            activations = activations.float()
        top = 2**self.input_bits - 1
        factor = 1 / math.sqrt(max(activations[0].numel(), 1) * top)
        return fake_quantize(activations, positive(self.input_scale), self.input_zero.float(), top, factor)

    @torch.no_grad()
    def weight_codes(self) -> Tensor:
        """Return the integer weight codes of the forward, uint8 `[outputs, inputs]`."""
        steps = self.quantized_weight().flatten(1) / positive(self.weight_scale)[:, None]
        return (steps.round() + self.rounded_weight_zero()).to(torch.uint8)

    @torch.no_grad()
    def input_codes(self, activations: Tensor) -> Tensor:
        """Return the integer activation codes of the forward, uint8, same shape."""
        steps = self.quantized_input(activations) / positive(self.input_scale)
        return (steps.round() + self.input_zero).to(torch.uint8)

    def rounded_weight_zero(self) -> int:
        """Return the weight zero point as the forward uses it: rounded, ties to even, then clipped to the codes."""
        return int(self.weight_zero.detach().round().clamp(0, 2**self.weight_bits - 1).item())

    @torch.no_grad()
    def fit_scales(self, sample: Tensor, percent: float | None = None) -> None:
        """Fit all scales and zero points to the weight itself and to a `sample` `[n]` of the inputs, up to the
        percentile `percent` of these if it is given."""
        threads = torch.get_num_threads()
        scale, zero = fit_grid(self.weight.flatten(1).cpu().numpy(), self.weight_bits)
        self.weight_scale.copy_(torch.from_numpy(scale))
        self.weight_zero.fill_(zero)
        values, bits = sample.numpy(), self.input_bits
        scale, zero = fit_grid(values[None], bits) if percent is None else fit_percentile(values, bits, percent)
        self.input_scale.copy_(torch.from_numpy(scale))
        self.input_zero.fill_(zero)
        # numba's threads are those of the same library, which then gives torch as many.
        torch.set_num_threads(threads)

    def quantized_layer(self, name: str) -> QuantizedLayer:
        """Return this layer in integers. Raises ConfigurationError if a scale or bias is not finite."""
        bias = self._parameters["bias"]
        return QuantizedLayer(
            name=name,
            weights=self.weight_codes().cpu().numpy(),
            weight_zero=self.rounded_weight_zero(),
            weight_scale=positive(self.weight_scale).detach().cpu().numpy(),
            weight_bits=self.weight_bits,
            input_scale=float(positive(self.input_scale).detach()),
            input_zero=int(self.input_zero),
            input_bits=self.input_bits,
            bias=None if bias is None else bias.detach().cpu().numpy(),
            geometry=conv_geometry(self, name) if isinstance(self, (nn.Conv1d, nn.Conv2d)) else None,
        )


class QuantConv1d(QuantizedOperands, nn.Conv1d):
    """nn.Conv1d on quantized operands: `[n, channels, l]` to `[n, outputs, l']`; padding as in QuantConv2d."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve `[n, channels, length]` to `[n, outputs, length']`, with quantized inputs and weights."""
        output: Tensor = self._conv_forward(self.quantized_input(input), self.quantized_weight(), self.bias)
        return output


class QuantConv2d(QuantizedOperands, nn.Conv2d):
    """nn.Conv2d on quantized operands: `[n, channels, h, w]` to `[n, outputs, h', w']`.

    Padding is applied after quantization. Zero padding is exactly 0, that is code `input_zero`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve `[n, channels, height, width]` to `[n, outputs, height', width']`, with quantized operands."""
        output: Tensor = self._conv_forward(self.quantized_input(input), self.quantized_weight(), self.bias)
        return output


class QuantLinear(QuantizedOperands, nn.Linear):
    """nn.Linear on quantized operands: `[..., inputs]` to `[..., outputs]`."""

    def forward(self, input: Tensor) -> Tensor:
        """Map `[..., inputs]` to `[..., outputs]`, with quantized inputs and weights."""
        return functional.linear(self.quantized_input(input), self.quantized_weight(), self.bias)


def conv_geometry(layer: nn.Conv1d | nn.Conv2d, name: str) -> ConvGeometry:
    """Return the geometry of a convolution. Raises PlacementError if its padding differs between the two sides."""
    kernel, stride, dilation = (_pair(values, 1) for values in (layer.kernel_size, layer.stride, layer.dilation))
    if layer.padding == "same":
        spans = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
        if any(span % 2 for span in spans):
            raise refused(name, f"layer {name!r}: padding 'same' of an even kernel is asymmetric; pad before it")
        padding = _pair([span // 2 for span in spans], 0)
    else:
        padding = (0, 0) if isinstance(layer.padding, str) else _pair(layer.padding, 0)
    return ConvGeometry(layer.in_channels, kernel, stride, padding, dilation, layer.groups, layer.padding_mode)


def positive(scale: Tensor) -> Tensor:
    """Return a scale, of any shape, as it is used: its magnitude, bounded from below, since training may cross zero."""
    return scale.abs().clamp_min(SMALLEST_SCALE)


def _pair(values: Sequence[int], vertical: int) -> tuple[int, int]:
    """Return (vertical, horizontal); the value of a 1-D convolution is horizontal."""
    height, width = values if len(values) == 2 else (vertical, *values)
    return int(height), int(width)


def quantized_operands(network: nn.Module) -> dict[str, QuantizedOperands]:
    """Return the quantized layers of `network` by name, in the order of definition."""
    return {name: part for name, part in network.named_modules() if isinstance(part, QuantizedOperands)}


def bits_of(network: nn.Module) -> dict[str, Bits]:
    """Return the widths of each quantized layer of `network`, by name, in the order of definition."""
    return {name: Bits(layer.weight_bits, layer.input_bits) for name, layer in quantized_operands(network).items()}


def quantized_layers(model: nn.Module) -> dict[str, QuantizedLayer]:
    """Return every quantized layer of `model` in integers, by name, in the order of definition."""
    modules = model.named_modules()
    return {name: part.quantized_layer(name) for name, part in modules if isinstance(part, QuantizedOperands)}
