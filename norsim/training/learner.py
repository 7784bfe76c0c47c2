"""A network in training: its moving average, its optimiser and its learning rate schedule."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from norsim.quantization.copies import independent_copy
from norsim.quantization.modules import QuantizedOperands
from norsim.training.recipes import Recipe

WARM_UP = 0.2


def one_cycle(step: int, steps: int, peak: float) -> float:
    """Return the learning rate at `step` of `steps`: linear warm-up, then half a cosine to 0 (Smith & Topin 2019)."""
    warm = max(int(WARM_UP * steps), 1)
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm + 1) / (steps - warm + 1)))


class Learner:
    """A network with its optimiser and, if the recipe has one, a moving average of its state."""

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        self.network, self.recipe, self.step = network, recipe, 0
        self.optimiser = torch.optim.SGD(
            parameter_groups(network, recipe.weight_decay), lr=0.0, momentum=recipe.momentum, nesterov=True
        )
        self.average = independent_copy(network) if recipe.ema_decay else network

    def learn(self, loss: Tensor, rate: float) -> None:
        """Take one step against a `loss` `[]` at the learning rate `rate` times the boost of each group."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["boost"]
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.step += 1
        if self.average is not self.network:
            self._update_average()

    @torch.no_grad()
    def _update_average(self) -> None:
        # Decays faster at the start, so that the untrained weights soon leave the average.
        decay = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
        current = self.network.state_dict()
        for key, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[key], 1 - decay)
            else:
                value.copy_(current[key])

    def state(self) -> dict[str, Any]:
        """Return the state that `restore` needs."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state returned by `state`."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return optimiser groups: decayed matrices, undecayed vectors, and one group per weight zero point.

    A zero point counts code steps, and its gradient is that of a real offset times the scale. Divided by the scale
    squared, its rate makes it move as fast as a scale.
    """
    boosts = {
        id(layer.weight_zero): float(layer.weight_scale.detach().abs().mean()) ** -2
        for layer in network.modules()
        if isinstance(layer, QuantizedOperands)
    }
    parameters = list(network.parameters())
    zeros = [parameter for parameter in parameters if id(parameter) in boosts]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2 and id(parameter) not in boosts]
    groups: list[dict[str, Any]] = [{"params": [zero], "boost": boosts[id(zero)]} for zero in zeros]
    groups.append({"params": [matrix for matrix in parameters if matrix.ndim > 1], "boost": 1.0})
    groups[-1]["weight_decay"] = weight_decay
    groups.append({"params": vectors, "boost": 1.0})
    return groups
