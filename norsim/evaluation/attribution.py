"""Attribution of lost accuracy: losses relative to the digital network, paired by image, by cause and by layer."""

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

    `ci95`      interval of the loss, from the images that only one of the two classifies correctly
    """

    points: float
    ci95: tuple[float, float]


def paired_loss(before: Predictions, after: Predictions, labels: NDArray[np.int64]) -> Loss:
    """Return the loss from `before` to `after`, both `[images]` classes.

    The interval follows Agresti and Min, "Simple improved confidence intervals for comparing matched proportions"
    (Statistics in Medicine 24, 2005): Wald's interval with half an image added to each cell of the two-by-two table.
    """
    lost = int(((before == labels) & (after != labels)).sum())
    gained = int(((before != labels) & (after == labels)).sum())
    total, wider = len(labels), len(labels) + 2
    middle = (lost - gained) / wider
    spread = NORMAL_95 * math.sqrt((lost + gained + 1) / wider - middle**2) / math.sqrt(wider)
    return Loss(100 * (lost - gained) / total, (100 * (middle - spread), 100 * (middle + spread)))


def classify(model: nn.Module, data: Data, reader: Reader) -> Predictions:
    """Return the classes `[images]` from a converted network whose layers are read by `reader`."""
    return np.concatenate([result.array for result in run_batches(model, inputs_of(data), reader)])


@dataclass(frozen=True)
class Share:
    """The loss from one cause, mitigation or layer: switched on alone, and added to all others (`without`)."""

    name: str
    alone: Loss
    without: Loss


@dataclass(frozen=True)
class Attribution:
    """Losses in points, all on the same images.

    `quantization`  from the float network to the digital 4-bit network; None if the former is unknown
    `array`     from the digital network to the array, and `shares` of it
    `base`      the loss with all causes off: that of integers read through a lossless array
    `remainder` the array's loss minus the sum of `base` and of the losses by each cause alone, which is their
                interaction. It has its own interval, because each image enters it once per share
    """

    images: int
    quantization: Loss | None
    array: Loss
    base: Loss
    shares: tuple[Share, ...]
    remainder: Loss

    @property
    def adds_up(self) -> bool:
        """Whether the remainder's interval contains 0, so that the shares explain the total."""
        low, high = self.remainder.ci95
        return low <= 0 <= high


def remainder(whole: NDArray[np.bool_], nothing: NDArray[np.bool_], alone: Sequence[NDArray[np.bool_]]) -> Loss:
    """Return the part of the total loss that the shares do not explain, image by image.

    Each argument is `[images]`, whether an image is classified correctly. The remainder is the loss with everything on
    minus those of the shares alone, all relative to `nothing` on. Its interval is Wald's for the mean of the images'
    remainders.
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
    """Return the losses by each of `names` alone, and added to all others; `answer(on)` classifies with those on.

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
    """Return an attribution as JSON content."""
    return {**asdict(found), "remainder_points": found.remainder.points, "adds_up": found.adds_up}
