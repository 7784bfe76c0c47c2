"""Confidence intervals, 95 % unless stated otherwise."""

from __future__ import annotations

from scipy.stats import binomtest

NORMAL_95 = 1.959963984540054

Interval = tuple[float, float]


def wilson(successes: int, trials: int) -> Interval:
    """Return Wilson's 95 % interval of a share (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
