"""Post-training quantization of a network: replace its layers, observe their inputs, fit scales and zero points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from norsim.data.batches import Data
from norsim.quantization.attention import split_attention
from norsim.quantization.by_layer.bits import Bits, BitsLike, LayerBits, chosen_bits, read_bits
from norsim.quantization.copies import independent_copy
from norsim.quantization.forward import check_single_images
from norsim.quantization.modules import QuantConv1d, QuantConv2d, QuantizedOperands, QuantLinear, quantized_operands
from norsim.quantization.moments import Moments, correct, moments_of
from norsim.quantization.observe import observe_inputs
from norsim.quantization.placeable import Placeable, checked_layers, placeable_layers
from norsim.quantization.plain import plain_copy
from norsim.quantization.replace import replace_modules

# What `fit_scales` sets in a layer.
FITTED = ("weight_scale", "weight_zero", "input_scale", "input_zero")


def quantize(
    model: nn.Module,
    calibration: Data,
    weight_bits: int | None = None,
    activation_bits: int | None = None,
    *,
    bits: BitsLike | None = None,
    report: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> nn.Module:
    """Return a quantized deep copy of `model` in eval mode, calibrated post-training.

    `calibration` is any data that `norsim.deploy` accepts, with or without labels, and is read to its end. Every
    Conv1d, Conv2d and Linear, including the first and the last, gets `weight_bits` weights with per-channel scales and
    one zero point, and unsigned `activation_bits` inputs, 4 by default; so does every projection of
    nn.MultiheadAttention, as `q_proj`, `k_proj`, `v_proj` and `out_proj`. `bits`, instead of these two widths, gives
    them by layer: see norsim.quantization.by_layer.bits.read_bits. Other names stay, shared modules stay shared, and
    quantized layers keep the hooks of the float ones. Scales and zero points minimise the mean squared error of weights
    and of sampled inputs. Then biases and batch norms are corrected for the shifts that rounding causes: see
    norsim.quantization.moments. Wrappers and computed weights are replaced first: see norsim.quantization.plain.
    `report(what, done, total)` reports progress: inputs of `calibration`, then layers by name.

    Raises PlacementError naming a layer that no array can hold or that calibration never reached,
    ConfigurationError for unusable widths, patterns of layers or calibration data, for a network that does not answer
    each image of a batch by itself, and for a network without layers to quantize.
    """
    float_copy = _plain(model)
    widths = _widths(float_copy, chosen_bits(weight_bits, activation_bits, bits))
    seen = _observed(float_copy, calibration, report)
    quantized = _replaced(float_copy, widths)
    layers = quantized_operands(quantized)
    for done, (name, layer) in enumerate(layers.items()):
        report(f"quantize {name}", done, len(layers))
        layer.fit_scales(seen.samples[name])
    correct(quantized, seen.batches, seen.moments)
    return quantized


@dataclass(frozen=True, eq=False)
class Observed:
    """A float network, with what it does on calibration data: it can be quantized to any widths without more data.

    `network`   a copy in eval mode, without wrappers
    `samples`   input values `[n]` of each layer
    `batches`, `moments`   batches of inputs `[images, ...]`, and the moments of the float network on each
    `fits`      scales `[outputs]` and zero points that were fitted so far, by layer and widths
    """

    network: nn.Module
    samples: Mapping[str, Tensor]
    batches: Sequence[Tensor]
    moments: Sequence[Mapping[str, Moments]]
    fits: dict[tuple[str, Bits], dict[str, Tensor]] = field(default_factory=dict)

    def quantized(self, bits: Mapping[str, Bits]) -> nn.Module:
        """Return what `quantize` returns for these widths of each layer."""
        return self._corrected(bits, len(self.batches))[0]

    def answers(self, bits: Mapping[str, Bits], batches: int) -> list[Any]:
        """Return the outputs of the network with these widths for each of the first `batches`, corrected for it."""
        return self._corrected(bits, batches)[1]

    def _corrected(self, bits: Mapping[str, Bits], batches: int) -> tuple[nn.Module, list[Any]]:
        found = _replaced(independent_copy(self.network), bits)
        for name, layer in quantized_operands(found).items():
            key = name, bits[name]
            if key not in self.fits:
                layer.fit_scales(self.samples[name])
                self.fits[key] = {part: getattr(layer, part).detach().clone() for part in FITTED}
            for part, value in self.fits[key].items():
                getattr(layer, part).data.copy_(value)
        return found, correct(found, self.batches[:batches], self.moments[:batches])


def observe(
    model: nn.Module, calibration: Data, report: Callable[[str, int, int], None] = lambda what, done, total: None
) -> Observed:
    """Return a copy of `model` with what it does on `calibration`; arguments and errors as of `quantize`."""
    return _observed(_plain(model), calibration, report)


def _observed(network: nn.Module, calibration: Data, report: Callable[[str, int, int], None]) -> Observed:
    samples, batches = observe_inputs(network, calibration, report)
    return Observed(network, samples, batches, [moments_of(network, inputs) for inputs in batches])


def replace_layers(model: nn.Module, weight_bits: int = 4, activation_bits: int = 4) -> nn.Module:
    """Return a copy of `model` in eval mode with a quantized layer, not calibrated, for each Conv1d, Conv2d and Linear.

    Attention is split into linear layers first. Raises PlacementError naming a layer that cannot be placed.
    """
    float_copy = _plain(model)
    return _replaced(float_copy, _widths(float_copy, chosen_bits(weight_bits, activation_bits, None)))


def layer_bits(model: nn.Module, bits: BitsLike) -> dict[str, Bits]:
    """Return the widths that `bits` gives to each layer of a float network, by name, in definition order.

    Raises PlacementError for a layer that cannot be placed, ConfigurationError for patterns that do not fit its layers.
    """
    return _widths(_plain(model), read_bits(bits))


def check_quantizable(model: nn.Module, images: Tensor) -> None:
    """Raise the errors of `quantize` that need no calibration, with `images` `[images, ...]`; the model stays as it is.

    The float network and one with quantized layers are called on one image and on three.
    """
    float_copy = _plain(model)
    checked_layers(float_copy)
    check_single_images(float_copy, images, values=True)
    check_single_images(_replaced(float_copy, _widths(float_copy, read_bits(4))), images)


def _plain(model: nn.Module) -> nn.Module:
    return split_attention(plain_copy(model))


def _widths(model: nn.Module, bits: LayerBits) -> dict[str, Bits]:
    """Return the widths of each layer of a network without wrappers."""
    names = list(placeable_layers(model))
    return bits.of(names) if names else {}


def _replaced(model: nn.Module, widths: Mapping[str, Bits]) -> nn.Module:
    """Replace the layers of `model`, which is a copy, by quantized ones of these widths, and return it."""
    layers = placeable_layers(model).items()
    new: dict[int, nn.Module] = {id(layer): _counterpart(layer, widths[name]) for name, layer in layers}
    return replace_modules(model, new)


def _counterpart(layer: Placeable, bits: Bits) -> QuantizedOperands:
    # No weight is drawn on the meta device, so the caller's random state does not change.
    options: Any = {"weight_bits": bits.weights, "activation_bits": bits.activations, "device": "meta"}
    new: QuantizedOperands
    if isinstance(layer, nn.Linear):
        new = QuantLinear(layer.in_features, layer.out_features, layer.bias is not None, **options)
    else:
        shape = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding)
        kind = QuantConv2d if isinstance(layer, nn.Conv2d) else QuantConv1d
        rest = (layer.dilation, layer.groups, layer.bias is not None, layer.padding_mode)
        new = kind(*shape, *rest, **options)
    for key in ("weight", "bias"):
        value = getattr(layer, key)
        # Some networks keep frozen weights as buffers.
        kept = value is None or isinstance(value, nn.Parameter)
        new.register_parameter(key, value if kept else nn.Parameter(value.detach()))
    return new.to(layer.weight.device).train(layer.training)
