"""Post-training quantization of a network: replace its layers, observe their inputs, fit scales and zero points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from norsim.data.batches import Data
from norsim.data.inputs.structure import Structure
from norsim.quantization.attention import split_attention
from norsim.quantization.forward import check_single_images
from norsim.quantization.modules import QuantConv1d, QuantConv2d, QuantizedOperands, QuantLinear, quantized_operands
from norsim.quantization.moments import correct, moments_of
from norsim.quantization.observe import observe_inputs
from norsim.quantization.placeable import Placeable, checked_layers, placeable_layers
from norsim.quantization.plain import plain_copy
from norsim.quantization.replace import replace_modules


def quantize(
    model: nn.Module,
    calibration: Data,
    weight_bits: int = 4,
    activation_bits: int = 4,
    *,
    report: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> nn.Module:
    """Return a quantized deep copy of `model` in eval mode, calibrated post-training.

    `calibration` is any data that `norsim.deploy` accepts, with or without labels, and is read to its end. Every
    Conv1d, Conv2d and Linear, including the first and the last, gets `weight_bits` weights with per-channel scales and
    one zero point, and unsigned `activation_bits` inputs; so does every projection of nn.MultiheadAttention, as
    `q_proj`, `k_proj`, `v_proj` and `out_proj`. Other names stay, shared modules stay shared, and quantized layers keep
    the hooks of the float ones. Scales and zero points minimise the mean squared error of weights and of sampled
    inputs. Then biases and batch norms are corrected for the shifts that rounding causes: see
    norsim.quantization.moments. Wrappers and computed weights are replaced first: see norsim.quantization.plain.
    `report(what, done, total)` reports progress: inputs of `calibration`, then layers by name.

    Raises PlacementError naming a layer that no array can hold or that calibration never reached,
    ConfigurationError for unusable widths or calibration data, for a network that does not answer each image of a batch
    by itself, and for a network without layers to quantize.
    """
    float_copy = _plain(model)
    samples, batches = observe_inputs(float_copy, calibration, report)
    moments = [moments_of(float_copy, inputs) for inputs in batches]
    quantized = _replaced(float_copy, weight_bits, activation_bits)
    layers = quantized_operands(quantized)
    for done, (name, layer) in enumerate(layers.items()):
        report(f"quantize {name}", done, len(layers))
        layer.fit_scales(samples[name])
    correct(quantized, batches, moments)
    return quantized


def replace_layers(model: nn.Module, weight_bits: int = 4, activation_bits: int = 4) -> nn.Module:
    """Return a copy of `model` in eval mode with a quantized layer, not calibrated, for each Conv1d, Conv2d and Linear.

    Attention is split into linear layers first. Raises PlacementError naming a layer that cannot be placed.
    """
    return _replaced(_plain(model), weight_bits, activation_bits)


def check_quantizable(model: nn.Module, images: Structure) -> None:
    """Raise the errors of `quantize` that need no calibration, with `images` `[images, ...]`; the model stays as it is.

    The float network and one with quantized layers are called on one image and on three.
    """
    float_copy = _plain(model)
    checked_layers(float_copy)
    check_single_images(float_copy, images, values=True)
    check_single_images(_replaced(float_copy, 4, 4), images)


def _plain(model: nn.Module) -> nn.Module:
    return split_attention(plain_copy(model))


def _replaced(model: nn.Module, weight_bits: int, activation_bits: int) -> nn.Module:
    """Replace the layers of `model`, which is a copy, and return it."""
    layers = placeable_layers(model).values()
    new: dict[int, nn.Module] = {id(layer): _counterpart(layer, weight_bits, activation_bits) for layer in layers}
    return replace_modules(model, new)


def _counterpart(layer: Placeable, weight_bits: int, activation_bits: int) -> QuantizedOperands:
    # No weight is drawn on the meta device, so the caller's random state does not change.
    options: Any = {"weight_bits": weight_bits, "activation_bits": activation_bits, "device": "meta"}
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
