"""Conversion of user-supplied images and labels to a Dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from norsim.data.dataset import Dataset, Images, Labels
from norsim.errors import DataError

# Numbers of channels.
COLOURS = (1, 3)
STEPS = 255
MOST_CLASSES = 65536
# What comes before the hash in a source.
HASH = ", SHA-256 "


def images_of(array: npt.NDArray[Any], where: str) -> Images:
    """Convert uint8 `[images, h, w]`, `[images, channels, h, w]` or `[images, h, w, channels]` to the second of these.

    Channels are the last axis if that has size 1 or 3 and the second has not. Raises DataError, starting with `where`,
    for another type or number of axes.
    """
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        raise DataError(
            f"{where}: images are {array.dtype} of shape {array.shape}, expected uint8 [images, height, width], "
            "[images, channels, height, width] or [images, height, width, channels]."
        )
    if array.ndim == 3:
        return np.ascontiguousarray(array[:, None])
    if array.shape[3] in COLOURS and array.shape[1] not in COLOURS:
        array = array.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(array)


def labels_of(array: npt.NDArray[Any], where: str) -> Labels:
    """Convert integer labels `[images]` to int64; DataError for others."""
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise DataError(f"{where}: labels are {array.dtype} of shape {array.shape}, expected integers [images].")
    return array.astype(np.int64)


def bytes_of(image: npt.NDArray[Any], where: str) -> Images:
    """Convert an image of any shape to uint8: real numbers must be n / 255 and become n. DataError for others."""
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind == "f" and np.isfinite(image).all():
        steps = np.rint(image * STEPS)
        if steps.min(initial=0) >= 0 and steps.max(initial=0) <= STEPS and np.abs(image * STEPS - steps).max() < 1e-3:
            exact: Images = steps.astype(np.uint8)
            return exact
    raise DataError(
        f"{where}: pixels are {image.dtype} that are not 0/255, 1/255, ... 255/255, expected uint8 or those. "
        "Normalise in the network, by its mean and standard deviation, and resize images in advance."
    )


def number_classes(labels: Sequence[Labels], where: str) -> tuple[str, ...]:
    """Return the class numbers as names, up to the largest of the labels `[images]`.

    Raises DataError for a label of 65536 or more.
    """
    largest = max(int(part.max(initial=0)) for part in labels)
    if largest >= MOST_CLASSES:
        raise DataError(f"{where}: labels go up to {largest}, expected at most {MOST_CLASSES} classes.")
    return tuple(str(number) for number in range(largest + 1))


def checked(name: str, split: str, images: Images, labels: Labels, classes: tuple[str, ...], full_scale: int,
            about: str) -> Dataset:  # fmt: skip
    """Return a Dataset of images `[n, channels, height, width]` and labels `[n]`; its source is `about` and a hash.

    Raises DataError if they are invalid.
    """
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()[:16]
    return Dataset(name, split, images, labels, classes, full_scale, f"{about}{HASH}{digest}")


def same_source(kept: str, found: str) -> bool:
    """Return whether the source of a data set is the one that was kept.

    Sources of CIFAR-10 had no hash up to version 0.1; one that was kept then is compared by its text.
    """
    return kept == (found if HASH in kept else found.partition(HASH)[0])
