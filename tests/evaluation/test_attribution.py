"""Losses paired by image, and their attribution to causes."""

from __future__ import annotations

import numpy as np
import pytest

from norsim.evaluation.attribution import attribute, paired_loss

LABELS = np.zeros(100, dtype=np.int64)


def right(*spans: tuple[int, int]) -> np.ndarray:
    """Return `[100]` classes that are correct on the images in `spans`."""
    found = np.ones(100, dtype=np.int64)
    for first, last in spans:
        found[first:last] = 0
    return found


def test_a_loss_counts_the_images_that_only_one_classifies_correctly() -> None:
    found = paired_loss(right((0, 80)), right((5, 82)), LABELS)
    assert found.points == pytest.approx(3.0)  # 5 lost, 2 gained
    # Agresti and Min by hand: 5.5 and 2.5 of 102 in the two off-diagonal cells.
    middle = 3 / 102
    spread = 1.959964 * np.sqrt(8 / 102 - middle**2) / np.sqrt(102)
    assert found.ci95 == pytest.approx((100 * (middle - spread), 100 * (middle + spread)), rel=1e-6)


def test_equal_classes_lose_nothing_and_the_interval_contains_zero() -> None:
    found = paired_loss(right((0, 90)), right((0, 90)), LABELS)
    assert found.points == 0 and found.ci95[0] < 0 < found.ci95[1]


def test_the_interval_has_its_nominal_coverage() -> None:
    random = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        before, after = random.random((2, 300)) < [[0.9], [0.86]]
        low, high = paired_loss(
            1 - before.astype(np.int64), 1 - after.astype(np.int64), np.zeros(300, dtype=np.int64)
        ).ci95
        held += low <= 4.0 <= high
    assert 0.92 <= held / 400 <= 0.985


def test_causes_that_do_not_interact_add_up() -> None:
    spans = {"wires": (0, 4), "converter": (4, 10)}

    def answer(on: frozenset[str]) -> np.ndarray:
        found = right((0, 100))
        for name in on:
            found[slice(*spans[name])] = 1
        return found

    found = attribute(tuple(spans), answer, right((0, 100)), right((0, 100)), LABELS)
    assert [share.alone.points for share in found.shares] == pytest.approx([4.0, 6.0])
    assert [share.without.points for share in found.shares] == pytest.approx([4.0, 6.0])
    assert found.array.points == pytest.approx(10.0) and found.base.points == 0
    assert found.quantization is not None and found.quantization.points == 0
    assert found.remainder.points == pytest.approx(0.0, abs=1e-9) and found.adds_up


def test_causes_that_only_matter_together_do_not_add_up() -> None:
    def answer(on: frozenset[str]) -> np.ndarray:
        return right((0, 60)) if len(on) == 2 else right((0, 100))

    found = attribute(("wires", "converter"), answer, right((0, 100)), None, LABELS)
    assert found.remainder.points == pytest.approx(40.0) and not found.adds_up
    assert found.quantization is None
    assert found.shares[0].alone.points == 0 and found.shares[0].without.points == pytest.approx(40.0)
