"""Puts other modules in the places of some of a network's, with the weights that there are."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from norsim.quantization.normalise import normalisation


def linear_of(weight: nn.Parameter, bias: nn.Parameter | None) -> nn.Linear:
    """The layer with that weight `[outputs, inputs]` and bias `[outputs]`."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = weight
    if bias is not None:
        layer.bias = bias
    return layer


def replace_modules(model: nn.Module, new: Mapping[int, nn.Module]) -> nn.Module:
    """`model` with `new[id(part)]` in every place where it has such a `part`; another module if it is one itself.

    Names stay, and what is shared stays shared. Hooks of the parts are left behind, because they may be about weights
    that their successors have not; the one that normalises the images of the whole network is kept.
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
