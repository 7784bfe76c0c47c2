"""Replace some modules of a network by others that take over their weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from norsim.quantization.normalise import normalisation


def linear_of(weight: nn.Parameter, bias: nn.Parameter | None) -> nn.Linear:
    """Return the layer with that weight `[outputs, inputs]` and bias `[outputs]`."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = weight
    if bias is not None:
        layer.bias = bias
    return layer


def replace_modules(model: nn.Module, new: Mapping[int, nn.Module]) -> nn.Module:
    """Replace every module `part` of `model` by `new[id(part)]`, and return the model, or its own replacement.

    Names stay, and shared modules stay shared. Hooks of replaced modules are dropped, because they may refer to weights
    that the new modules do not have; the hook that normalises the images of the whole network is kept.
    """
    for parent in list(model.modules()):
        for key, child in parent._modules.items():
            if id(child) in new:
                parent._modules[key] = new[id(child)]
    root = new.get(id(model), model)
    if root is not model:
        for hook in normalisation(model):
            hook.on(root)
    return root
