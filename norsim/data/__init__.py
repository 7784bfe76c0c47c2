"""Data to train and to evaluate a network on.

`load` is the only entry point: it takes a name, a split and, for some data sets, a folder, and returns a validated
`Dataset` of labelled images, or `Samples` of any inputs and targets.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Final

from norsim.data import cifar10, digits, function, npz
from norsim.data import folder as class_folder
from norsim.data.class_folders import listing
from norsim.data.dataset import Dataset
from norsim.data.inputs.choice import Choice, everything
from norsim.data.inputs.samples import Samples
from norsim.data.photos import TRANSFORMS
from norsim.errors import DataError, suggestion
from norsim.user_code import is_code

__all__ = ["DATASETS", "Dataset", "Samples", "images_in", "load", "load_images"]

Loader = Callable[[str, Path | None], Dataset]

# Read-only, so that no caller can change a data set for the rest of the process.
DATASETS: Final = MappingProxyType[str, Loader]({digits.NAME: digits.load, cifar10.NAME: cifar10.load})


def load(
    name: str, split: str, folder: Path | None = None, choose: Choice = everything, transform: str | None = None
) -> Dataset | Samples:
    """Return samples of the split `train` or `test` of the data set `name`.

    `digits` is built in and takes no folder; `cifar10` is read from `folder`. The name of a user-supplied data set is a
    folder of images by class, a file NAME.npz, or FILE.py:FUNCTION, which is executed, and gets `folder` if there is
    one. `choose` says which samples are wanted, by their number: all, or those of norsim.data.inputs.choice; files and
    functions are read only for these. `transform` is a key of norsim.data.photos.TRANSFORMS, for photos in a folder.
    The result is a Dataset, with images uint8 [images, channels, height, width] and labels int64 [images], or, where a
    function returns anything else, Samples. Raises DataError for an unknown name, split or transform, a missing or
    unexpected folder, and unreadable data.
    """
    if transform is not None and transform not in TRANSFORMS:
        raise DataError(f"there is no transform {transform!r}; {suggestion(transform, sorted(TRANSFORMS))}")
    with listing(Path(name)):
        photos = name not in DATASETS and not is_code(name) and Path(name).is_dir()
    if transform is not None and not photos:
        raise DataError(f"data set {name!r} is no folder of photos, so it takes no transform {transform!r}.")
    if is_code(name):
        return function.load(name, split, folder, choose)
    loader = DATASETS.get(name)
    if loader is not None:
        return _chosen(loader(split, folder), choose)
    with listing(Path(name)):
        file, place = name.lower().endswith(npz.SUFFIX), bool(name) and (photos or Path(name).name != name)
    if not file and not place:
        raise DataError(_unknown(name))
    if folder is not None:
        raise DataError(f"data set {name!r} is a path already, so leave out the folder {folder}.")
    if file:
        return _chosen(npz.load(Path(name), split), choose)
    return class_folder.load(Path(name), split, choose, TRANSFORMS[transform] if transform else None)


def load_images(name: str, split: str, folder: Path | None = None) -> Dataset:
    """Return the images that `load` returns. Raises DataError unless each has one class."""
    return images_in(load(name, split, folder))


def images_in(data: Dataset | Samples) -> Dataset:
    """Return `data`. Raises DataError unless these are images with a class each."""
    if not isinstance(data, Dataset):
        raise DataError(
            f"data set {data.name!r} is not one of images with a class each, uint8 or real numbers n / 255 with an "
            "integer, which is needed here."
        )
    return data


def _chosen(data: Dataset, choose: Choice) -> Dataset:
    return data if choose is everything else data.chosen(choose(len(data)))


def _unknown(name: str) -> str:
    own = "Your own data set is a folder of images by class, NAME.npz or FILE.py:FUNCTION"
    return f"there is no data set {name!r}; {suggestion(name, sorted(DATASETS))}. {own}"
