"""Handwritten digits from scikit-learn: a real data set without a download.

There are 1,797 images of 8x8 pixels with 17 grey levels (0 to 16), the test part of the UCI set
"Optical Recognition of Handwritten Digits", as `sklearn.datasets.load_digits` returns it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from norsim.data.dataset import Dataset, Images, Labels, check_split
from norsim.errors import DataError

NAME = "digits"
CLASSES = tuple(str(digit) for digit in range(10))
FULL_SCALE = 16
TEST_IMAGES = 360
SPLIT_SEED = 0


def load(split: str, folder: Path | None = None) -> Dataset:
    """Return one split of the digits: images uint8 [images, 1, 8, 8] of 0..16, labels int64 [images] of 0..9.

    The split is fixed and stratified by class: scikit-learn's `train_test_split` with random_state=0 puts
    1,437 images into `train` and 360 into `test`. Raises DataError for another split, or if a folder is
    given, since the data come with scikit-learn.
    """
    check_split(NAME, split)
    if folder is not None:
        raise DataError(
            f"data set {NAME!r} was given the folder {folder}, expected none because it comes with "
            "scikit-learn, so leave out the folder or name another data set."
        )
    images, labels = _read(split)
    source = f"digits, load_digits of scikit-learn, stratified split with random_state {SPLIT_SEED}"
    return Dataset(NAME, split, images, labels, CLASSES, FULL_SCALE, source)


def _read(split: str) -> tuple[Images, Labels]:
    # Imported here because it takes seconds, which only this data set needs.
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]
    from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]

    pixels, target = load_digits(return_X_y=True)
    train, test = train_test_split(
        np.arange(len(target)), test_size=TEST_IMAGES, random_state=SPLIT_SEED, stratify=target
    )
    chosen = train if split == "train" else test
    return pixels[chosen].astype(np.uint8).reshape(-1, 1, 8, 8), target[chosen].astype(np.int64)
