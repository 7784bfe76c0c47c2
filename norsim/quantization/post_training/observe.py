"""The inputs of each layer in a float network, sampled while the network runs on calibration data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from norsim.data.batches import Data, inputs_of, size_of
from norsim.data.inputs.structure import Structure, count_of, mapped, tensors_in
from norsim.errors import ConfigurationError
from norsim.quantization.exempt import refused
from norsim.quantization.forward import check_single_images, forward
from norsim.quantization.placeable import Placeable, checked_layers
from norsim.quantization.post_training.moments import Named, moments_of
from norsim.quantization.replace import forwards

SAMPLES_PER_BATCH, SAMPLES_PER_LAYER = 8192, 65536
# Batches are kept until there are as many inputs, or as many bytes of them.
KEPT_INPUTS, KEPT_BYTES = 512, 2**28


@torch.no_grad()
def observe_inputs(
    model: nn.Module,
    calibration: Data,
    report: Callable[[str, int, int], None] = lambda what, done, total: None,
    digital: Collection[str] = (),
    size: int | None = None,
) -> tuple[dict[str, Tensor], list[Structure], list[Named]]:
    """Run all of `calibration` through `model`; return up to 65,537 input values `[n]` of each layer, the first batches
    `[images, ...]` of inputs, and the moments of the layers in each of these.

    Values are drawn without bias between batches, from a separately seeded generator; the smallest value seen is
    always among them, because it determines whether codes need a zero point. Raises ConfigurationError if the first
    batch shows that the model does not answer each image by itself, PlacementError naming a layer whose weight the
    model's forward changes.
    """
    layers = checked_layers(model, digital)
    samples = {name: _InputSample(name, layer) for name, layer in layers.items()}
    weights: dict[str, Tensor] = {}
    batches: list[Structure] = []
    moments: list[Named] = []
    done, total = 0, size_of(calibration) if size is None else size
    report("quantize", 0, total)
    with forwards((sample.layer, sample) for sample in samples.values()):
        for images in inputs_of(calibration):
            if done < KEPT_INPUTS and sum(map(_size, batches)) < KEPT_BYTES:
                batches.append(mapped(images, lambda part: part.detach().clone()))
                moments.append(moments_of(model, images))
            else:
                forward(model, images)
            if not weights:
                # Copied after a call, because a forward may normalise its weights in the first one.
                weights = {name: layer.weight.detach().clone() for name, layer in layers.items()}
                with _paused(samples.values()):
                    check_single_images(model, images)
            done += count_of(images)
            report("quantize", done, total)
    if not weights:
        raise ConfigurationError("calibration is empty; pass at least one batch of inputs")
    for name, weight in weights.items():
        if not torch.equal(layers[name].weight, weight):
            raise refused(
                name,
                f"layer {name!r}: calling the network changes its weight, or computes it, and programmed cells cannot "
                "follow; set it before, or compute with torch.nn.functional, which stays digital",
            )
    return {name: sample.values() for name, sample in samples.items()}, batches, moments


def _size(inputs: Structure) -> int:
    return sum(part.numel() * part.element_size() for part in tensors_in(inputs))


@contextmanager
def _paused(samples: Iterable[_InputSample]) -> Iterator[None]:
    """Keep no inputs within the block."""
    for sample in samples:
        sample.paused = True
    yield
    for sample in samples:
        sample.paused = False


class _InputSample:
    """A forward of a layer that keeps the inputs with the largest random keys: a uniform bounded sample."""

    def __init__(self, name: str, layer: Placeable) -> None:
        self.name, self.layer, self.paused = name, layer, False
        self.lowest = torch.inf
        self.kept, self.keys = torch.empty(0), torch.empty(0)
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, input: Tensor) -> Tensor:
        flat = input.detach().reshape(-1)
        if flat.numel() and not self.paused:
            self.keep(flat)
        compute: Any = type(self.layer).forward
        found: Tensor = compute(self.layer, input)
        return found

    def keep(self, flat: Tensor) -> None:
        """Keep some of the inputs `[n]`."""
        lowest, highest = (float(end) for end in torch.aminmax(flat))
        # The ends of values with a nan are nan.
        if not (isfinite(lowest) and isfinite(highest)):
            raise ConfigurationError(f"layer {self.name!r} has a calibration input that is not finite")
        self.lowest = min(self.lowest, lowest)
        count = min(flat.numel(), SAMPLES_PER_BATCH)
        places = torch.randint(flat.numel(), (count,), generator=self.generator)
        values = torch.cat([self.kept, flat[places.to(flat.device)].cpu()])
        keys = torch.cat([self.keys, torch.rand(len(places), generator=self.generator)])
        self.keys, best = keys.topk(min(len(keys), SAMPLES_PER_LAYER))
        self.kept = values[best]

    def values(self) -> Tensor:
        if not len(self.kept):
            raise refused(
                self.name,
                f"layer {self.name!r} got no input during calibration; call it in the network's forward or remove it. "
                "A copy of the network is called, so that a global, a cache or a weak reference reaches another layer",
            )
        return torch.cat([self.kept, torch.tensor([self.lowest])])
