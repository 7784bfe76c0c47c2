"""Several chips: coverage of the interval of their mean, bias of their spread, yield, and special cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from norsim.evaluation.chips import compare_chips


def drawn(chips: int, images: int, chip_sigma: float, random: np.random.Generator) -> np.ndarray:
    """Draw images of random difficulty and chips of random quality."""
    hard = random.normal(1.2, 0.8, images)
    good = random.normal(0.0, chip_sigma, (chips, 1))
    return np.asarray(random.normal(0.0, 0.5, (chips, images)) < hard + good)


@pytest.mark.parametrize(("chips", "chip_sigma"), [(4, 0.0), (4, 0.3), (12, 0.3)])
def test_the_interval_covers_the_mean_of_all_chips_and_images(chips: int, chip_sigma: float) -> None:
    random = np.random.default_rng(0)
    truth = drawn(400, 4000, chip_sigma, random).mean()
    found = [compare_chips(drawn(chips, 200, chip_sigma, random)) for _ in range(400)]
    covered = np.mean([one.ci95[0] <= truth <= one.ci95[1] for one in found])
    # Equal chips do not contribute; with only four different ones, the interval is rough.
    assert 0.91 <= covered <= 0.995


def test_the_interval_of_either_source_is_within_that_of_both() -> None:
    one = compare_chips(drawn(10, 300, 0.3, np.random.default_rng(1)))
    whole, chips, images = (high - low for low, high in (one.ci95, one.ci95_chips, one.ci95_images))
    assert whole >= max(chips, images)


def test_equal_chips_leave_the_interval_of_the_images() -> None:
    right = np.tile(np.random.default_rng(2).random(1000) < 0.9, (5, 1))
    found = compare_chips(right)
    mean = right[0].mean()
    half = 1.96 * np.sqrt(mean * (1 - mean) / 1000)
    assert found.sigma == 0 and found.ci95_chips == (pytest.approx(mean), pytest.approx(mean))
    assert found.ci95 == (pytest.approx(mean - half, rel=1e-3), pytest.approx(mean + half, rel=1e-3))


def test_if_all_images_are_correct_the_interval_is_that_of_one_chip() -> None:
    """Wilson's interval, whose lower end is n / (n + z^2) if all n are correct; the spread between chips is 0."""
    found = compare_chips(np.ones((3, 50), dtype=bool))
    assert found.ci95 == found.ci95_images == (pytest.approx(50 / (50 + 1.959964**2)), 1.0)
    assert found.accuracies == (1.0, 1.0, 1.0) and found.sigma == 0 and found.ci95_chips == (1.0, 1.0)


def test_the_spread_is_that_of_a_two_way_table_by_hand() -> None:
    """Four images and three chips; mean squares from their definition."""
    right = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]], dtype=bool)
    found = compare_chips(right)
    # Chips 0.75, 0.25, 0.5; images 1, 2/3, 1/3, 0; mean 0.5.
    assert found.mean_square_chips == pytest.approx(4 * (0.25**2 + 0.25**2) / 2)
    assert found.mean_square_images == pytest.approx(3 * 2 * (0.5**2 + (1 / 6) ** 2) / 3)
    left = right - right.mean(axis=1)[:, None] - right.mean(axis=0) + 0.5
    assert found.mean_square_residual == pytest.approx((left**2).sum() / 6)
    assert found.sigma == pytest.approx(np.sqrt((0.25 - (left**2).sum() / 6) / 4))


def quality(chip_sigma: float) -> tuple[np.ndarray, float]:
    """Return the accuracies of many chips on infinitely many images of `drawn`, and their standard deviation."""
    good = np.random.default_rng(9).normal(0.0, chip_sigma, 100_000)
    accuracies = norm.cdf((1.2 + good) / np.hypot(0.8, 0.5))
    return accuracies, float(accuracies.std()) if chip_sigma else 0.0


@pytest.mark.parametrize(("chips", "chip_sigma"), [(10, 0.0), (10, 0.1), (5, 0.2)])
def test_the_spread_has_no_bias_and_its_interval_covers_it(chips: int, chip_sigma: float) -> None:
    """The raw standard deviation of accuracies also counts the images that each chip happens to get right."""
    random, images = np.random.default_rng(3), 300
    truth = quality(chip_sigma)[1]
    found = [compare_chips(drawn(chips, images, chip_sigma, random)) for _ in range(200)]
    squares = [(one.mean_square_chips - one.mean_square_residual) / images for one in found]
    # The mean of the estimates is the variance within three of its standard errors.
    assert abs(np.mean(squares) - truth**2) < 3 * np.std(squares) / np.sqrt(200)
    raw = [np.std(one.accuracies, ddof=1) for one in found]
    assert np.mean(np.square(raw)) > truth**2 + 1e-4
    covered = np.mean([one.sigma_ci95[0] <= truth + 1e-12 and truth <= one.sigma_ci95[1] for one in found])
    assert 0.89 <= covered <= 1.0, covered
    if chip_sigma == 0:
        # A negative estimate is 0, which half of them are.
        assert 0.35 <= np.mean([one.sigma == 0 for one in found]) <= 0.75


@pytest.mark.parametrize(("chip_sigma", "least"), [(0.0, 0.88), (0.1, 0.90), (0.2, 0.89)])
def test_the_modelled_yield_covers_the_share_of_all_chips(chip_sigma: float, least: float) -> None:
    """Ten chips on 300 images: their counted share falls short where chance of the images makes some look bad."""
    random = np.random.default_rng(4)
    truth = float((quality(chip_sigma)[0] >= least).mean())
    found = [compare_chips(drawn(10, 300, chip_sigma, random)).above(least) for _ in range(200)]
    covered = np.mean([one["model_ci95"][0] - 1e-9 <= truth <= one["model_ci95"][1] + 1e-9 for one in found])
    assert 0.87 <= covered <= 1.0, covered
    assert all(one["model_ci95"][0] <= one["model_share"] <= one["model_ci95"][1] for one in found)


def test_the_yield_is_a_share_of_chips_with_wilsons_interval() -> None:
    right = np.zeros((4, 10), dtype=bool)
    for chip, good in enumerate((9, 8, 7, 8)):
        right[chip, :good] = True
    found = compare_chips(right)
    above = found.above(0.8)
    assert above["share"] == 0.75 and above["accuracy"] == 0.8
    assert above["ci95"] == (pytest.approx(0.3006, abs=1e-4), pytest.approx(0.9544, abs=1e-4))
    # A normal distribution around 0.8.
    assert found.sigma > 0 and above["model_share"] == pytest.approx(0.5)
    assert found.above(0.9)["model_share"] == pytest.approx(norm.sf(0.1 / found.sigma))


def test_without_any_variation_the_count_stands_for_the_model() -> None:
    above = compare_chips(np.ones((4, 50), dtype=bool)).above(0.9)
    assert above["model_share"] == above["share"] == 1.0
    assert above["model_ci95"] == above["ci95"] == (pytest.approx(4 / (4 + 1.959964**2)), 1.0)


def test_equal_chips_reach_a_bound_together() -> None:
    """Without a spread, the images alone make the yield uncertain."""
    right = np.tile(np.random.default_rng(2).random(1000) < 0.9, (5, 1))
    low, same = compare_chips(right).above(0.5), compare_chips(right).above(float(right[0].mean()))
    assert low["model_share"] == 1.0 and low["model_ci95"] == (1.0, 1.0)
    assert same["model_share"] == 1.0 and same["model_ci95"] == (0.0, 1.0)
