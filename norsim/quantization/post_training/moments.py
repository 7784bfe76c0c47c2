"""Correct the means and variances of activations that quantization changes.

Rounded weights and inputs shift and stretch the outputs of a layer, channel by channel. The shift is taken off a
layer's bias (bias correction: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
ICCV 2019, section 4.2, here with measured means). A batch norm's running statistics follow what reaches it (batch-norm
tuning: Hubara et al., "Improving Post Training Neural Quantization", 2020, section 3.4). Both are differences between
the float and the quantized network on the same inputs, so few inputs suffice:

    b' = b + E[y] - E[ŷ],    σ'² = σ² Var[x̂] / Var[x],    μ' = E[x̂] - (E[x] - μ) σ' / σ

with y the outputs of a layer and x the inputs of a batch norm, a hat for those of the quantized network; normalised
inputs then have the float network's means and variances. A correction acts on the layers after it in the same pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from norsim.data.inputs.structure import Structure, count_of
from norsim.quantization.forward import forward
from norsim.quantization.modules import QuantizedOperands
from norsim.quantization.placeable import PLACEABLE
from norsim.quantization.post_training.by_channel import mean_and_variance

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# A channel whose variance is below this share of the batch norm's own has no ratio worth using.
LEAST_SHARE = 1e-6


@dataclass(frozen=True, eq=False)
class Moments:
    """The mean and the variance `[channels]` of one layer's outputs, or of a batch norm's inputs, in one batch."""

    mean: Tensor
    variance: Tensor


Named = dict[str, Moments]


@torch.no_grad()
def moments_of(network: nn.Module, inputs: Structure) -> Named:
    """Return the moments of one batch of `inputs` `[images, ...]` by module name, for modules that it calls once."""
    found: Named = {}
    calls: dict[str, int] = {}

    def see(name: str, module: nn.Module, values: Tensor) -> Tensor:
        calls[name] = calls.get(name, 0) + 1
        if values.numel():
            found[name] = _moments(module, values)
        return values

    with _watched(network, see):
        forward(network, inputs)
    return {name: moments for name, moments in found.items() if calls[name] == 1}


@torch.no_grad()
def correct(quantized: nn.Module, batches: Sequence[Structure], floats: Sequence[Mapping[str, Moments]]) -> list[Any]:
    """Correct the biases and the batch norms of a `quantized` network in place; return its outputs for each batch, as
    corrected for that batch.

    `floats` are the moments of the float network, of the same module names, on the same `batches` `[images, ...]`.
    """
    outputs = []
    known = set.intersection(*(set(one) for one in floats)) if floats else set()
    before = {name: _own(module) for name, module in quantized.named_modules() if name in known and _own(module)}
    total = {name: [torch.zeros_like(value) for value in own] for name, own in before.items()}
    images = sum(map(count_of, batches))
    for inputs, expected in zip(batches, floats, strict=True):
        share = count_of(inputs) / images

        def see(
            name: str, module: nn.Module, values: Tensor, expected: Mapping[str, Moments] = expected,
            share: float = share,
        ) -> Tensor:  # fmt: skip
            if name not in before or not values.numel():
                return values
            seen, wanted = _moments(module, values), expected[name]
            if not isinstance(module, NORMS):
                shift = wanted.mean - seen.mean
                total[name][0] += share * shift
                return values + shift.to(values).reshape(_along(module, values))
            mean, variance = before[name]
            ratio = torch.where(wanted.variance > LEAST_SHARE * variance, seen.variance / wanted.variance, 1.0)
            module.running_mean = seen.mean - (wanted.mean - mean) * ratio.sqrt()
            module.running_var = variance * ratio
            total[name][0] += share * (module.running_mean - mean)
            total[name][1] += share * (module.running_var - variance)
            return values

        with _watched(quantized, see):
            outputs.append(forward(quantized, inputs))
    for name, own in before.items():
        module: Any = quantized.get_submodule(name)
        changed = [value + more for value, more in zip(own, total[name], strict=True)]
        if isinstance(module, NORMS):
            module.running_mean, module.running_var = changed
        else:
            module.bias.copy_(changed[0])
    return outputs


def _own(module: nn.Module) -> list[Tensor]:
    """Return copies of what a correction of a module changes: its bias, or running mean and variance, or nothing."""
    values: tuple[Any, ...] = ()
    if isinstance(module, QuantizedOperands):
        values = (module._parameters["bias"],)
    elif _is_norm(module):
        values = (module.running_mean, module.running_var)
    return [] if any(value is None for value in values) else [value.detach().clone() for value in values]


def _is_norm(module: nn.Module) -> bool:
    """Return whether a module is torch's batch norm with running statistics."""
    return type(module) in NORMS and getattr(module, "running_mean", None) is not None


@contextmanager
def _watched(network: nn.Module, see: Callable[[str, nn.Module, Tensor], Tensor]) -> Iterator[None]:
    """Call `see` with name, module and outputs of layers, or inputs of batch norms, within the block; its result takes
    their place."""

    def before(name: str) -> Callable[..., Any]:
        return lambda module, inputs: (see(name, module, inputs[0]), *inputs[1:]) if inputs else None

    def after(name: str) -> Callable[..., Any]:
        return lambda module, inputs, output: see(name, module, output)

    handles = []
    for name, module in network.named_modules():
        if _is_norm(module):
            handles.append(module.register_forward_pre_hook(before(name)))
        elif isinstance(module, (*PLACEABLE, QuantizedOperands)):
            # Before the hooks of the network itself, which may change outputs.
            handles.append(module.register_forward_hook(after(name), prepend=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _moments(module: nn.Module, values: Tensor) -> Moments:
    """Return the moments of `values`, outputs of a layer or inputs of a batch norm, over all axes but the channels'."""
    return Moments(*mean_and_variance(values, _axis(module, values)))


def _axis(module: nn.Module, values: Tensor) -> int:
    """Return the axis of the channels: the last of a linear layer's outputs, else that after the images."""
    if isinstance(module, nn.Linear):
        return values.ndim - 1
    unbatched = isinstance(module, (nn.Conv1d, nn.Conv2d)) and values.ndim == len(module.kernel_size) + 1
    return 0 if unbatched else 1


def _along(module: nn.Module, values: Tensor) -> list[int]:
    """Return the shape in which values `[channels]` are added to `values`."""
    axis = _axis(module, values)
    return [-1 if place == axis else 1 for place in range(values.ndim)]
