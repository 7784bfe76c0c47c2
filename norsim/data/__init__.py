"""Labelled images to train and to evaluate a network on.

`load` is the only entry point: it takes a name, a split and, for some data sets, a folder, and returns a validated
`Dataset`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from norsim.data import cifar10, digits, function, npz
from norsim.data import folder as class_folder
from norsim.data.class_folders import listing
from norsim.data.dataset import Dataset
from norsim.errors import DataError, suggestion
from norsim.user_code import is_code

__all__ = ["DATASETS", "Dataset", "load"]

Loader = Callable[[str, Path | None], Dataset]

# Read-only, so that no caller can change a data set for the rest of the process.
DATASETS: Final = MappingProxyType[str, Loader]({digits.NAME: digits.load, cifar10.NAME: cifar10.load})


def load(name: str, split: str, folder: Path | None = None) -> Dataset:
    """Return the split `train` or `test` of the data set `name`.

    `digits` is built in and takes no folder; `cifar10` is read from `folder`. The name of a user-supplied data set is a
    folder of images by class, a file NAME.npz, or FILE.py:FUNCTION, which is executed. The result has images uint8
    [images, channels, height, width] and labels int64 [images]. Raises DataError for an unknown name or split, a
    missing or unexpected folder, and unreadable data.
    """
    loader = DATASETS.get(name)
    if loader is not None:
        return loader(split, folder)
    with listing(Path(name)):
        supplied = _user_supplied(name)
    if supplied is None:
        raise DataError(_unknown(name))
    if folder is not None:
        raise DataError(f"data set {name!r} is a path already, so leave out the folder {folder}.")
    return supplied(split)


def _user_supplied(name: str) -> Callable[[str], Dataset] | None:
    """Return the loader of a user-supplied data set; None if the name cannot be one."""
    if is_code(name):
        return partial(function.load, name)
    if name.lower().endswith(npz.SUFFIX):
        return partial(npz.load, Path(name))
    if name and (Path(name).is_dir() or Path(name).name != name):
        return partial(class_folder.load, Path(name))
    return None


def _unknown(name: str) -> str:
    own = "Your own data set is a folder of images by class, NAME.npz or FILE.py:FUNCTION"
    return f"there is no data set {name!r}; {suggestion(name, sorted(DATASETS))}. {own}"
