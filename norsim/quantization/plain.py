"""A user's network as plain torch modules: no wrappers around modules, no weights that are computed in hooks."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from norsim.errors import PlacementError
from norsim.quantization.copies import independent_copy
from norsim.quantization.exempt import is_exempt, refused
from norsim.quantization.forward import check_network
from norsim.quantization.placeable import OTHER_WIDTHS, PLACEABLE, check_values
from norsim.quantization.references import HOOKS, hidden_modules

LOG = logging.getLogger(__name__)

STATE_HOOKS = tuple(name for name in HOOKS if "state_dict" in name)
CALL_HOOKS = (
    *(name for name in HOOKS if name not in STATE_HOOKS), "_forward_hooks_always_called", "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
)  # fmt: skip
# In training mode, these change an image's answer at random, or by the other images of its batch.
VARYING = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)
# Packages of modules that torch has quantized already; their weights are no parameters.
QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")


def plain_copy(network: nn.Module, digital: Collection[str] = ()) -> nn.Module:
    """Return a copy of a float network in eval mode that computes the same with plain modules.

    Wrappers by torch.compile and nn.DataParallel are removed. Weights that weight_norm, spectral_norm, pruning or any
    parametrization computes become parameters with their present values. Hooks of state_dict are dropped: they take no
    part in inference. Modules that match the patterns `digital` are left as they are. Raises PlacementError naming
    another one that is scripted, lazy, quantized by torch, in training mode after eval(), or kept where torch does not
    see it, and a layer whose weights are no dense float32 numbers; ConfigurationError for a network that cannot be
    copied. Weights of another width are converted to float32.
    """
    check_network(network)
    _check_visible(network, digital)
    wrapped = {id(part): inner for part in network.modules() if (inner := _inner(part)) is not None}
    kept: dict[int, Any] = {}
    # A wrapper within another one comes later, and is copied first.
    for part in reversed(list(network.modules())):
        if id(part) in wrapped:
            kept[id(part)] = _with_hooks(part, independent_copy(wrapped[id(part)], kept))
    found: nn.Module = in_single(kept[id(network)] if id(network) in kept else independent_copy(network, kept))
    for name, part in found.named_modules():
        bake(part)
        for hooks in STATE_HOOKS:
            getattr(part, hooks).clear()
        if part.training and isinstance(part, VARYING):
            raise PlacementError(
                f"module {name!r} ({type(part).__name__}) is in training mode after eval(), so answers would be random "
                "or depend on the batch; let train() and eval() of the network change it"
            )
    return found


def in_single(network: nn.Module) -> nn.Module:
    """Return `network`, with float32 weights in the place of those of another width, which is noted in the log."""
    widths = {str(value.dtype) for value in network.parameters() if value.dtype in OTHER_WIDTHS}
    if not widths:
        return network
    LOG.warning(
        "note: %s has weights of %s; norsim computes with float32, to which they are converted",
        type(network).__name__, " and ".join(sorted(widths)),
    )  # fmt: skip
    return network.float()


def bake(part: nn.Module) -> None:
    """Make each weight that a hook or a parametrization of `part` computes a parameter with its present value."""
    if parametrize.is_parametrized(part):
        # A class of its own, because torch removes the parametrization from the class, which the original shares.
        shared = type(part)
        content = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
        part.__class__ = type(shared.__name__, shared.__bases__, content)
        for name in list(part.parametrizations):  # type: ignore[arg-type]
            parametrize.remove_parametrizations(part, name, leave_parametrized=True)
    # The last hook first, because it may act on what an earlier one computes from.
    for hook in reversed(list(part._forward_pre_hooks.values())):
        if isinstance(hook, WeightNorm):
            remove_weight_norm(part, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(part, hook.name)
        elif isinstance(hook, prune.PruningContainer | prune.BasePruningMethod):
            prune.remove(part, hook._tensor_name)  # type: ignore[no-untyped-call]


def take_hooks(new: nn.Module, old: nn.Module) -> None:
    """Let `new` call the hooks of `old` before its own."""
    for name in CALL_HOOKS:
        merged: Any = OrderedDict(getattr(old, name))
        merged.update(getattr(new, name))
        setattr(new, name, merged)
    if new._is_full_backward_hook is None:
        new._is_full_backward_hook = old._is_full_backward_hook


def _inner(part: nn.Module) -> nn.Module | None:
    """Return the module that a wrapper of torch calls; None for any other module."""
    if isinstance(part, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        found: nn.Module = part.module
        return found
    # The class of what torch.compile returns is not imported before its first use, because that takes seconds.
    compiled = type(part).__module__.startswith("torch._dynamo")
    return part._modules.get("_orig_mod") if compiled else None


def _with_hooks(wrapper: nn.Module, inner: nn.Module) -> nn.Module:
    take_hooks(inner, wrapper)
    return inner


def _check_visible(network: nn.Module, digital: Collection[str]) -> None:
    """Raise PlacementError naming a module whose weights norsim cannot see, or that has none yet."""
    registered = {id(part) for part in network.modules()}
    for name, part in network.named_modules():
        kind = f"module {name!r} ({type(part).__name__})" if name else f"the network ({type(part).__name__})"
        values = [*part.parameters(recurse=False), *part.buffers(recurse=False)]
        if any(is_lazy(value) for value in values):
            raise PlacementError(
                f"{kind} has no weights yet; call the network on a batch of images once before you pass it on"
            )
        exempt = is_exempt(name, digital)
        if not exempt and isinstance(part, torch.jit.ScriptModule) and any(v.ndim > 1 for v in part.parameters()):
            raise refused(
                name,
                f"{kind} is a module of torch.jit, whose layers cannot be replaced; pass the nn.Module that it was "
                "scripted or traced from",
            )
        if not exempt and type(part).__module__.startswith(QUANTIZED):
            raise refused(name, f"{kind} is already quantized by torch; pass the float network")
        for key in ("weight", "bias"):
            if not exempt and isinstance(part, PLACEABLE) and key in part._parameters:
                check_values(part, name, key)
        for attribute, hidden in hidden_modules(part):
            if id(hidden) not in registered and any(True for _ in hidden.parameters()):
                raise PlacementError(
                    f"{kind} keeps a {type(hidden).__name__} in its attribute {attribute!r}, where torch does not see "
                    "it; use nn.ModuleList or nn.ModuleDict"
                )
