"""Several chips of one design: the spread of their accuracies, and an interval for the mean of all such chips."""

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
    """Accuracies of chips that differ only in their random draws; all classify the same test images.

    `accuracies`    of each chip
    `sigma`         their standard deviation: the spread between chips on these images
    `ci95`          interval of the mean over all possible chips and images
    `ci95_chips`    the same for these images alone; `ci95_images` for these chips alone
    """

    accuracies: tuple[float, ...]
    sigma: float
    ci95: tuple[float, float]
    ci95_chips: tuple[float, float]
    ci95_images: tuple[float, float]

    def above(self, least: float) -> dict[str, Any]:
        """Return the share of chips with at least that accuracy, with Wilson's interval."""
        good, count = sum(accuracy >= least for accuracy in self.accuracies), len(self.accuracies)
        return {"accuracy": least, "share": good / count, "ci95": wilson(good, count)}


def compare_chips(right: NDArray[np.bool_]) -> Chips:
    """Return the accuracies and their intervals from `[chips, images]`, whether each chip classifies each image
    correctly; at least two chips.

    Chips and images are both samples: a two-way random model without replication (Searle, Casella and McCulloch,
    Variance Components, 1992). With the mean square MS of either, MS / (chips images) is its part of the variance of
    the mean. The half width of the interval is that of both t intervals added in quadrature, in the manner of Burdick
    and Graybill's modified large-sample intervals (1992), so that few chips give a wide interval.
    """
    chips, images = right.shape
    mean = float(right.mean())

    def reach(of_each: NDArray[np.floating], others: int) -> float:
        """Return the half width of the interval from the means of each chip, or image, over `others`."""
        freedom = len(of_each) - 1
        square = others * float(((of_each - mean) ** 2).sum()) / freedom
        return float(t.ppf(0.975, freedom)) * math.sqrt(square / right.size)

    def interval(half: float) -> tuple[float, float]:
        return max(mean - half, 0.0), min(mean + half, 1.0)

    of_chips = right.mean(axis=1)
    if mean in (0.0, 1.0):
        # Nothing varies, which says little about other images, so the interval is that of one chip.
        ends = wilson(round(mean * images), images)
        return Chips(tuple(of_chips.tolist()), 0.0, ends, interval(0.0), ends)
    both = reach(of_chips, images), reach(right.mean(axis=0), chips)
    return Chips(
        tuple(of_chips.tolist()), float(of_chips.std(ddof=1)), interval(math.hypot(*both)), interval(both[0]),
        interval(both[1]),
    )  # fmt: skip
