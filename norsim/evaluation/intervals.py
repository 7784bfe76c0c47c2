"""Confidence intervals, 95 % unless stated otherwise.

The functions of scipy.special are those behind scipy.stats, which takes a second to import.
Random numbers of intervals have a constant seed, so an interval depends only on its data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, stdtrit

from norsim.array.tile import Floats
from norsim.random_streams import Stream, generator

NORMAL_95 = 1.959963984540054
RESAMPLES = 2000
# Random weights in memory at a time.
WEIGHTS = 4_000_000

Interval = tuple[float, float]


def wilson(successes: int, trials: int) -> Interval:
    """Return Wilson's 95 % interval of a share (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    share, square = successes / trials, NORMAL_95**2
    twice = 2 * (trials + square)
    centre = (2 * trials * share + square) / twice
    half = NORMAL_95 / twice * math.sqrt(4 * trials * share * (1 - share) + square)
    return centre - half if successes else 0.0, centre + half if successes < trials else 1.0


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
    """Return `interval` of `value` with the half width of the t interval of the mean of `samples` added in quadrature.

    `samples` `[n]` are independent estimates of `value`, for instance one per random order. Half widths are added as in
    Burdick and Graybill's intervals of sums of variance components (1992).
    """
    half = float(stdtrit(len(samples) - 1, 0.975) * samples.std(ddof=1)) / math.sqrt(len(samples))
    return value - math.hypot(value - interval[0], half), value + math.hypot(interval[1] - value, half)


def clopper_pearson(successes: int, trials: int) -> Interval:
    """Return the exact 95 % interval of a share (C. J. Clopper and E. S. Pearson, Biometrika 26, 1934)."""
    low = float(betaincinv(successes, trials - successes + 1, 0.025)) if successes else 0.0
    return low, float(betaincinv(successes + 1, trials - successes, 0.975)) if successes < trials else 1.0


def share_over_groups(counts: Sequence[int], sizes: Sequence[int]) -> tuple[float, Interval]:
    """Return the share of `counts` in `sizes`, `[groups]` each, and its 95 % interval by bootstrap over the groups.

    The members of a group, such as the outputs of one read, need not be independent of each other; the groups must be.
    The interval is the percentile interval (Efron and Tibshirani, An Introduction to the Bootstrap, 1993). If the share
    is 0 or 1, which leaves nothing to resample, it is the exact interval of 0 or all of as many groups. One group alone
    says nothing about others, so its interval is 0 to 1.
    """
    members, total = np.asarray(counts, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    share = float(members.sum() / total.sum())
    if share in (0.0, 1.0):
        return share, clopper_pearson(round(share) * len(members), len(members))
    if len(members) == 1:
        return share, (0.0, 1.0)

    def of_groups(some: Floats, those: Floats, axis: int = -1) -> Floats:
        ratio: Floats = some.sum(axis=axis) / those.sum(axis=axis)
        return ratio

    from scipy import stats

    random = generator(0, Stream.READ_BOOTSTRAP)
    found = stats.bootstrap(
        (members, total), of_groups, paired=True, vectorized=True, n_resamples=RESAMPLES, method="percentile",
        random_state=random,
    ).confidence_interval  # fmt: skip
    return share, (float(found.low), float(found.high))
