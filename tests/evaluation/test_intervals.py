"""Intervals of shares: exact ones, and by bootstrap over groups of dependent members."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from norsim.evaluation.intervals import clopper_pearson, share_over_groups


def test_the_exact_interval_is_that_of_the_beta_distribution() -> None:
    assert clopper_pearson(3, 20) == pytest.approx((beta.ppf(0.025, 3, 18), beta.ppf(0.975, 4, 17)), rel=1e-9)
    assert clopper_pearson(0, 59) == pytest.approx((0.0, 1 - 0.025 ** (1 / 59)))


def test_members_of_a_group_that_agree_widen_the_interval() -> None:
    """200 outputs in 20 reads: if all outputs of a read are alike, there are 20 observations and not 200."""
    alike = share_over_groups([10] * 4 + [0] * 16, [10] * 20)
    apart = share_over_groups([2] * 20, [10] * 20)
    assert alike[0] == apart[0] == 0.2
    low, high = alike[1]
    # The standard error of 4 in 20 is 0.089.
    assert low == pytest.approx(0.2 - 1.96 * 0.089, abs=0.04) and high == pytest.approx(0.2 + 1.96 * 0.089, abs=0.04)
    assert apart[1] == pytest.approx((0.2, 0.2)), "all reads have the same share"
    assert share_over_groups([1], [4]) == (0.25, (0.0, 1.0))
    assert share_over_groups([0] * 10, [4] * 10) == (0.0, pytest.approx((0.0, 1 - 0.025**0.1)))
    assert share_over_groups([4] * 10, [4] * 10) == (1.0, pytest.approx((0.025**0.1, 1.0)))


def test_the_interval_covers_the_truth() -> None:
    """60 reads of 16 outputs that are correlated within a read: 95 % within sampling error of 100 repetitions."""
    random, covered = np.random.default_rng(0), 0
    for _ in range(100):
        shares = random.beta(0.6, 2.4, 60)
        low, high = share_over_groups(random.binomial(16, shares).tolist(), [16] * 60)[1]
        covered += low <= 0.2 <= high
    assert 0.87 <= covered / 100 <= 1
