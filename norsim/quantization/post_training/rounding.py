"""Learn the rounding of weights, and all scales, from what the layers of the float network give for the same inputs.

Rounding every weight to its nearest code is not the best for a layer's outputs (Nagel et al., "Up or Down? Adaptive
Rounding for Post-Training Quantization", ICML 2020, section 3). As in Hubara et al., "Improving Post Training Neural
Quantization", 2020, section 3.1, weights and scales follow the gradient of the distance to the float network's outputs,
straight through the rounding. Here all layers learn at once, each behind the quantized layers before it, with the mean
over layers of

    E[(ŷ - y)²] / Var[y]

with y a layer's outputs in the float network and ŷ in the quantized one. No labels are used. A weight stays within one
step of its float value, so that it is rounded up or down, and a few inputs do not train another network. Where that
mean does not fall, as with many bits, nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from norsim.data.inputs.structure import Structure, count_of, taken
from norsim.errors import ConfigurationError
from norsim.quantization.forward import forward
from norsim.quantization.modules import QuantizedOperands, positive, quantized_operands

STEPS, SEED = 400, 0
# What a step of Adam moves a weight at first, in its layer's mean step, and a scale, as a share of itself.
WEIGHT_RATE, SCALE_RATE = 0.02, 0.005
# Inputs of a step: fewer if the outputs of the layers for them take more than these bytes.
MOST_INPUTS, MOST_BYTES = 32, 2**28
Outputs = dict[str, list[Tensor]]


def learn_rounding(
    quantized: nn.Module,
    float_network: nn.Module,
    batches: Sequence[Structure],
    report: Callable[[str, int, int], None] = lambda what, done, total: None,
    steps: int | None = None,
) -> None:
    """Learn the weights, weight scales and input scales of a `quantized` network in place, in `steps` (STEPS).

    Layers of `float_network` have the same names. `batches` are inputs `[images, ...]`, at least one; every step draws
    some of one batch, from a generator of its own. Layers that get no gradient keep what they have. Raises
    ConfigurationError in torch's inference mode, which has no gradients.
    """
    if torch.is_inference_mode_enabled():
        raise ConfigurationError(
            "rounding is learned by gradients, but torch.inference_mode() is on; quantize outside of it"
        )
    steps = STEPS if steps is None else steps
    layers = quantized_operands(quantized)
    learned = {name: [layer.weight, layer.weight_scale, layer.input_scale] for name, layer in layers.items()}
    before = [(one, one.requires_grad) for one in quantized.parameters()]
    wanted = {id(one) for values in learned.values() for one in values}
    limits = {name: _limits(layer) for name, layer in layers.items()}
    groups = [group for layer in layers.values() for group in _groups(layer)]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    random = torch.Generator().manual_seed(SEED)
    start = {id(one): one.detach().clone() for values in learned.values() for one in values}
    at_first = mean_distance(quantized, float_network, batches)
    try:
        for value, _ in before:
            value.requires_grad_(id(value) in wanted)
        with torch.enable_grad(), _outputs(float_network, layers) as of_float, _outputs(quantized, layers) as found:
            count = _inputs_at_once(float_network, batches[0], of_float)
            for step in range(steps):
                report("learn rounding", step, steps)
                batch = batches[int(torch.randint(len(batches), (1,), generator=random))]
                inputs = taken(batch, torch.randint(count_of(batch), (count,), generator=random))
                of_float.clear()
                found.clear()
                with torch.no_grad():
                    forward(float_network, inputs)
                forward(quantized, inputs)
                distance = _distance(found, of_float)
                optimizer.zero_grad()
                if distance.requires_grad:
                    distance.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                with torch.no_grad():
                    for name, (low, high) in limits.items():
                        weight = layers[name].weight
                        weight.copy_(torch.minimum(torch.maximum(weight, low), high))
    finally:
        for value, needed in before:
            value.requires_grad_(needed)
            value.grad = None
    if not mean_distance(quantized, float_network, batches) < at_first:
        with torch.no_grad():
            for values in learned.values():
                for one in values:
                    one.copy_(start[id(one)])


@torch.no_grad()
def mean_distance(quantized: nn.Module, float_network: nn.Module, batches: Sequence[Structure]) -> float:
    """Return the mean over `batches` of inputs `[images, ...]` and over layers of the distance that is learned from."""
    found, layers = [], quantized_operands(quantized)
    for inputs in batches:
        with _outputs(float_network, layers) as wanted, _outputs(quantized, layers) as seen:
            forward(float_network, inputs)
            forward(quantized, inputs)
        found.append(float(_distance(seen, wanted)))
    return sum(found) / len(found)


def _limits(layer: QuantizedOperands) -> tuple[Tensor, Tensor]:
    """Return the lowest and highest weights, of the weight's shape: one step below and above."""
    weight, scale = layer.weight.detach(), positive(layer.weight_scale.detach())
    step = scale.view(-1, *[1] * (weight.ndim - 1))
    return weight - step, weight + step


def _groups(layer: QuantizedOperands) -> Iterator[dict[str, object]]:
    """Yield the parameters of a layer with the rates of Adam, whose steps are about as large as its rate."""
    step = float(positive(layer.weight_scale.detach()).mean())
    yield {"params": [layer.weight], "lr": WEIGHT_RATE * step}
    yield {"params": [layer.weight_scale], "lr": SCALE_RATE * step}
    yield {"params": [layer.input_scale], "lr": SCALE_RATE * float(positive(layer.input_scale.detach()))}


@contextmanager
def _outputs(network: nn.Module, names: Iterable[str]) -> Iterator[Outputs]:
    """Collect the outputs of layers `names`, by name, in the order of their calls, within the block."""
    found: Outputs = {}

    def keep(name: str, module: nn.Module, inputs: object, output: Tensor) -> None:
        found.setdefault(name, []).append(output)

    hooks = [network.get_submodule(name).register_forward_hook(partial(keep, name)) for name in names]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _inputs_at_once(network: nn.Module, inputs: Structure, outputs: Outputs) -> int:
    """Return the number of `inputs` `[images, ...]` of a step, from the `outputs` that one of them fills."""
    with torch.no_grad():
        forward(network, taken(inputs, slice(1)))
    size = sum(one.numel() * one.element_size() for calls in outputs.values() for one in calls)
    return min(max(MOST_BYTES // max(size, 1), 1), MOST_INPUTS)


def _distance(found: Outputs, wanted: Outputs) -> Tensor:
    """Return the mean over all calls of the mean squared difference over the variance, `[]`."""
    pairs = [pair for name in wanted for pair in zip(found[name], wanted[name], strict=True) if pair[0].numel() > 1]
    shares = [(one - other).square().mean() / other.var().clamp_min(1e-12) for one, other in pairs]
    return torch.stack(shares).mean() if shares else torch.zeros(())
