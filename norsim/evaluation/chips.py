"""Several chips of one kind: how far their accuracies lie apart, and what the mean of all such chips may be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from norsim.evaluation.intervals import wilson


@dataclass(frozen=True)
class Chips:
    """Accuracies of chips that differ in what was drawn for them alone; all saw the same test images.

    `accuracies`    of each
    `sigma`         their standard deviation: how far chips lie apart on these images
    `ci95`          interval of the mean over all chips and all images that there could be
    `ci95_chips`    the same if these images were all that matter, `ci95_images` if these chips were
    """

    accuracies: tuple[float, ...]
    sigma: float
    ci95: tuple[float, float]
    ci95_chips: tuple[float, float]
    ci95_images: tuple[float, float]

    def above(self, least: float) -> dict[str, Any]:
        """The share of chips with at least that accuracy, with Wilson's interval."""
        good, count = sum(accuracy >= least for accuracy in self.accuracies), len(self.accuracies)
        return {"accuracy": least, "share": good / count, "ci95": wilson(good, count)}


def compare_chips(right: NDArray[np.bool_]) -> Chips:
    """What `[chips, images]`, whether each chip has each image right, says of their mean; two chips at least.

    Chips and images are both samples: a two-way random model without replication (Searle, Casella and McCulloch,
    Variance Components, 1992). With the mean square MS of either, MS / (chips images) is its part of the variance of
    the mean. The interval's half width is that of both t intervals in quadrature, in the manner of Burdick and
    Graybill's modified large-sample intervals (1992): one with few chips must allow for how little they say.
    """
    chips, images = right.shape
    mean = float(right.mean())

    def reach(of_each: NDArray[np.floating], others: int) -> float:
        """Half the width of the interval from the means of each chip, or image, over so many `others`."""
        freedom = len(of_each) - 1
        square = others * float(((of_each - mean) ** 2).sum()) / freedom
        return float(t.ppf(0.975, freedom)) * math.sqrt(square / right.size)

    def interval(half: float) -> tuple[float, float]:
        return max(mean - half, 0.0), min(mean + half, 1.0)

    of_chips = right.mean(axis=1)
    if mean in (0.0, 1.0):
        # Nothing varies, which says little about other images: what one chip's interval says.
        ends = wilson(round(mean * images), images)
        return Chips(tuple(of_chips.tolist()), 0.0, ends, interval(0.0), ends)
    both = reach(of_chips, images), reach(right.mean(axis=0), chips)
    return Chips(
        tuple(of_chips.tolist()), float(of_chips.std(ddof=1)), interval(math.hypot(*both)), interval(both[0]),
        interval(both[1]),
    )  # fmt: skip
