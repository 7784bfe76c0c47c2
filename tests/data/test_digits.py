"""The digits data set, and the lookup of data sets by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

from norsim.data import DATASETS, load
from norsim.errors import DataError


@pytest.mark.parametrize(("split", "count"), [("train", 1437), ("test", 360)])
def test_split_sizes_and_form(split: str, count: int) -> None:
    digits = load("digits", split)
    assert (digits.name, digits.split, len(digits)) == ("digits", split, count)
    assert digits.images.shape == (count, 1, 8, 8)
    assert digits.images.dtype == np.uint8
    assert digits.labels.dtype == np.int64
    assert digits.full_scale == 16 == digits.images.max()
    assert digits.classes == tuple("0123456789")
    assert "scikit-learn" in digits.source


def test_splits_share_out_all_images_with_their_labels() -> None:
    pixels, target = load_digits(return_X_y=True)
    parts = [load("digits", split) for split in ("train", "test")]
    found = sorted(
        (image.tobytes(), int(label)) for part in parts for image, label in zip(part.images, part.labels, strict=True)
    )
    expected = zip((row.astype(np.uint8).tobytes() for row in pixels), target.tolist(), strict=True)
    assert found == sorted(expected)


def test_split_is_stratified_and_repeats() -> None:
    test = load("digits", "test")
    share = np.bincount(load_digits().target) * 360 / 1797
    assert np.abs(np.bincount(test.labels) - share).max() < 1
    assert np.array_equal(test.images, load("digits", "test").images)


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"comes with scikit-learn, so leave out the folder"):
        load("digits", "test", tmp_path)


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_unknown_split_is_refused_by_every_data_set(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no split 'validation', expected one of train, test"):
        load(name, "validation", None if name == "digits" else tmp_path)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("digit", "did you mean 'digits'\\? Known"),
        ("CIFAR-10", "did you mean 'cifar10'\\? Known"),
        ("xyz", "known"),
        ("", "known"),
    ],
)
def test_unknown_name_lists_the_known_ones(name: str, hint: str) -> None:
    with pytest.raises(DataError, match=rf"no data set '{name}'; {hint}: cifar10, digits\."):
        load(name, "test")


def test_table_of_data_sets_cannot_be_changed() -> None:
    assert sorted(DATASETS) == ["cifar10", "digits"]
    with pytest.raises(TypeError):
        DATASETS["other"] = DATASETS["digits"]  # type: ignore[index]
