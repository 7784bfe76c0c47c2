"""Intervals against exact distributions; bootstraps over images, and over groups of dependent members."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import beta

from norsim.evaluation.intervals import (
    RESAMPLES,
    clopper_pearson,
    ends,
    resampled_means,
    share_over_groups,
    widened,
    wilson,
)


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


def test_wilsons_interval_by_hand() -> None:
    """All of 10 correct: from n / (n + z^2) to 1."""
    assert wilson(10, 10) == (pytest.approx(10 / (10 + 1.959964**2)), pytest.approx(1.0))


def test_means_of_zeros_and_ones_over_resampled_images_have_a_beta_distribution() -> None:
    """The weights of 30 of 200 images are Beta(30, 170); its quantiles within the chance of 2,000 draws."""
    values = np.zeros((1, 200))
    values[0, :30] = 1
    drawn = resampled_means(values)[:, 0]
    exact = beta(30, 170)
    assert drawn.shape == (RESAMPLES,)
    assert drawn.mean() == pytest.approx(0.15, abs=4 * exact.std() / math.sqrt(RESAMPLES))
    assert drawn.std() == pytest.approx(exact.std(), rel=0.07)
    for confidence in (0.95, 0.90):
        low, high = ends(drawn, confidence)
        assert low == pytest.approx(exact.ppf((1 - confidence) / 2), abs=0.2 * exact.std())
        assert high == pytest.approx(exact.ppf((1 + confidence) / 2), abs=0.2 * exact.std())


def test_the_prior_gives_images_without_a_change_an_interval() -> None:
    """Half an image lost, half a one gained, one neither: a Dirichlet distribution, here with 200 equal images.

    The difference of shares a and b of (1/2, 1/2, n + 1) has the mean 0 and the variance 1 / ((n + 2) (n + 3)).
    """
    drawn = resampled_means(np.zeros((1, 200)), largest=1.0)[:, 0]
    deviation = 1 / math.sqrt(202 * 203)
    assert drawn.mean() == pytest.approx(0.0, abs=4 * deviation / math.sqrt(RESAMPLES))
    assert drawn.std() == pytest.approx(deviation, rel=0.15)
    low, high = ends(drawn)
    assert low < -deviation and high > deviation
    assert ends(resampled_means(np.zeros((1, 200)))[:, 0]) == (0.0, 0.0)


def test_quantities_share_the_weights_of_the_images() -> None:
    """So equal quantities have equal means, and a sum is the sum of its parts."""
    first, second = np.random.default_rng(0).normal(size=(2, 50))
    drawn = resampled_means(np.stack([first, second, first + second, first]))
    assert np.allclose(drawn[:, 0] + drawn[:, 1], drawn[:, 2]) and np.array_equal(drawn[:, 0], drawn[:, 3])
    assert np.array_equal(drawn, resampled_means(np.stack([first, second, first + second, first])))


def test_many_images_are_resampled_in_blocks() -> None:
    found = resampled_means(np.ones((2, 30_000)))
    assert found.shape == (RESAMPLES, 2) and np.allclose(found, 1.0)


def test_a_t_interval_is_added_in_quadrature() -> None:
    """Samples 1, 2, 3: the half width is 4.3027 (t of 2 degrees of freedom) / sqrt(3)."""
    half = 4.302652729911275 / math.sqrt(3)
    low, high = widened(2.0, (1.0, 5.0), np.array([1.0, 2.0, 3.0]))
    assert low == pytest.approx(2 - math.hypot(1, half)) and high == pytest.approx(2 + math.hypot(3, half))
