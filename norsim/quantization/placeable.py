"""The layers of a float network that an array can hold: those that compute what torch's layers compute."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from norsim.errors import ConfigurationError, PlacementError
from norsim.quantization.equivalents.routed import is_routed
from norsim.quantization.exempt import is_exempt, refused
from norsim.quantization.forward import check_network
from norsim.quantization.modules import QuantizedOperands, conv_geometry

Placeable = nn.Conv1d | nn.Conv2d | nn.Linear
PLACEABLE = (nn.Conv1d, nn.Conv2d, nn.Linear)
# Types of weights that are converted to float32: see norsim.quantization.plain.
OTHER_WIDTHS = (torch.float64, torch.float16, torch.bfloat16)
# What a call of a module runs; a convolution's forward calls the last.
COMPUTES = ("forward", "__call__", "_call_impl", "_wrapped_call_impl", "_conv_forward")


def checked_layers(model: nn.Module, digital: Collection[str] = ()) -> dict[str, Placeable]:
    """Return `placeable_layers` of `model`. Raises ConfigurationError if there is none."""
    layers = placeable_layers(model, digital)
    if not layers:
        raise ConfigurationError(
            f"{type(model).__name__} holds no layer that an array can take, so there is nothing to quantize; expected "
            "at least one Conv1d, Conv2d, Linear, MultiheadAttention or recurrent layer as a module, or a product with "
            "a parameter in torch.nn.functional.linear or conv2d"
        )
    return layers


def placeable_layers(model: nn.Module, digital: Collection[str] = (), routed: bool = True) -> dict[str, Placeable]:
    """Return name and module of every Conv1d, Conv2d and Linear, in definition order; a shared module once. Modules
    that match the patterns `digital` are left out, and so are classes with a forward of their own, whose products other
    layers do once they are `routed`: see norsim.quantization.equivalents.routed.

    Raises PlacementError for a convolution or a layer class that has no quantized counterpart, for a layer that
    computes something else than torch's, and for weights that are no finite float32 numbers.
    """
    layers: dict[str, Placeable] = {}
    for name, module in model.named_modules():
        if is_exempt(name, digital):
            continue
        if isinstance(module, QuantizedOperands):
            raise refused(name, f"layer {name!r} is already quantized; pass the float network")
        if isinstance(module, nn.modules.conv._ConvNd) and not isinstance(module, Placeable):
            raise refused(name, f"layer {name!r}: {type(module).__name__} cannot be placed; use Conv1d or Conv2d")
        if not isinstance(module, Placeable):
            continue
        kind = next(kind for kind in PLACEABLE if isinstance(module, kind))
        if is_routed(module) if routed else type(module).forward is not kind.forward:
            continue
        check_computation(module, name, kind)
        if not isinstance(module, nn.Linear):
            conv_geometry(module, name)
        for key in ("weight", "bias"):
            check_values(module, name, key)
        layers[name] = module
    return layers


def check_loaded(model: nn.Module) -> None:
    """Raise PlacementError naming a module whose weights have no values yet: those on the device meta."""
    check_network(model)
    for name, module in model.named_modules():
        if any(value.is_meta for value in module.parameters(recurse=False)):
            kind = f"module {name!r} ({type(module).__name__})" if name else f"the network ({type(module).__name__})"
            raise PlacementError(
                f"{kind} is on the device meta, so its weights have no values: load them, for example with "
                "network.to_empty(device='cpu') and network.load_state_dict(weights)"
            )


def check_computation(module: nn.Module, name: str, kind: type[nn.Module]) -> None:
    """Raise PlacementError if `module`, of torch's class `kind` or a subclass, computes something else than `kind`."""
    for method in COMPUTES:
        if method in vars(module):
            raise refused(
                name,
                f"layer {name!r}: its {method} was replaced on this {type(module).__name__}, which norsim cannot "
                f"follow; use a forward hook, or a module of your own around a plain {kind.__name__}",
            )
        if getattr(type(module), method, None) is not getattr(kind, method, None):
            raise refused(
                name,
                f"layer {name!r}: {type(module).__name__} overrides {method}, which norsim cannot follow; use a plain "
                f"{kind.__name__} in a module of your own",
            )


def check_values(layer: nn.Module, name: str, key: str) -> None:
    """Raise PlacementError unless the weight `[outputs, inputs, ...]` or bias `[outputs]` of a layer is a plain dense
    tensor of finite float32 numbers, or None."""
    value, kind = getattr(layer, key), "biases" if key.startswith("bias") else "weights"
    if value is None:
        return
    if key not in layer._parameters and key not in layer._buffers:
        raise refused(
            name,
            f"layer {name!r} computes its {key} in a hook or a property, which norsim cannot follow; store its value "
            "as a parameter, or use torch.nn.utils.parametrize",
        )
    if type(value) is not Tensor and type(value).__torch_function__ is not nn.Parameter.__torch_function__:
        raise refused(name, f"layer {name!r} has {kind} of type {type(value).__name__}; expected a plain tensor")
    if value.dtype not in (torch.float32, *OTHER_WIDTHS):
        raise refused(
            name, f"layer {name!r} has {value.dtype} {kind}; expected float32: pass the network before its conversion"
        )
    if value.layout != torch.strided:
        raise refused(name, f"layer {name!r} has {kind} of layout {value.layout}; expected dense ones: to_dense()")
    if not value.is_meta and not torch.isfinite(value).all():
        raise refused(name, f"layer {name!r} has {kind} that are not finite; expected trained numbers")
