"""Labelled images to train and to evaluate a network on.

`load` is the one way in: it turns a name, a split and, where the data set is not built in, a folder into
a checked `Dataset`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Final

from norsim.data import cifar10, digits
from norsim.data.dataset import Dataset
from norsim.errors import DataError

__all__ = ["DATASETS", "Dataset", "load"]

Loader = Callable[[str, Path | None], Dataset]

# Read-only, so that no caller can change what a name means for the rest of the process.
DATASETS: Final = MappingProxyType[str, Loader]({digits.NAME: digits.load, cifar10.NAME: cifar10.load})


def load(name: str, split: str, folder: Path | None = None) -> Dataset:
    """The split `train` or `test` of the data set called `name`.

    `digits` is built in and takes no folder; `cifar10` is read from `folder`. The result holds images
    uint8 [images, channels, height, width] and labels int64 [images]. Raises DataError for an unknown
    name or split, a folder that is missing or not wanted, and data that cannot be read.
    """
    loader = DATASETS.get(name)
    if loader is None:
        raise DataError(_unknown(name))
    return loader(split, folder)


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), DATASETS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "name one of these."
    return f"there is no data set {name!r}, expected one of {', '.join(sorted(DATASETS))}: {hint}"
