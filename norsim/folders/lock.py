"""The lock of a folder: one process at a time writes there.

The kernel releases it when the process ends, however it ends; on NFS also across machines. Where the file system has no
locks (some Lustre and FUSE mounts), the lock file itself is the lock, and counts as left over if its process, on this
machine, has ended.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import sys
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from norsim.errors import ConfigurationError

LOCK = ".norsim.lock"
# Errors of file systems without locks.
WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
# A command that lists runs holds the lock for a moment.
TRIES, SECONDS_BETWEEN = 5, 0.02


class FolderLock:
    """The lock of `folder`, held until `release` or the end of the process.

    Raises ConfigurationError naming the process at work there, OSError if the lock file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        self._descriptor: int | None = _acquired(self.path)
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(_this_process()).encode(), 0)
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Remove the lock; nothing if it is not held."""
        if self._descriptor is not None:
            # Removed while it is held, so that nobody else's is.
            with suppress(OSError):
                self.path.unlink()
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def process_at_work(folder: Path) -> str | None:
    """Return a description of the process that works in `folder`; None if there is none."""
    path = folder / LOCK
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _described(_content(descriptor))
    except OSError:
        return None if _is_left_over(_content(descriptor)) else _described(_content(descriptor))
    finally:
        os.close(descriptor)


def _acquired(path: Path) -> int:
    """Create or open a lock file and lock it; return its descriptor."""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(SECONDS_BETWEEN)
        descriptor, created = _opened(path)
        content = _content(descriptor)
        try:
            if _holds(descriptor, path, created) and _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise ConfigurationError(
        f"a run is at work in {path.parent}: {_described(content)}. Wait until it ends, or give another folder "
        f"(if that process is gone, delete {path.name} there)"
    )


def _opened(path: Path) -> tuple[int, bool]:
    """Return the descriptor of a lock file, and whether it was created for this."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags | os.O_EXCL, 0o666), True
    except FileExistsError:
        return os.open(path, flags, 0o666), False


def _holds(descriptor: int, path: Path, created: bool) -> bool:
    """Lock a file; return whether that was possible."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as problem:
        if problem.errno not in WITHOUT_LOCKS:
            raise
        if not created and _is_left_over(_content(descriptor)):
            _set_aside(descriptor, path)
        return created
    return True


def _set_aside(descriptor: int, path: Path) -> None:
    """Remove the lock file of an ended process, unless another process has replaced it meanwhile."""
    aside = path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}")
    with suppress(OSError):
        os.rename(path, aside)
        if not _is_at(descriptor, aside):
            os.link(aside, path)
        aside.unlink()


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still the one at `path`: its last holder removes it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _this_process() -> dict[str, Any]:
    return {
        "host": platform.node(), "pid": os.getpid(), "command": " ".join(["norsim", *sys.argv[1:2]]),
        "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }  # fmt: skip


def _content(descriptor: int) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(os.pread(descriptor, 4096, 0))
        if isinstance(found, dict):
            return found
    return {}


def _is_left_over(content: dict[str, Any]) -> bool:
    """Return whether the process of a lock file was on this machine and has ended."""
    if content.get("host") != platform.node() or not isinstance(content.get("pid"), int):
        return False
    try:
        os.kill(content["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _described(content: dict[str, Any]) -> str:
    if not content:
        return "another process"
    return "process {pid} on {host} ({command}, since {since})".format(
        **{key: content.get(key, "unknown") for key in ("pid", "host", "command", "since")}
    )
