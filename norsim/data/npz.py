"""Data sets in one NumPy file, NAME.npz.

It has the arrays `train_images`, `train_labels`, `test_images` and `test_labels`. Images are uint8, in the shapes of
`norsim.data.arrays.images_of`; labels are integers from 0. Optional arrays are `classes`, strings in the order of
labels, and `full_scale`, the pixel value that means 1.0 (default 255).
"""

from __future__ import annotations

import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from norsim.data.arrays import checked, images_of, labels_of, number_classes
from norsim.data.dataset import Dataset, check_split
from norsim.errors import DataError

SUFFIX = ".npz"
LARGEST_BYTES = 8 * 2**30


def load(path: Path, split: str) -> Dataset:
    """Return one split of the data set in the file at `path`; no code in it is executed.

    Raises DataError naming the file if it cannot be read or does not have the arrays above.
    """
    name = str(path.resolve())
    check_split(name, split)
    try:
        with zipfile.ZipFile(path) as archive:
            pixels = _array(archive, path, f"{split}_images")
            given = {one: _array(archive, path, f"{one}_labels") for one in ("train", "test")}
            members = archive.namelist()
            classes = _array(archive, path, "classes") if "classes.npy" in members else None
            scale = _array(archive, path, "full_scale") if "full_scale.npy" in members else np.array(255)
    except DataError:
        raise
    except OSError as cause:
        raise DataError(f"{path} cannot be read: {cause.strerror or cause}.") from None
    # zipfile, zlib and NumPy raise anything on a damaged file.
    except Exception as cause:
        raise DataError(
            f"{path}: this is not a readable npz file ({type(cause).__name__}: {cause}), expected one written by "
            "numpy.savez."
        ) from None
    images = images_of(pixels, f"{path}, {split}_images")
    labels = {one: labels_of(array, f"{path}, {one}_labels") for one, array in given.items()}
    names = number_classes(list(labels.values()), str(path)) if classes is None else _texts(classes, path)
    if scale.dtype.kind not in "iu" or scale.ndim:
        raise DataError(f"{path}: full_scale is {scale.dtype} of shape {scale.shape}, expected one integer.")
    return checked(name, split, images, labels[split], names, int(scale),
                   f"npz file {path.name!r}")  # fmt: skip


def _array(archive: zipfile.ZipFile, path: Path, key: str) -> npt.NDArray[Any]:
    """Read one array; its header is checked against the member's size before memory is allocated."""
    try:
        member = archive.getinfo(f"{key}.npy")
    except KeyError:
        held = ", ".join(name.removesuffix(".npy") for name in archive.namelist()[:8]) or "nothing"
        raise DataError(
            f"{path} has {held}, expected the arrays train_images, train_labels, test_images and test_labels."
        ) from None
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read is None:
            raise DataError(f"{path}, {key}: NumPy format {version}, expected 1.0 or 2.0.")
        shape, _, dtype = read(file)
        size = prod(shape) * dtype.itemsize
        if dtype.hasobject or min(shape, default=0) < 0 or size + file.tell() != member.file_size:
            raise DataError(f"{path}, {key}: {dtype} of shape {shape} does not fit its {member.file_size} bytes.")
        if size > LARGEST_BYTES:
            raise DataError(f"{path}, {key}: {size} bytes, expected at most {LARGEST_BYTES}.")
    with archive.open(member) as file:
        array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _texts(array: npt.NDArray[Any], path: Path) -> tuple[str, ...]:
    if array.dtype.kind != "U" or array.ndim != 1:
        raise DataError(f"{path}: classes are {array.dtype} of shape {array.shape}, expected strings [classes].")
    return tuple(str(text) for text in array)
