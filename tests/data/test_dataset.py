"""Validation of a Dataset, and its subsets."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from norsim.data import Dataset
from norsim.errors import DataError


def small(count: int = 20, **changes: Any) -> Dataset:
    """A data set of `count` 1x2x2 images, with the value i in every pixel of image i."""
    fields: dict[str, Any] = {
        "name": "small",
        "split": "test",
        "images": np.repeat(np.arange(count, dtype=np.uint8), 4).reshape(count, 1, 2, 2),
        "labels": np.arange(count, dtype=np.int64) % 3,
        "classes": ("a", "b", "c"),
        "full_scale": 255,
        "source": "made for this test",
    }
    return Dataset(**(fields | changes))


def test_first_images() -> None:
    part = small().take(5)
    assert part.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert part.labels.tolist() == [0, 1, 2, 0, 1]
    assert (part.name, part.split, part.source, len(part)) == ("small", "test", "made for this test", 5)


def test_random_subset_is_seeded_sorted_and_without_repeats() -> None:
    part = small().take(12, np.random.default_rng(3))
    chosen = part.images[:, 0, 0, 0].astype(np.int64)
    assert (np.diff(chosen) > 0).all()
    assert chosen.tolist() != list(range(12))
    assert np.array_equal(part.labels, chosen % 3)
    assert np.array_equal(part.images, small().take(12, np.random.default_rng(3)).images)
    assert not np.array_equal(part.images, small().take(12, np.random.default_rng(4)).images)


@pytest.mark.parametrize("generator", [None, np.random.default_rng(0)])
def test_all_images_may_be_taken(generator: np.random.Generator | None) -> None:
    assert np.array_equal(small().take(20, generator).images, small().images)


@pytest.mark.parametrize("count", [21, 0, -1])
def test_impossible_counts_name_both_numbers(count: int) -> None:
    with pytest.raises(DataError, match=rf"{count} images were requested, expected 1 to 20\."):
        small().take(count)
    with pytest.raises(DataError, match=rf"{count} images were requested, expected 1 to 20\."):
        small().take(count, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((20, 1, 2, 2))}, r"images are float64 of shape \(20, 1, 2, 2\), expected uint8"),
        ({"images": np.zeros((20, 4), np.uint8)}, r"images are uint8 of shape \(20, 4\), expected uint8"),
        ({"images": np.zeros((0, 1, 2, 2), np.uint8)}, "are empty"),
        ({"labels": np.zeros(20, np.int32)}, r"labels are int32 of shape \(20,\), expected int64"),
        ({"labels": np.zeros(19, np.int64)}, r"labels are int64 of shape \(19,\), expected int64"),
        ({"labels": np.full(20, 3)}, "labels run from 3 to 3, expected 0 to 2"),
        ({"labels": np.full(20, -1)}, "labels run from -1 to -1, expected 0 to 2"),
        ({"classes": ()}, "for its 0 classes"),
        ({"full_scale": 18}, "largest pixel is 19 with a full scale of 18"),
        ({"full_scale": 256}, "a full scale of 256"),
        ({"source": ""}, "expected one line"),
        ({"source": "two\nlines"}, "expected one line"),
    ],
)
def test_inconsistent_fields_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        small(**changes)


def test_fields_cannot_be_replaced() -> None:
    with pytest.raises(FrozenInstanceError):
        small().full_scale = 1  # type: ignore[misc]
