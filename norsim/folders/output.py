"""A folder that norsim writes to: only an empty one, or one of its own, and one process at a time."""

from __future__ import annotations

import errno
import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from itertools import count
from pathlib import Path
from types import TracebackType

from norsim.errors import ConfigurationError, WriteError
from norsim.folders.lock import LOCK, FolderLock, process_at_work
from norsim.folders.record import RECORD, begin, delete, delete_named, half_written, kind_of

# A folder with one of these holds a finished result.
FINISHED = ("summary.json", "card.json", "network.json", "report.html")
# Files of version 0.1, which kept no record.
EARLIER = (
    {"manifest.json", "config.resolved.yaml"},
    {"checkpoint.pt", "log.csv"},
    {"card.json", "weights.safetensors"},
)


def refusal(path: Path, kind: str, overwrite: bool = False, resume: bool = False, locked: bool = False) -> str | None:
    """Return why a result of that kind must not be written to the folder `path`; None if it may.

    It may if the folder is missing or empty, or if it holds norsim's result of the same kind and `overwrite` or
    `resume` is set; and if no process works there, unless this one has `locked` it. Raises OSError for a file.
    """
    if not os.path.lexists(path):
        return None
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory, but a file; give a folder", str(path))
    found = kind_of(path)
    held = _held(path)
    if found is None and held:
        some = f"{', '.join(held[:3])}{', ...' if len(held) > 3 else ''}"
        if any(names <= set(held) for names in EARLIER):
            return (
                f"{path} holds a run of an earlier version of norsim, which kept no record of its files ({some}), so "
                "it cannot be resumed or replaced; give a new folder"
            )
        return f"{path} is not empty and was not written by norsim: it contains {some}; give a new folder"
    if not locked and (process := process_at_work(path)) is not None:
        return f"a run is at work in {path}: {process}. Wait until it ends, or give another folder"
    if found is None or held == [RECORD]:
        return None
    if found != kind:
        return f"{path} holds the result of {found}, not of {kind}; give a new folder"
    if not (overwrite or resume):
        state = "a finished" if any((path / name).is_file() for name in FINISHED) else "an interrupted"
        return f"{path} contains {state} result of {kind}; overwrite or resume it, or give a new folder"
    return None


class OutputFolder:
    """The folder `path`, created if it is missing and locked until `release`, to write a result of `kind` to.

    Every file that norsim.files writes in it is recorded first. `overwrite` lets it hold norsim's earlier result of the
    same kind, whose files `clear` deletes; `resume` keeps it. `made`: the caller has just created it. Raises
    ConfigurationError for a folder that must not be written to or where a process is at work, WriteError if it cannot
    be written.
    """

    def __init__(
        self, path: Path, kind: str, overwrite: bool = False, resume: bool = False, made: bool = False
    ) -> None:
        self.path = path
        with _writing(path):
            _refuse(refusal(path, kind, overwrite, resume))
            created = [path] if made else [part for part in (path, *path.parents) if not part.exists()]
            path.mkdir(parents=True, exist_ok=True)
            try:
                lock = FolderLock(path)
            except BaseException:
                _remove(created)
                raise
            self._release = weakref.finalize(self, _leave, path, lock, created)
            # Again, because another process may have written to it before the lock.
            _refuse(refusal(path, kind, overwrite, resume, locked=True))
            if kind_of(path) is None:
                begin(path, kind, version("norsim"))

    def clear(self, wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Delete the recorded files whose relative names are `wanted`. Raises WriteError if one cannot be deleted."""
        with _writing(self.path):
            delete(self.path, wanted)

    def sweep(self) -> None:
        """Delete what killed processes left half-written. Raises WriteError if that fails."""
        with _writing(self.path):
            delete_named(self.path, half_written(self.path))

    def release(self) -> None:
        """Let other processes write to the folder; remove what was created for this if nothing was written."""
        self._release()

    def __enter__(self) -> OutputFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def new_folder(kind: str) -> OutputFolder:
    """Create `runs/KIND-DATE-TIME` under the current folder, or `...-2` and so on if others were made in that second.

    Raises WriteError if it cannot be created.
    """
    name = f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}"
    with _writing(Path("runs") / name):
        Path("runs").mkdir(exist_ok=True)
        for number in count(1):
            path = Path("runs") / (name if number == 1 else f"{name}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return OutputFolder(path, kind, made=True)
    raise AssertionError("unreachable")


def check_writable(path: Path) -> None:
    """Raise WriteError if a folder cannot be created or written, as far as that is known without trying."""
    with _writing(path):
        nearest = next(part for part in (path, *path.absolute().parents) if os.path.lexists(part))
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{nearest} is not a directory", str(nearest))
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(nearest))


def _held(path: Path) -> list[str]:
    """Return the names in a folder, without what an attempt to write to it leaves."""
    begun = RECORD if kind_of(path) is None and _is_empty(path / RECORD) else None
    return sorted(name for name in os.listdir(path) if name not in (LOCK, begun))


def _is_empty(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == 0


def _refuse(why: str | None) -> None:
    if why is not None:
        raise ConfigurationError(why)


def _leave(path: Path, lock: FolderLock, created: list[Path]) -> None:
    with suppress(OSError):
        if _held(path) == [RECORD]:
            (path / RECORD).unlink()
    lock.release()
    _remove(created)


def _remove(created: list[Path]) -> None:
    """Remove folders, innermost first, in which nothing was written."""
    with suppress(OSError):
        for folder in created:
            folder.rmdir()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise WriteError(f"the folder {path} cannot be written: {problem.strerror or problem}") from None
