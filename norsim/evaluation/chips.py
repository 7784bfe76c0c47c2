"""Several chips of one design: the spread of their accuracies, the mean of all such chips, and the yield."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from norsim.array.tile import Floats
from norsim.evaluation.intervals import Interval, ends, wilson
from norsim.random_streams import Stream, generator

# Draws of the mean squares; more would move an end of an interval by about 1 % of its width.
DRAWS = 5000


@dataclass(frozen=True)
class Chips:
    """Accuracies of chips that differ only in their random draws; all classify the same test images.

    `accuracies`    of each chip, on `images` images
    `sigma`         the spread between chips: the standard deviation of the chips' accuracies that would be left on
                    infinitely many images, with its interval `sigma_ci95`
    `ci95`          interval of the mean over all possible chips and images
    `ci95_chips`    the same for these images alone; `ci95_images` for these chips alone
    `mean_square_chips`, `mean_square_images`, `mean_square_residual`    of the two-way table of chips and images
    """

    accuracies: tuple[float, ...]
    images: int
    sigma: float
    sigma_ci95: Interval
    ci95: Interval
    ci95_chips: Interval
    ci95_images: Interval
    mean_square_chips: float
    mean_square_images: float
    mean_square_residual: float

    def above(self, least: float) -> dict[str, Any]:
        """Return the share of chips with at least that accuracy: as counted, with Wilson's interval, and as modelled.

        `model_share` is that of a normal distribution with the mean and the spread `sigma` of the chips, without the
        chance of the images that each chip happens to get right; its interval follows from draws of both. If nothing
        varies at all, the model says nothing, and the count stands in its place.
        """
        good, count = sum(accuracy >= least for accuracy in self.accuracies), len(self.accuracies)
        counted = {"accuracy": least, "share": good / count, "ci95": wilson(good, count)}
        if not self.mean_square_images:
            return {**counted, "model_share": good / count, "model_ci95": wilson(good, count)}
        sigmas, means = self._draws()
        mean = float(np.mean(self.accuracies))
        return {
            **counted, "model_share": float(_reached(np.array([mean]), np.array([self.sigma]), least)[0]),
            "model_ci95": ends(_reached(means, sigmas, least)),
        }  # fmt: skip

    def _draws(self) -> tuple[Floats, Floats]:
        """Return draws of the spread and of the mean, `[draws]` each."""
        squares = (self.mean_square_chips, self.mean_square_images, self.mean_square_residual)
        return draws(float(np.mean(self.accuracies)), squares, len(self.accuracies), self.images)


def compare_chips(right: NDArray[np.bool_]) -> Chips:
    """Return the accuracies and their intervals from `[chips, images]`, whether each chip classifies each image
    correctly; at least two chips.

    Chips and images are both samples: a two-way random model without replication (Searle, Casella and McCulloch,
    Variance Components, 1992). The mean square between chips has the expectation of the residual one plus
    images sigma^2, so the spread is sigma^2 = (MS_chips - MS_residual) / images, or 0 if that is negative. With the
    mean square MS of chips or images, MS / (chips images) is its part of the variance of the mean. The half width of
    the interval is that of both t intervals added in quadrature, in the manner of Burdick and Graybill's modified
    large-sample intervals (1992), so that few chips give a wide interval.
    """
    chips, images = right.shape
    mean, squares = float(right.mean()), mean_squares(right)

    def reach(square: float, count: int) -> float:
        """Return the half width of the interval from the mean square between `count` chips or images."""
        return float(stdtrit(count - 1, 0.975)) * math.sqrt(square / right.size)

    def interval(half: float) -> Interval:
        return max(mean - half, 0.0), min(mean + half, 1.0)

    accuracies = tuple(right.mean(axis=1).tolist())
    if images == 1 and 0.0 < mean < 1.0:
        # One image says nothing about others.
        return Chips(accuracies, images, 0.0, (0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0), *squares)
    if mean in (0.0, 1.0):
        # Nothing varies, which says little about other images, so the interval is that of one chip.
        span = wilson(round(mean * images), images)
        return Chips(accuracies, images, 0.0, (0.0, 0.0), span, interval(0.0), span, *squares)
    both = reach(squares[0], chips), reach(squares[1], images)
    sigma = math.sqrt(max(0.0, squares[0] - squares[2]) / images)
    return Chips(
        accuracies, images, sigma, ends(draws(mean, squares, chips, images)[0]), interval(math.hypot(*both)),
        interval(both[0]), interval(both[1]), *squares,
    )  # fmt: skip


def mean_squares(right: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return the mean squares between chips, between images, and of the residuals of `[chips, images]`."""
    chips, images = right.shape
    # Sums of squares times chips images, as integers, so that equal chips have exactly no spread.
    of_chips, of_images, total = right.sum(axis=1), right.sum(axis=0), int(right.sum())
    between = chips * int((of_chips**2).sum()) - total**2
    within = images * int((of_images**2).sum()) - total**2
    residual = right.size * total - total**2 - between - within
    freedoms = freedoms_of(chips, images)
    return (
        between / right.size / freedoms[0], within / right.size / freedoms[1], residual / right.size / freedoms[2],
    )  # fmt: skip


def freedoms_of(chips: int, images: int) -> tuple[int, int, int]:
    """Return the degrees of freedom of the mean squares; at least 1 of a single image, whose squares are 0."""
    return chips - 1, max(images - 1, 1), max((chips - 1) * (images - 1), 1)


def draws(mean: float, squares: tuple[float, float, float], chips: int, images: int) -> tuple[Floats, Floats]:
    """Return draws of the spread between chips and of the mean of all chips, `[draws]` each, from the mean squares.

    They are generalised pivotal quantities (S. Weerahandi, J. Am. Stat. Assoc. 88, 1993): each sum of squares over its
    expectation has a chi-square distribution, which the draws invert; the mean is normal, with a variance of
    (MS_chips + MS_images - MS_residual) / (chips images). Shares of the draws below a value are confidences.
    """
    random = generator(0, Stream.CHIP_INTERVALS)
    of_chips, of_images, residual = (
        square * freedom / random.chisquare(freedom, DRAWS)
        for square, freedom in zip(squares, freedoms_of(chips, images), strict=True)
    )
    sigmas = np.sqrt(np.maximum(of_chips - residual, 0.0) / images)
    variance = np.maximum(of_chips + of_images - residual, 0.0) / (chips * images)
    return sigmas, mean + random.standard_normal(DRAWS) * np.sqrt(variance)


def _reached(means: Floats, sigmas: Floats, least: float) -> Floats:
    """Return the share of chips that reach `least`, for each mean and spread; without a spread, all or none."""
    known = sigmas > 0
    found = (means >= least).astype(float)
    found[known] = ndtr((means[known] - least) / sigmas[known])
    return found
