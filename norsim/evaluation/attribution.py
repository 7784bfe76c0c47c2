"""Where the accuracy goes: losses against the digital network, paired image by image, by cause and by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from norsim.data.batches import Data, inputs_of
from norsim.evaluation.batches import run_batches
from norsim.evaluation.intervals import NORMAL_95
from norsim.evaluation.metrics import Predictions
from norsim.tiling.reader import Reader


@dataclass(frozen=True)
class Loss:
    """Percentage points of accuracy lost between two classifications of the same images; negative is a gain.

    `ci95`      interval of the loss from the images that only one of the two gets right
    """

    points: float
    ci95: tuple[float, float]


def paired_loss(before: Predictions, after: Predictions, labels: NDArray[np.int64]) -> Loss:
    """The loss from `before` to `after`, both `[images]` classes.

    The interval is that of Agresti and Min, "Simple improved confidence intervals for comparing matched
    proportions" (Statistics in Medicine 24, 2005): Wald's with half an image more in each cell of the
    two-by-two table.
    """
    lost = int(((before == labels) & (after != labels)).sum())
    gained = int(((before != labels) & (after == labels)).sum())
    total, wider = len(labels), len(labels) + 2
    middle = (lost - gained) / wider
    spread = NORMAL_95 * math.sqrt((lost + gained + 1) / wider - middle**2) / math.sqrt(wider)
    return Loss(100 * (lost - gained) / total, (100 * (middle - spread), 100 * (middle + spread)))


def classify(model: nn.Module, data: Data, reader: Reader) -> Predictions:
    """`[images]`: the class that a converted network gives each image, its layers read by `reader`."""
    return np.concatenate([result.array for result in run_batches(model, inputs_of(data), reader)])


@dataclass(frozen=True)
class Share:
    """What one cause, or one layer, costs: switched on alone, and by how much less is lost without it."""

    name: str
    alone: Loss
    without: Loss


@dataclass(frozen=True)
class Attribution:
    """Losses in points, all on the same images.

    `quantization`  from the float network to the digital one of 4 bits; None where the former is unknown
    `array`     from the digital network to the array, and `shares` of it
    `base`      what is lost with all causes off: what integers lose on their way through an array without loss
    `remainder` the array's loss less the sum of `base` and of what the causes cost alone: their interaction, with an
                interval of its own, since what single images do counts in it as many times as there are shares
    """

    images: int
    quantization: Loss | None
    array: Loss
    base: Loss
    shares: tuple[Share, ...]
    remainder: Loss

    @property
    def adds_up(self) -> bool:
        """Whether the remainder's interval holds 0: whether the shares explain the whole."""
        low, high = self.remainder.ci95
        return low <= 0 <= high


def remainder(whole: NDArray[np.bool_], nothing: NDArray[np.bool_], alone: Sequence[NDArray[np.bool_]]) -> Loss:
    """What the shares leave of the whole, image by image; each argument `[images]`, whether it has an image right.

    The loss with everything on, less those of the shares alone, all against `nothing` on. Its interval is Wald's for
    the mean of the images' own remainders.
    """
    each = nothing.astype(float) - whole - sum((nothing.astype(float) - one for one in alone), np.zeros(len(whole)))
    half = NORMAL_95 * float(each.std(ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else math.inf
    points = float(each.mean())
    return Loss(100 * points, (100 * (points - half), 100 * (points + half)))


def attribute(
    names: Sequence[str],
    answer: Callable[[frozenset[str]], Predictions],
    digital: Predictions,
    float_predictions: Predictions | None,
    labels: NDArray[np.int64],
) -> Attribution:
    """Losses of each of `names` alone and of all but it; `answer(on)` classifies with those switched on.

    Classes and labels are `[images]`.
    """
    known: dict[frozenset[str], Predictions] = {}

    def answered(on: frozenset[str]) -> Predictions:
        if on not in known:
            known[on] = answer(on)
        return known[on]

    everything = frozenset(names)
    nothing = answered(frozenset())
    shares = tuple(
        Share(
            name,
            paired_loss(nothing, answered(frozenset({name})), labels),
            paired_loss(answered(everything - {name}), answered(everything), labels),
        )
        for name in names
    )
    return Attribution(
        len(labels),
        None if float_predictions is None else paired_loss(float_predictions, digital, labels),
        paired_loss(digital, answered(everything), labels),
        paired_loss(digital, nothing, labels),
        shares,
        remainder(
            answered(everything) == labels, nothing == labels,
            [answered(frozenset({name})) == labels for name in names],
        ),
    )  # fmt: skip


def summary(found: Attribution) -> dict[str, Any]:
    """An attribution as JSON."""
    return {**asdict(found), "remainder_points": found.remainder.points, "adds_up": found.adds_up}
