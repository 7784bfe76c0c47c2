"""Fold batch norms with the scales of the convolutions before them, for storage.

In eval mode a batch norm (Ioffe & Szegedy, "Batch Normalization", ICML 2015, algorithm 2) after a
quantized convolution with weight scale s, bias c and integer sums S (times the inputs' scale) computes

    γ (s S + c − μ) / √(σ² + ε) + β  =  g S + h,    g = s γ / √(σ² + ε),    h = β + (c − μ) γ / √(σ² + ε)

Two vectors replace six. The modules stay: the convolution gets scale 1 and, if it has a bias, bias 0;
the batch norm gets mean 0, variance 1 − ε, weight g (of either sign) and bias h.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, fx, nn

from norsim.quantization.copies import independent_copy
from norsim.quantization.modules import QuantConv2d, QuantizedOperands, positive, quantized_operands


def fold(network: nn.Module) -> tuple[nn.Module, dict[str, str | None]]:
    """Return a folded copy of `network` in eval mode, and for each quantized layer the name of its batch norm or None.

    The copy computes the same up to float32 rounding. Its weights lie on their grids, and its scales and
    zero points are stored as they are used: positive and rounded.
    """
    folded = independent_copy(network).cpu()
    following = norms_after(folded)
    layers = quantized_operands(folded)
    state = folded.state_dict()
    for name, layer in layers.items():
        zero = layer.rounded_weight_zero()
        steps = layer.weight_codes().reshape(layer.weight.shape).to(torch.float32) - zero
        scale = positive(layer.weight_scale).detach()
        state[f"{name}.weight"] = steps * scale.reshape(-1, *[1] * (steps.ndim - 1))
        state[f"{name}.weight_scale"] = scale
        state[f"{name}.weight_zero"] = torch.full((1,), float(zero))
        state[f"{name}.input_scale"] = positive(layer.input_scale).detach()
        if name in following:
            norm = folded.get_submodule(following[name])
            gain, shift = merge(layer, norm)
            state |= neutral(name, layer, following[name], norm)
            state |= {f"{name}.weight": steps, f"{following[name]}.weight": gain, f"{following[name]}.bias": shift}
    # Assigned, not copied: a parameter shared with another module keeps its value there.
    folded.load_state_dict(state, assign=True)
    return folded, {name: following.get(name) for name in layers}


def norms_after(network: nn.Module) -> dict[str, str]:
    """Map each quantized convolution that a batch norm can be folded into to the name of that batch norm.

    They are found in the traced graph of the network's forward: the batch norm's input is the convolution's output,
    that output has no other use, and both modules are called once. Returns no pairs if the forward cannot be traced.
    """
    try:
        graph = _Tracer().trace(network)
    except Exception:  # the tracer can raise anything for a forward that depends on its data
        return {}
    modules = dict(network.named_modules(remove_duplicate=False))
    # A parameter that the forward reads directly counts as one more call of its module.
    names = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    names += [str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"]
    calls = Counter(id(modules[name]) for name in names)
    once = {node: modules[str(node.target)] for node in graph.nodes if node.op == "call_module"}
    once = {node: module for node, module in once.items() if calls[id(module)] == 1}
    pairs: dict[str, str] = {}
    for node, module in once.items():
        before = node.args[0] if node.args else None
        if is_foldable(module) and isinstance(before, fx.Node) and list(before.users) == [node]:
            layer = once.get(before)
            if isinstance(layer, QuantConv2d):
                pairs[str(before.target)] = str(node.target)
    return pairs


def is_foldable(module: nn.Module) -> bool:
    """Return whether `module` is a plain nn.BatchNorm2d with running statistics, a weight and a bias."""
    return type(module) is nn.BatchNorm2d and module.affine and module.track_running_stats


@torch.no_grad()
def merge(layer: QuantizedOperands, norm: Any) -> tuple[Tensor, Tensor]:
    """Return gain g and shift h, float32 `[outputs]`, of the equation above."""
    slope = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = layer._parameters["bias"]
    offset = -norm.running_mean.double() if bias is None else bias.double() - norm.running_mean.double()
    gain = positive(layer.weight_scale).double() * slope
    return gain.float(), (norm.bias.double() + offset * slope).float()


def neutral(name: str, layer: QuantizedOperands, norm_name: str, norm: Any) -> dict[str, Tensor]:
    """Return the entries of the state dict that folding makes constant, each float32 `[outputs]`."""
    ones = torch.ones(layer.weight.shape[0])
    state = {
        f"{name}.weight_scale": ones,
        f"{norm_name}.running_mean": 0 * ones,
        f"{norm_name}.running_var": (1 - norm.eps) * ones,
    }
    return state if layer._parameters["bias"] is None else state | {f"{name}.bias": 0 * ones}


class _Tracer(fx.Tracer):
    """A tracer that treats each quantized layer as one step, as it does torch's own modules."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, QuantizedOperands) or super().is_leaf_module(m, module_qualified_name)
