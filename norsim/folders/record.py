"""The record of the files that norsim wrote to a folder: it replaces and deletes no other file there.

`written.jsonl` is only appended to. Its first line names the kind of the folder. Each file gets a line before it is
written, so the record also covers what a killed process left half-written; each deleted file gets one afterwards.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from norsim.errors import ConfigurationError

RECORD = "written.jsonl"
# A file such as units/ab/NAME is this many folders below its record.
DEPTH = 3


def begin(folder: Path, kind: str, version: str) -> None:
    """Make an empty `folder` one of that kind. Raises OSError if the record cannot be written."""
    append_line(folder / RECORD, {"norsim": version, "kind": kind})


def kind_of(folder: Path) -> str | None:
    """Return the kind of a folder that has a record; None for any other folder."""
    lines = _lines(folder / RECORD)
    kind = lines[0].get("kind") if lines and "norsim" in lines[0] else None
    return kind if isinstance(kind, str) else None


def temporary(path: Path) -> Path:
    """Return the name under which this process writes a file before it gets its own."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def announce(path: Path) -> None:
    """Record that this process is about to write `path`, if it is in a folder with a record.

    Raises ConfigurationError if the file exists and is not norsim's, OSError if the record cannot be written.
    """
    root = _root(path)
    if root is None:
        return
    name = path.relative_to(root).as_posix()
    if os.path.lexists(path) and name not in written(root):
        raise ConfigurationError(
            f"{path} exists and was not written by norsim, so it is not replaced; move it, or choose another folder"
        )
    append_line(root / RECORD, {"file": name, "pid": os.getpid()})


def written(folder: Path) -> list[str]:
    """Return the recorded files of `folder` that were not deleted since, relative to it, with their temporary files."""
    found: dict[str, None] = {}
    for line in _lines(folder / RECORD):
        if isinstance(name := line.get("file"), str) and _is_within(name):
            found[name] = None
            if isinstance(pid := line.get("pid"), int):
                place = PurePosixPath(name)
                found[place.with_name(f".{place.name}.{pid}").as_posix()] = None
        for name in line.get("deleted", ()):
            found.pop(name, None)
    return list(found)


def half_written(folder: Path) -> list[str]:
    """Return the temporary files in `folder`, relative to it, that processes were writing when they were killed."""
    names = written(folder)
    files = set(names)
    return [
        name for name in names
        if os.path.lexists(folder / name)
        and (place := PurePosixPath(name)).name.startswith(".")
        and place.with_name(place.stem[1:]).as_posix() in files
    ]  # fmt: skip


def delete(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> None:
    """Delete the recorded files of `folder` whose relative names are `wanted`, and the folders that this empties.

    A link is deleted and never followed: what is behind a link to a folder stays. Raises OSError if a file cannot be
    deleted.
    """
    delete_named(folder, [name for name in written(folder) if wanted(name)])


def delete_named(folder: Path, names: Iterable[str]) -> None:
    """Delete these recorded files of `folder`, as `delete` does."""
    gone = []
    emptied: set[Path] = set()
    for name in names:
        path = folder / name
        if _through_link(folder, path):
            continue
        if os.path.lexists(path):
            if path.is_dir() and not path.is_symlink():
                continue
            path.unlink(missing_ok=True)
        gone.append(name)
        emptied |= {part for part in path.parents if folder in part.parents}
    for part in sorted(emptied, key=lambda part: len(part.parts), reverse=True):
        # A folder with files of the user stays.
        with suppress(OSError):
            part.rmdir()
    if gone:
        append_line(folder / RECORD, {"deleted": gone})


def append_line(path: Path, content: dict[str, Any]) -> None:
    """Append a line of JSON to a file, completely or not at all. Raises OSError if the disk fails."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        text = (json.dumps(content) + "\n").encode()
        # A line that a killed process left unfinished must not swallow this one.
        text = b"\n" + text if size and os.pread(descriptor, 1, size - 1) != b"\n" else text
        try:
            while text:
                text = text[os.write(descriptor, text) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a record; those that are unfinished are left out."""
    try:
        texts = path.read_bytes().split(b"\n")
    except OSError:
        return []
    found = []
    for text in texts:
        with suppress(ValueError, RecursionError):
            line = json.loads(text)
            if isinstance(line, dict):
                found.append(line)
    return found


def _root(path: Path) -> Path | None:
    """Return the nearest folder around `path` that has a record; None if there is none."""
    for folder in list(path.parents)[:DEPTH]:
        if _has_record(folder):
            return folder
    return None


def _has_record(folder: Path) -> bool:
    """Return whether a folder has a record, from its first line alone."""
    try:
        with open(folder / RECORD, "rb") as file:
            line = json.loads(file.readline(4096))
    except (OSError, ValueError):
        return False
    return isinstance(line, dict) and {"norsim", "kind"} <= line.keys()


def _is_within(name: str) -> bool:
    place = PurePosixPath(name)
    return bool(place.parts) and not place.is_absolute() and ".." not in place.parts


def _through_link(folder: Path, path: Path) -> bool:
    """Return whether a folder between `folder` and `path` is a link."""
    return any(part.is_symlink() for part in path.parents if folder in part.parents)
