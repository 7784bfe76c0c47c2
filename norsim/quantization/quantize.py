"""Post-training quantization of a network: replace its layers, observe their inputs, fit scales and zero points."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from norsim.data.batches import Data, inputs_of, size_of
from norsim.errors import ConfigurationError, PlacementError
from norsim.quantization.attention import split_attention
from norsim.quantization.forward import check_network, forward
from norsim.quantization.modules import (
    QuantConv1d,
    QuantConv2d,
    QuantizedOperands,
    QuantLinear,
    conv_geometry,
    quantized_operands,
)
from norsim.quantization.replace import replace_modules

Placeable = nn.Conv1d | nn.Conv2d | nn.Linear
SAMPLES_PER_BATCH, SAMPLES_PER_LAYER = 8192, 65536


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
    `q_proj`, `k_proj`, `v_proj` and `out_proj`. Other names stay, and shared modules stay shared. Scales and zero
    points minimise the mean squared error of weights and of sampled inputs. `report(what, done, total)` reports
    progress: batches of `calibration`, then layers by name.

    Raises PlacementError naming a layer that no array can hold or that calibration never reached,
    ConfigurationError for unusable widths or calibration data, and for a network without layers to quantize.
    """
    check_network(model)
    float_copy = split_attention(copy.deepcopy(model).eval())
    samples = observe_inputs(float_copy, calibration, report)
    quantized = replace_layers(float_copy, weight_bits, activation_bits)
    layers = quantized_operands(quantized)
    for done, (name, layer) in enumerate(layers.items()):
        report(f"quantize {name}", done, len(layers))
        layer.fit_scales(samples[name])
    return quantized


def replace_layers(model: nn.Module, weight_bits: int = 4, activation_bits: int = 4) -> nn.Module:
    """Replace each Conv1d, Conv2d and Linear of `model` by a quantized layer, not calibrated, and return the model.

    Attention is split into linear layers first. Raises PlacementError naming a layer that cannot be placed.
    """
    model = split_attention(model)
    new: dict[int, nn.Module] = {}
    for layer in placeable_layers(model).values():
        new[id(layer)] = _counterpart(layer, weight_bits, activation_bits)
    return replace_modules(model, new)


def placeable_layers(model: nn.Module) -> dict[str, Placeable]:
    """Return name and module of every Conv1d, Conv2d and Linear, in definition order; a shared module once.

    Raises PlacementError for a convolution or a layer class that has no quantized counterpart.
    """
    layers: dict[str, Placeable] = {}
    for name, module in model.named_modules():
        if isinstance(module, QuantizedOperands):
            raise PlacementError(f"layer {name!r} is already quantized; pass the float network")
        if isinstance(module, nn.modules.conv._ConvNd) and not isinstance(module, Placeable):
            raise PlacementError(f"layer {name!r}: {type(module).__name__} cannot be placed; use Conv1d or Conv2d")
        if not isinstance(module, Placeable):
            continue
        if type(module).forward not in (nn.Conv1d.forward, nn.Conv2d.forward, nn.Linear.forward):
            raise PlacementError(f"layer {name!r}: {type(module).__name__} overrides forward")
        if not isinstance(module, nn.Linear):
            conv_geometry(module, name)
        if module.weight.dtype != torch.float32:
            raise PlacementError(
                f"layer {name!r} has {module.weight.dtype} weights; expected float32: call model.float() first"
            )
        layers[name] = module
    return layers


@torch.no_grad()
def observe_inputs(
    model: nn.Module, calibration: Data, report: Callable[[str, int, int], None] = lambda what, done, total: None
) -> dict[str, Tensor]:
    """Run all of `calibration` through `model`; return up to 65,537 input values `[n]` of each layer.

    Values are drawn without bias between batches, from a separately seeded generator; the smallest value seen is
    always among them, because it determines whether codes need a zero point.
    """
    layers = placeable_layers(model)
    if not layers:
        raise ConfigurationError(
            "the network has nothing to quantize; expected at least one Conv1d, Conv2d, Linear or MultiheadAttention "
            "layer"
        )
    samples = {name: _InputSample(name) for name in layers}
    hooks = [layer.register_forward_pre_hook(samples[name]) for name, layer in layers.items()]
    batches, inputs, total = 0, 0, size_of(calibration)
    report("quantize", 0, total)
    for images in inputs_of(calibration):
        batches += 1
        forward(model, images)
        inputs += len(images)
        report("quantize", inputs, total)
    for hook in hooks:
        hook.remove()
    if not batches:
        raise ConfigurationError("calibration is empty; pass at least one batch of inputs")
    return {name: sample.values() for name, sample in samples.items()}


class _InputSample:
    """A forward pre-hook that keeps the inputs with the largest random keys: a uniform bounded sample."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lowest = torch.inf
        self.kept, self.keys = torch.empty(0), torch.empty(0)
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        flat = inputs[0].detach().reshape(-1)
        if not torch.isfinite(flat).all():
            raise ConfigurationError(f"layer {self.name!r} has a calibration input that is not finite")
        self.lowest = min(self.lowest, float(flat.min()))
        count = min(flat.numel(), SAMPLES_PER_BATCH)
        places = torch.randint(flat.numel(), (count,), generator=self.generator)
        values = torch.cat([self.kept, flat[places.to(flat.device)].cpu()])
        keys = torch.cat([self.keys, torch.rand(len(places), generator=self.generator)])
        self.keys, best = keys.topk(min(len(keys), SAMPLES_PER_LAYER))
        self.kept = values[best]

    def values(self) -> Tensor:
        if not len(self.kept):
            raise PlacementError(
                f"layer {self.name!r} got no input during calibration; call it in the network's forward or remove it"
            )
        return torch.cat([self.kept, torch.tensor([self.lowest])])


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
        # A parametrized layer computes its weight; its present value becomes the parameter.
        kept = value is None or isinstance(value, nn.Parameter)
        new.register_parameter(key, value if kept else nn.Parameter(value.detach()))
    return new.to(layer.weight.device).train(layer.training)
