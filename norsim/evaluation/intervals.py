"""Confidence intervals, 95 % unless stated otherwise.

Random numbers of intervals have a constant seed, so an interval depends only on its data.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, t

from norsim.array.tile import Floats
from norsim.random_streams import Stream, generator

NORMAL_95 = 1.959963984540054
RESAMPLES = 2000
# Random weights in memory at a time.
WEIGHTS = 4_000_000

Interval = tuple[float, float]


def wilson(successes: int, trials: int) -> Interval:
    """Return Wilson's 95 % interval of a share (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def resampled_means(values: NDArray[np.floating], largest: float = 0.0) -> Floats:
    """Return means `[resamples, quantities]` of `values` `[quantities, images]` over resampled images.

    This is the Bayesian bootstrap (D. B. Rubin, Annals of Statistics 9, 1981): each image has a random weight, the same
    for all quantities. Images say little about changes that occur in fewer than one of them. So `largest`, the largest
    possible change of one image, adds the prior of Agresti and Min (Statistics in Medicine 24, 2005): half an image
    with that change, half a one with minus that, and one without a change. 0 adds no prior.
    """
    random = generator(0, Stream.IMAGE_BOOTSTRAP)
    count = values.shape[1]
    means, block = [], max(1, WEIGHTS // count)
    for first in range(0, RESAMPLES, block):
        size = min(block, RESAMPLES - first)
        weights = random.standard_exponential((size, count))
        sums, total = weights @ values.T, weights.sum(axis=1, keepdims=True)
        if largest:
            up, down, same = random.standard_gamma([[[0.5]], [[0.5]], [[1.0]]], (3, size, 1))
            sums, total = sums + largest * (up - down), total + up + down + same
        means.append(sums / total)
    return np.concatenate(means)


def ends(resampled: Floats, confidence: float = 0.95) -> Interval:
    """Return the central interval of resampled values `[resamples]`."""
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def widened(value: float, interval: Interval, samples: NDArray[np.floating]) -> Interval:
    """Return `interval` of `value` with the half width of the t interval of a mean added in quadrature.

    The mean is that of `samples` `[samples]`, independent estimates of `value`, for instance one per random order. Half
    widths are added as in Burdick and Graybill's intervals of sums of variance components (1992).
    """
    half = float(t.ppf(0.975, len(samples) - 1) * samples.std(ddof=1)) / math.sqrt(len(samples))
    return value - math.hypot(value - interval[0], half), value + math.hypot(interval[1] - value, half)
