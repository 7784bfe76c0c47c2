"""Confidence intervals, 95 % unless stated otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest, bootstrap

from norsim.array.tile import Floats
from norsim.random_streams import Stream, generator

NORMAL_95 = 1.959963984540054
RESAMPLES = 4999

Interval = tuple[float, float]


def wilson(successes: int, trials: int) -> Interval:
    """Return Wilson's 95 % interval of a share (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def clopper_pearson(successes: int, trials: int) -> Interval:
    """Return the exact 95 % interval of a share (C. J. Clopper and E. S. Pearson, Biometrika 26, 1934)."""
    interval = binomtest(successes, trials).proportion_ci(0.95, method="exact")
    return float(interval.low), float(interval.high)


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

    random = generator(0, Stream.BOOTSTRAP)
    found = bootstrap(
        (members, total), of_groups, paired=True, vectorized=True, n_resamples=RESAMPLES, method="percentile",
        random_state=random,
    ).confidence_interval  # fmt: skip
    return share, (float(found.low), float(found.high))
