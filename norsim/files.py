"""Atomic writes: readers see the old file or the complete new one. And a strict reader of JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from norsim.errors import ConfigurationError


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write` on a temporary file beside `path`, then rename that file to `path`.

    Raises OSError if the disk fails; the old file then stays as it was, and the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            write(file)
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


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
