"""Data sets in folders of images by class: train/CLASS and test/CLASS with PNG or JPEG files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from norsim.data.arrays import HASH
from norsim.data.class_folders import LabelledFile, list_images, listing
from norsim.data.dataset import Dataset, check_split
from norsim.data.decoding import EncodedImage, decode, form_of
from norsim.data.inputs.choice import Choice, everything
from norsim.data.photos import Transform, prepared
from norsim.errors import DataError

# A file with the names of all classes of a network, one a line, in the order of its scores.
NAMES = "classes.txt"


def load(folder: Path, split: str, choose: Choice = everything, transform: Transform | None = None) -> Dataset:
    """Return a choice of the images of one split; no other file is opened, but for the first one of `train`.

    The folders of `train` are the classes, in the order of their names, unless `classes.txt` names all classes in
    another order. The first image of `train` sets the size of all, and whether they are grey: `[images, 1 or 3, height,
    width]`. With a `transform`, photos of any size become colour images of its size. Raises DataError naming the folder
    or image that is missing or does not fit.
    """
    name = str(folder.resolve())
    check_split(name, split)
    with listing(folder):
        if not folder.is_dir():
            raise DataError(
                f"{folder} is not a folder, expected one with train/CLASS and test/CLASS with images in it."
            )
        classes = _classes(folder)
    files = list_images(folder / split, classes)
    indices = choose(len(files))
    chosen = [_read(files[index].path) for index in indices.tolist()]
    if transform is not None:
        images = prepared(chosen, transform)
    else:
        images = decode(chosen, form_of(_read(list_images(folder / "train", classes)[0].path))).images
    labels = np.array([files[index].label for index in indices.tolist()], dtype=np.int64)
    about = f"folder {folder.resolve().name!r} of {len(files)} images by class"
    how = "" if transform is None else f", {transform.name} transform"
    source = f"{about}{how}{HASH}{_digest(folder / split, files)} of their names and sizes"
    return Dataset(name, split, images, labels, classes, 255, source, len(files))


def _classes(folder: Path) -> tuple[str, ...]:
    """Return the names of the classes: those in classes.txt or, without it, those of the folders in `train`."""
    train, listed = folder / "train", folder / NAMES
    if not train.is_dir():
        raise DataError(f"{train} is missing, expected train/CLASS and test/CLASS with images in them.")
    found = tuple(sorted(path.name for path in train.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if not found:
        raise DataError(f"{train} has no folders, expected one per class, with images in it.")
    if not listed.is_file():
        return found
    try:
        names = tuple(listed.read_text(encoding="utf-8").split("\n"))
    except ValueError as problem:
        raise DataError(f"{listed} is no text of UTF-8 ({problem}), expected one name of a class per line.") from None
    names = tuple(name.strip() for name in names if name.strip())
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise DataError(f"{listed} has {repeated[0]} twice, expected each class once.")
    return names


def _digest(folder: Path, files: list[LabelledFile]) -> str:
    """Return a hash of the names and sizes of all files, for which none is opened."""
    found = hashlib.sha256()
    with listing(folder):
        for file in files:
            found.update(f"{file.path.relative_to(folder)} {file.path.stat().st_size}\n".encode())
    return found.hexdigest()[:16]


def _read(path: Path) -> EncodedImage:
    try:
        return EncodedImage(str(path), path.read_bytes())
    except OSError as cause:
        raise DataError(f"{path} cannot be read: {cause.strerror}.") from None
