"""Seconds of a training epoch on a card, in float and with learned quantizers."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from norsim.training.batches import Batches
from norsim.training.learner import Learner
from norsim.training.recipes import RECIPES, Recipe

EPOCHS, NETWORK = 2, "resnet18"


def networks_of(width: float, device: torch.device) -> tuple[nn.Module, nn.Module]:
    """Return ResNet-18 of a `width`, untrained, in float and with quantizers fitted to random images."""
    from norsim.quantization.quantize import quantize
    from norsim.zoo.registry import spec_of

    torch.manual_seed(0)
    network = spec_of(NETWORK, width).build().eval()
    quantized = quantize(network, [images_of(8) / 255])
    first, second = (one.to(device, memory_format=torch.channels_last) for one in (network, quantized))
    return first, second


def images_of(count: int) -> torch.Tensor:
    """Return random images of the size of CIFAR-10's, uint8 `[count, 3, 32, 32]`."""
    return torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def measure_training(width: float, device: torch.device, images: int) -> dict[str, Any]:
    """Return the seconds of an epoch of ResNet-18 of a `width` by its recipe, over `images` random images.

    The second epoch of each phase counts: kernels are recorded in the first. The quantized phase has the float network
    as its teacher.
    """
    # As norsim.experiments.devices.repeatable, which needs more than torch.
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    recipe, labels = RECIPES[NETWORK], torch.arange(images) % 10
    network, quantized = networks_of(width, device)
    batches = Batches(images_of(images), labels, 255, recipe, torch.channels_last, device)
    seconds = {"float_epoch_seconds": seconds_of_epoch(batches, network, None, recipe, device)}
    seconds["quantized_epoch_seconds"] = seconds_of_epoch(batches, quantized, network.eval(), recipe, device)
    return {"network": NETWORK, "width": width, "images": images, "batch": batches.size, **seconds}


def seconds_of_epoch(
    batches: Batches, network: nn.Module, teacher: nn.Module | None, recipe: Recipe, device: torch.device
) -> float:
    """Return the seconds of the second epoch of `network`."""
    learner, started = Learner(network, recipe, device, teacher), 0.0
    for epoch in range(EPOCHS):
        started = time.perf_counter()
        # It ends with the loss in the host's memory, so the card has finished.
        learner.epoch(batches.epoch(epoch), EPOCHS * len(batches), recipe.float_rate, lambda done: None)
    return time.perf_counter() - started
