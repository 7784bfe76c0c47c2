"""Data sets in folders of images by class: train/CLASS and test/CLASS with PNG or JPEG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from norsim.data.arrays import checked
from norsim.data.class_folders import list_images, listing
from norsim.data.dataset import Dataset, check_split
from norsim.data.decoding import EncodedImage, decode, form_of
from norsim.errors import DataError


def load(folder: Path, split: str) -> Dataset:
    """Return one split. The folders of `train` are the classes, in the order of their names.

    The first image of `train` sets the size of all, and whether they are grey: `[images, 1 or 3, height, width]`.
    Raises DataError naming the folder or image that is missing or does not fit.
    """
    name = str(folder.resolve())
    check_split(name, split)
    with listing(folder):
        if not folder.is_dir():
            raise DataError(
                f"{folder} is not a folder, expected one with train/CLASS and test/CLASS with images in it."
            )
        classes = _classes(folder / "train")
    form = form_of(_read(list_images(folder / "train", classes)[0].path))
    files = list_images(folder / split, classes)
    images = decode([_read(file.path) for file in files], form).images
    labels = np.array([file.label for file in files], dtype=np.int64)
    return checked(name, split, images, labels, classes, 255, f"folder {folder.resolve().name!r} of images by class")


def _classes(train: Path) -> tuple[str, ...]:
    if not train.is_dir():
        raise DataError(f"{train} is missing, expected train/CLASS and test/CLASS with images in them.")
    found = tuple(sorted(path.name for path in train.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if not found:
        raise DataError(f"{train} has no folders, expected one per class, with images in it.")
    return found


def _read(path: Path) -> EncodedImage:
    try:
        return EncodedImage(str(path), path.read_bytes())
    except OSError as cause:
        raise DataError(f"{path} cannot be read: {cause.strerror}.") from None
