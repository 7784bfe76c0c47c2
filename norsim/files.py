"""Atomic writes: readers see the old file or the complete new one."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from norsim.errors import ConfigurationError

# Files and folders to remove if the process ends before they are finished.
UNFINISHED: set[Path] = set()


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write` on a temporary file beside `path`, then rename that file to `path`.

    Raises OSError if the disk fails; the old file then stays as it was, and the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    UNFINISHED.add(temporary)
    try:
        with open(temporary, "wb") as file:
            write(file)
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        UNFINISHED.discard(temporary)


def half_written(folder: Path) -> list[Path]:
    """Return the temporary files in `folder` that killed processes left."""
    return [path for path in folder.glob(".*.*") if path.suffix[1:].isdigit()]


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file by `replace_file`. Raises ConfigurationError with the path and the reason if the disk fails."""
    try:
        replace_file(path, write)
    except OSError as problem:
        raise ConfigurationError(f"{path} cannot be written: {problem.strerror or problem}") from None


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8 by `write_atomically`."""
    write_atomically(path, lambda file: file.write(text.encode()))
