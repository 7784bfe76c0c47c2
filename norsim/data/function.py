"""User-supplied data sets: a function in a Python file, FILE.py:FUNCTION, called with `train` or `test`.

It returns a torch.utils.data.Dataset of finite size: `len(data)`, and `data[i]` is (image, label). This module does not
import torch: tensors, arrays and Pillow images all convert to arrays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from norsim.data.arrays import bytes_of, checked, images_of, number_classes
from norsim.data.dataset import Dataset, check_split
from norsim.errors import ConfigurationError, DataError
from norsim.user_code import absolute, call_code, guarded, once


def load(reference: str, split: str) -> Dataset:
    """Read the whole data set that the function returns for `split`, once in a process. The file is executed, so it
    must be trusted.

    An image is `[h, w]`, `[channels, h, w]` or `[h, w, channels]`, of uint8 or of real numbers n / 255. Class names
    come from the attribute `classes`, if there is one. Raises ConfigurationError if the code fails or returns something
    else, DataError if an image or label does not fit.
    """
    name = absolute(reference)
    check_split(name, split)
    found: Dataset = once(name, split, lambda: _read(reference, name, split))
    return found


def _read(reference: str, name: str, split: str) -> Dataset:
    data = call_code(name, split)
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        raise ConfigurationError(
            f"{reference} returned {type(data).__name__} for {split!r}, expected a torch.utils.data.Dataset: an object "
            "with a length that returns (image, label) for each index."
        )
    pairs = guarded(name, lambda: [_pair(data[index]) for index in range(len(data))])
    where = f"{reference}, {split}"
    if not pairs:
        raise DataError(f"{where}: there is no image, expected at least one.")
    images = [bytes_of(image, f"{where}, image {index}") for index, (image, _) in enumerate(pairs)]
    for index, image in enumerate(images):
        if image.shape != images[0].shape:
            raise DataError(f"{where}, image {index} has shape {image.shape}, the first {images[0].shape}.")
    labels = np.array([label for _, label in pairs], dtype=np.int64)
    names = guarded(name, lambda: getattr(data, "classes", None))
    named = isinstance(names, list | tuple) and all(isinstance(text, str) for text in names)
    classes = tuple(names) if named and names else number_classes([labels], where)
    return checked(name, split, images_of(np.stack(images), where), labels, classes, 255,
                   f"function {Path(name).name!r}")  # fmt: skip


def _pair(item: Any) -> tuple[Any, int]:
    image, label = item
    return np.asarray(image), int(label)
