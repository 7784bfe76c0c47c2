"""How much a network's answers change when one layer has narrower codes.

The measure is the mean Kullback-Leibler divergence, in nats, from the class probabilities of the float network to
those of the quantized one (the sensitivity of Cai et al., "ZeroQ", CVPR 2020): unlike the accuracy it needs no labels,
and shows changes that turn no class. Weights and activations of a layer are narrowed apart, while all others keep their
widest codes; biases and batch norms are corrected each time, as in the final network.

The networks are computed in integers, without an array. What the array adds depends on its wires and converters, which
a layer has at any width; it is measured when the proposed network is evaluated on the array.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from norsim.data.inputs.structure import Structure, count_of, joined, split
from norsim.errors import ConfigurationError, DataError
from norsim.evaluation import metrics
from norsim.evaluation.mixed_precision.kept import KeptAnswers
from norsim.evaluation.mixed_precision.options import Choices
from norsim.evaluation.mixed_precision.search import Option
from norsim.jobs.phases import Report, silent
from norsim.jobs.unit_store import UnitStore
from norsim.quantization.by_layer.bits import Bits
from norsim.quantization.forward import forward
from norsim.quantization.quantize import Observed

AT_ONCE = 256
# So many images tell the sensitivities of layers apart, because all layers see the same ones.
IMAGES = 256


@dataclass(frozen=True)
class Sensitivity:
    """The loss that narrower codes of one layer cause.

    `nats`   by `weights` or `activations` and their width, above that of the widest codes of all layers
    """

    weights: Mapping[int, float]
    activations: Mapping[int, float]

    def loss(self, bits: Bits) -> float:
        """Return the loss of both widths together."""
        return self.weights[bits.weights] + self.activations[bits.activations]


@torch.no_grad()
def scores_of(network: nn.Module, images: Structure) -> Tensor:
    """Return the scores `[images, classes]` of a network for `images` `[images, ...]`. Raises DataError for others."""
    return _scores(forward(network, part) for part in split(images, AT_ONCE))


def _scores(outputs: Iterable[Any]) -> Tensor:
    """Return the scores `[images, classes]` in the outputs of batches. Raises DataError for others."""
    try:
        return torch.cat([metrics.scores_of(part) for part in outputs]).float().cpu()
    except ConfigurationError as problem:
        raise DataError(
            "the network returns no scores [images, classes], by which sensitivities are measured"
        ) from problem


def divergence(reference: Tensor, scores: Tensor) -> float:
    """Return the mean divergence in nats from the softmax of `reference` to that of `scores`, `[images, classes]`."""
    first, second = (functional.log_softmax(part.double(), dim=1) for part in (reference, scores))
    return float((first.exp() * (first - second)).sum(dim=1).mean())


def measure(
    seen: Observed, choices: Mapping[str, Choices], report: Report = silent, store: UnitStore | None = None
) -> dict[str, Sensitivity]:
    """Return the sensitivity of each layer at the widths of its choices, on the first images that calibrate; losses
    are taken from `store` if it has them, and added to it otherwise."""
    widest = {name: own.widest for name, own in choices.items()}
    batches = _batches(seen)
    exact = scores_of(seen.network, joined(seen.batches[:batches]))
    answers = KeptAnswers.of(seen, exact, store)

    def nats(bits: Mapping[str, Bits]) -> float:
        found = answers.once(bits, lambda: np.array([divergence(exact, _scores(seen.answers(bits, batches)))]))
        return float(found[0])

    base, total, done = nats(widest), sum(len(own.weights) + len(own.activations) for own in choices.values()), 0
    found = {}
    for name, own in choices.items():
        tried: dict[str, dict[int, float]] = {}
        for kind in ("weights", "activations"):
            losses: dict[int, float] = {}
            for width in getattr(own, kind):
                report(f"measure {name}", done, total)
                done += 1
                pair = Bits(**{"weights": own.widest.weights, "activations": own.widest.activations, kind: width})
                # Narrower codes are no better: what seems so is chance.
                least = max(losses.values(), default=0.0)
                losses[width] = least if pair == own.widest else max(nats({**widest, name: pair}) - base, least)
            tried[kind] = losses
        found[name] = Sensitivity(tried["weights"], tried["activations"])
    return found


def options_of(choices: Choices, sensitivity: Sensitivity) -> list[Option]:
    """Return all widths that a layer can have, with their energies and losses."""
    return [
        Option(bits, choices.energy(bits), sensitivity.loss(bits))
        for weights in choices.weights
        for activations in choices.activations
        for bits in [Bits(weights, activations)]
    ]


def _batches(seen: Observed) -> int:
    """Return how many batches have `IMAGES`; all of them if there are fewer."""
    images = 0
    for count, batch in enumerate(seen.batches, 1):
        images += count_of(batch)
        if images >= IMAGES:
            return count
    return len(seen.batches)
