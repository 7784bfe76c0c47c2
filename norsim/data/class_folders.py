"""Image files in a folder with one subfolder per class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from norsim.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg")


class LabelledFile(NamedTuple):
    """An image file and the index of its class."""

    path: Path
    label: int


@contextmanager
def listing(folder: Path) -> Iterator[None]:
    """Raise DataError if a folder that is listed within, `folder` or one inside it, cannot be read."""
    try:
        yield
    except OSError as cause:
        place = cause.filename or folder
        raise DataError(f"{place} cannot be read ({cause.strerror}), so check its name and permissions.") from cause


def list_images(folder: Path, classes: Sequence[str]) -> list[LabelledFile]:
    """List the image files of `folder`/CLASS, for those of `classes` that have a folder; no file is opened.

    The classes alternate, with files in the order of their names; otherwise the first images of a split would all be
    of one class. Hidden files are skipped. Raises DataError if the folder is missing or has a folder that is not a
    class, or if a class folder is empty or has a file that does not end in one of SUFFIXES.
    """
    with listing(folder):
        turns = sorted(
            (turn, classes.index(class_folder.name), path)
            for class_folder in _class_folders(folder, classes)
            for turn, path in enumerate(_image_paths(class_folder))
        )
    return [LabelledFile(path, label) for _, label, path in turns]


def _class_folders(folder: Path, classes: Sequence[str]) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is missing, expected a folder with one folder per class, so add this split.")
    found = [path for path in sorted(folder.iterdir()) if path.is_dir() and not _is_hidden(path)]
    unknown = [path.name for path in found if path.name not in classes]
    if unknown or not found:
        raise DataError(
            f"{folder} has {', '.join(unknown) or 'no folder'} where class folders belong, expected "
            f"folders named after the classes {', '.join(classes)}, so rename or add them."
        )
    return found


def _image_paths(folder: Path) -> list[Path]:
    paths = [path for path in sorted(folder.iterdir()) if not _is_hidden(path)]
    strange = [path.name for path in paths if path.suffix.lower() not in SUFFIXES or not path.is_file()]
    if strange:
        raise DataError(
            f"{folder} holds {strange[0]}, expected only image files ({', '.join(SUFFIXES)}), so remove it."
        )
    if not paths:
        raise DataError(f"{folder} is empty, expected image files ({', '.join(SUFFIXES)}), so add some.")
    return paths


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")
