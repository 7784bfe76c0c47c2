"""A network in training: its loss, its optimiser, its learning rate schedule and its moving average."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn

from norsim.quantization.copies import independent_copy
from norsim.quantization.modules import QuantizedOperands
from norsim.training.gradients import gradients_of
from norsim.training.recipes import Recipe

WARM_UP = 0.2
CPU = torch.device("cpu")


def one_cycle(step: int, steps: int, peak: float) -> float:
    """Return the learning rate at `step` of `steps`: linear warm-up, then half a cosine to 0 (Smith & Topin 2019)."""
    warm = max(int(WARM_UP * steps), 1)
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm + 1) / (steps - warm + 1)))


class Learner:
    """A network on `device` with its loss, its optimiser and, if the recipe has one, a moving average of its state.

    `teacher` is the network that part of the loss follows, if the recipe says so; None without one.
    """

    def __init__(
        self, network: nn.Module, recipe: Recipe, device: torch.device = CPU, teacher: nn.Module | None = None
    ) -> None:
        self.network, self.recipe, self.device, self.step = network, recipe, device, 0
        self.teacher = teacher if recipe.distillation else None
        self.optimiser = torch.optim.SGD(
            parameter_groups(network, recipe.weight_decay), lr=0.0, momentum=recipe.momentum, nesterov=True
        )
        self.gradients = gradients_of(network, self.loss, device)
        self.average = independent_copy(network) if recipe.ema_decay else network
        current = network.state_dict()
        pairs = [(value, current[key]) for key, value in self.average.state_dict().items()]
        self.averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self.copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    def precision(self) -> torch.autocast:
        """Return the context in which layers multiply in the recipe's precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16")

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss `[]`, float32, of images `[batch, channels, h, w]` with labels `[batch]`."""
        with self.precision():
            return self._loss(images, labels)

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        logits = self.network(images).float()
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        if self.teacher is None:
            return loss
        share, temperature = self.recipe.distillation, self.recipe.temperature
        with torch.no_grad():
            target = functional.log_softmax(self.teacher(images).float() / temperature, 1)
        ours = functional.log_softmax(logits / temperature, 1)
        distance = functional.kl_div(ours, target, reduction="batchmean", log_target=True)
        return (1 - share) * loss + share * temperature**2 * distance

    def learn(self, images: Tensor, labels: Tensor, rate: float) -> Tensor:
        """Take one step against the loss of a batch at the learning rate `rate` times the boost of each group; return
        the loss `[]`, which may change with the next step."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["boost"]
        loss = self.gradients(images, labels)
        self.optimiser.step()
        self.step += 1
        if self.average is not self.network:
            self._update_average()
        return loss

    def epoch(
        self, batches: Iterable[tuple[Tensor, Tensor]], steps: int, peak: float, told: Callable[[int], None]
    ) -> tuple[float, float]:
        """Learn from batches (images, labels), of `steps` in all epochs; return their mean loss and the last learning
        rate. `told(batches done)` is called before each. The host waits for the device only at the end."""
        self.network.train()
        total, rate, count = torch.zeros((), dtype=torch.float64, device=self.device), 0.0, 0
        for images, labels in batches:
            told(count)
            rate = one_cycle(self.step, steps, peak)
            total += self.learn(images, labels, rate)
            count += 1
        return float(total) / count, rate

    @torch.no_grad()
    def _update_average(self) -> None:
        # Decays faster at the start, so that the untrained weights soon leave the average.
        decay = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
        # All tensors at once, because a card computes one in less time than it takes to start it.
        update: Any = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        update(*map(list, zip(*self.averaged, strict=True)), None)
        for value, now in self.copied:
            value.copy_(now)

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
