"""Several chips: coverage of the interval of their mean, and special cases."""

from __future__ import annotations

import numpy as np
import pytest

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
    assert one.sigma == pytest.approx(np.std(one.accuracies, ddof=1))


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


def test_the_yield_is_a_share_of_chips_with_wilsons_interval() -> None:
    right = np.zeros((4, 10), dtype=bool)
    for chip, good in enumerate((9, 8, 7, 8)):
        right[chip, :good] = True
    above = compare_chips(right).above(0.8)
    assert above["share"] == 0.75 and above["accuracy"] == 0.8
    assert above["ci95"] == (pytest.approx(0.3006, abs=1e-4), pytest.approx(0.9544, abs=1e-4))
