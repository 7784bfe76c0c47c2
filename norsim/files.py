"""Atomic writes: readers see the old file or the complete new one. And a strict reader of JSON.

A file in a folder with a record (norsim.folders.record) is recorded there first.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from norsim.errors import WriteError
from norsim.folders.record import announce, append_line, temporary

# Files and folders to remove if the process ends before they are finished.
UNFINISHED: set[Path] = set()


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write` on a temporary file beside `path`, then rename that file to `path`.

    Raises OSError if the disk fails; the old file then stays as it was, and the temporary file is removed. Raises
    ConfigurationError if the file exists in a folder of norsim, but norsim did not write it.
    """
    announce(path)
    place = temporary(path)
    UNFINISHED.add(place)
    try:
        with open(place, "wb") as file:
            write(file)
        os.replace(place, path)
    finally:
        with suppress(OSError):
            place.unlink(missing_ok=True)
        UNFINISHED.discard(place)


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file by `replace_file`. Raises WriteError with the path and the reason if the disk fails."""
    try:
        replace_file(path, write)
    except OSError as problem:
        raise WriteError(f"{path} cannot be written: {problem.strerror or problem}") from None


def make_folder(path: Path) -> None:
    """Create a folder and those around it, unless it exists. Raises WriteError if that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise WriteError(f"the folder {path} cannot be written: {problem.strerror or problem}") from None


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8 by `write_atomically`."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` by `write_atomically`."""
    write_atomically(path, lambda file: file.write(content))


def append_json(path: Path, content: dict[str, Any]) -> None:
    """Append a line of JSON, completely or not at all. Raises WriteError with the path and the reason if that fails."""
    try:
        if not path.exists():
            announce(path)
        append_line(path, content)
    except OSError as problem:
        raise WriteError(f"{path} cannot be written: {problem.strerror or problem}") from None


def unique_json(text: str | bytes) -> Any:
    """Return the content of a JSON text. Raises ValueError for a key that occurs twice in an object, as for any text
    that is not JSON."""
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is given twice; give it once")
        found[key] = value
    return found


def copy_files(source: Path, target: Path) -> None:
    """Copy the files of a folder to another, which is created. Raises WriteError if one cannot be written."""
    make_folder(target)
    for path in sorted(source.iterdir()):
        write_bytes(target / path.name, path.read_bytes())
