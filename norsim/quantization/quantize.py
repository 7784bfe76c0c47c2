"""Post-training quantization of a network: replace its layers, observe their inputs, fit scales and zero points."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from torch import Tensor, nn

from norsim.data.batches import Data, InputBatches, inputs_of, size_of
from norsim.data.inputs.structure import Structure, taken
from norsim.quantization.by_layer.bits import Bits, BitsLike, LayerBits, chosen_bits, read_bits
from norsim.quantization.copies import independent_copy
from norsim.quantization.equivalents.products import Product, find_products, route_products
from norsim.quantization.equivalents.rewrite import with_equivalents
from norsim.quantization.exempt import check_patterns, is_exempt
from norsim.quantization.forward import check_single_images
from norsim.quantization.modules import (
    QuantConv1d,
    QuantConv2d,
    QuantizedOperands,
    QuantLinear,
    bits_of,
    quantized_operands,
)
from norsim.quantization.placeable import Placeable, check_loaded, checked_layers, placeable_layers
from norsim.quantization.plain import plain_copy
from norsim.quantization.post_training.moments import Named, correct
from norsim.quantization.post_training.observe import observe_inputs
from norsim.quantization.post_training.ranges import MSE, read_range
from norsim.quantization.post_training.rounding import learn_rounding
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
    digital: Collection[str] = (),
    activation_range: str | float = MSE,
    learned_rounding: bool = False,
    report: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> nn.Module:
    """Return a quantized deep copy of `model` in eval mode, calibrated post-training.

    `calibration` is any data that `norsim.deploy` accepts, with or without labels, and is read to its end. Every
    Conv1d, Conv2d and Linear, including the first and the last, gets `weight_bits` weights with per-channel scales and
    one zero point, and unsigned `activation_bits` inputs, 4 by default; so does every projection of
    nn.MultiheadAttention, as `q_proj`, `k_proj`, `v_proj` and `out_proj`. `bits`, instead of these two widths, gives
    them by layer: see norsim.quantization.by_layer.bits.read_bits. Other names stay, shared modules stay shared, and
    quantized layers keep the hooks of the float ones. Scales and zero points minimise the mean squared error of weights
    and of sampled inputs; with a number as `activation_range`, such as 99.9, the codes of inputs reach to that
    percentile instead: see norsim.quantization.post_training.ranges. Then biases and batch norms are corrected for the
    shifts that rounding causes: see norsim.quantization.post_training.moments. Wrappers and computed weights are
    replaced first: see norsim.quantization.plain. A module stays as it is if its name, or that of one that contains it,
    matches one of the patterns `digital`. With `learned_rounding`, weights and scales then learn from the float
    network's layers, in minutes instead of seconds: see norsim.quantization.post_training.rounding.
    `report(what, done, total)` reports progress: inputs of `calibration`, then layers by name.

    Raises PlacementError naming a layer that no array can hold or that calibration never reached,
    ConfigurationError for unusable widths, patterns of layers or calibration data, for a network that does not answer
    each image of a batch by itself, and for a network without layers to quantize.
    """
    percent = read_range(activation_range)
    float_copy, stream = _prepared_for(model, calibration, digital)
    widths = _widths(float_copy, chosen_bits(weight_bits, activation_bits, bits), digital)
    seen = _observed(float_copy, stream, digital, size_of(calibration), report, percent)
    quantized = _replaced(deepcopy(float_copy) if learned_rounding else float_copy, widths, digital)
    seen.fit(quantized, report)
    correct(quantized, seen.batches, seen.moments)
    if learned_rounding:
        learn_rounding(quantized, float_copy, seen.batches, report)
    return quantized


@dataclass(frozen=True, eq=False)
class Observed:
    """A float network, with what it does on calibration data: it can be quantized to any widths without more data.

    `network`   a copy in eval mode, without wrappers
    `digital`   the patterns of modules that stay as they are
    `samples`   input values `[n]` of each layer
    `batches`, `moments`   batches of inputs `[images, ...]`, and the moments of the float network on each
    `percent`   the percentile to which codes of inputs reach; None for the least squared error
    `fits`      scales `[outputs]` and zero points that were fitted so far, by layer and widths
    """

    network: nn.Module
    digital: Collection[str]
    samples: Mapping[str, Tensor]
    batches: Sequence[Structure]
    moments: Sequence[Named]
    percent: float | None = None
    fits: dict[tuple[str, Bits], dict[str, Tensor]] = field(default_factory=dict)

    def widths(self, bits: BitsLike) -> dict[str, Bits]:
        """Return the widths that `bits` gives to each layer, by name, in definition order."""
        return _widths(self.network, read_bits(bits), self.digital)

    def quantized(self, bits: Mapping[str, Bits]) -> nn.Module:
        """Return what `quantize` returns for these widths of each layer."""
        return self._corrected(bits, len(self.batches))[0]

    def answers(self, bits: Mapping[str, Bits], batches: int) -> list[Any]:
        """Return the outputs of the network with these widths for each of the first `batches`, corrected for it."""
        return self._corrected(bits, batches)[1]

    def _corrected(self, bits: Mapping[str, Bits], batches: int) -> tuple[nn.Module, list[Any]]:
        found = _replaced(independent_copy(self.network), bits, self.digital)
        self.fit(found)
        return found, correct(found, self.batches[:batches], self.moments[:batches])

    def fit(
        self, quantized: nn.Module, report: Callable[[str, int, int], None] = lambda what, done, total: None
    ) -> None:
        """Fit the scales and zero points of all layers of a `quantized` form of the network, in place, to the samples
        of their inputs; `report(what, done, total)` counts layers."""
        layers, widths = quantized_operands(quantized), bits_of(quantized)
        for done, (name, layer) in enumerate(layers.items()):
            report(f"quantize {name}", done, len(layers))
            key = name, widths[name]
            if key not in self.fits:
                layer.fit_scales(self.samples[name], self.percent)
                self.fits[key] = {part: getattr(layer, part).detach().clone() for part in FITTED}
            for part, value in self.fits[key].items():
                getattr(layer, part).data.copy_(value)


def observe(
    model: nn.Module, calibration: Data, digital: Collection[str] = (),
    report: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Observed:  # fmt: skip
    """Return a copy of `model` with what it does on `calibration`; arguments and errors as of `quantize`."""
    float_copy, stream = _prepared_for(model, calibration, digital)
    return _observed(float_copy, stream, digital, size_of(calibration), report)


def _prepared_for(
    model: nn.Module, calibration: Data, digital: Collection[str]
) -> tuple[nn.Module, InputBatches]:  # fmt: skip
    """Return the prepared network, and all inputs of `calibration`."""
    stream = inputs_of(calibration)
    first = next(stream, None)
    return _prepared(model, first, digital), InputBatches(stream if first is None else chain((first,), stream))


def _observed(
    network: nn.Module, inputs: InputBatches, digital: Collection[str], total: int,
    report: Callable[[str, int, int], None], percent: float | None = None,
) -> Observed:  # fmt: skip
    samples, batches, found = observe_inputs(network, inputs, report, digital, total)
    moments = [_changeable(of_batch, digital) for of_batch in found]
    return Observed(network, digital, samples, batches, moments, percent)


def replace_layers(
    model: nn.Module,
    weight_bits: int | None = None,
    activation_bits: int | None = None,
    digital: Collection[str] = (),
    products: Iterable[Product] = (),
    bits: BitsLike | None = None,
) -> nn.Module:
    """Return a copy of `model` in eval mode with a quantized layer, not calibrated, for each Conv1d, Conv2d and Linear
    that does not match the patterns `digital`, with widths as of `quantize`.

    Other layers are replaced by their equivalents first, and `products` in functions get layers. Raises
    PlacementError naming a layer that cannot be placed.
    """
    plain = route_products(_plain(model, digital), products)
    return _replaced(plain, _widths(plain, chosen_bits(weight_bits, activation_bits, bits), digital), digital)


def uncalibrated(model: nn.Module, inputs: Structure, bits: BitsLike, digital: Collection[str] = ()) -> nn.Module:
    """Return the copy of `model` that `quantize` makes, before it is calibrated; `inputs` `[images, ...]` show the
    products in functions. Raises the errors of `quantize` for layers and patterns of them."""
    float_copy = _prepared(model, inputs, digital)
    return _replaced(float_copy, _widths(float_copy, read_bits(bits), digital), digital)


def layer_bits(model: nn.Module, bits: BitsLike, inputs: Structure, digital: Collection[str] = ()) -> dict[str, Bits]:
    """Return the widths that `bits` gives to each layer of a float network, by name, in definition order; `inputs`
    `[images, ...]` show its layers.

    Raises PlacementError for a layer that cannot be placed, ConfigurationError for patterns that do not fit its layers.
    """
    return _widths(_prepared(model, inputs, digital), read_bits(bits), digital)


def check_quantizable(
    model: nn.Module, images: Structure, digital: Collection[str] = (), bits: BitsLike = 4
) -> None:  # fmt: skip
    """Raise the errors of `quantize` that need no calibration, with `images` `[images, ...]`; the model stays as it is.

    The float network and one with quantized layers are called on one image and on three.
    """
    float_copy = _prepared(model, images, digital)
    checked_layers(float_copy, digital)
    widths = _widths(float_copy, read_bits(bits), digital)
    check_single_images(float_copy, images, values=True)
    check_single_images(_replaced(float_copy, widths, digital), images)


def _changeable(moments: Named, digital: Collection[str]) -> Named:
    """Return those of modules that do not match the patterns `digital`."""
    return {name: one for name, one in moments.items() if not is_exempt(name, digital)}


def _plain(model: nn.Module, digital: Collection[str]) -> nn.Module:
    return with_equivalents(plain_copy(model, digital), digital)


def _prepared(model: nn.Module, inputs: Structure | None, digital: Collection[str]) -> nn.Module:
    """Return the plain copy of a network with layers for the products that it computes in functions for the first of
    `inputs` `[images, ...]`, if there are any."""
    check_loaded(model)
    plain = _plain(model, digital)
    # Before the network is called.
    placeable_layers(plain, digital, routed=False)
    products = [] if inputs is None else find_products(plain, taken(inputs, slice(2)))
    check_patterns(plain, digital, [one.layer for one in products])
    return route_products(plain, [one for one in products if not one.is_exempt(digital)])


def _widths(model: nn.Module, bits: LayerBits, digital: Collection[str]) -> dict[str, Bits]:
    """Return the widths of each layer of a network without wrappers."""
    names = list(placeable_layers(model, digital))
    return bits.of(names) if names else {}


def _replaced(model: nn.Module, widths: Mapping[str, Bits], digital: Collection[str]) -> nn.Module:
    """Replace the layers of `model`, which is a copy, by quantized ones of these widths, and return it."""
    layers = placeable_layers(model, digital).items()
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
