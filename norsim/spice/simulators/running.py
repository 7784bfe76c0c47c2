"""Run a simulator in a temporary folder, within limits, so that an interrupt can stop it."""

from __future__ import annotations

import math
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from norsim.child_processes import RUNNING, STOPPED, kill
from norsim.errors import SimulatorError, SolveError, SolveTimeoutError, WriteError
from norsim.files import UNFINISHED

# Size limit of a log or a file of results, in addition to the currents themselves.
LARGEST_BYTES = 1 << 27
ENDS: dict[int, str] = {
    signal.SIGXFSZ: ": one of its files grew too large",
    signal.SIGXCPU: ": it took too much processor time",
    signal.SIGKILL: ": it was killed, possibly for lack of memory",
    signal.SIGSEGV: ": it crashed",
    signal.SIGABRT: ": it crashed",
}


class Program(NamedTuple):
    """A simulator: its name, its command line and its environment."""

    name: str
    command: list[str]
    environment: Mapping[str, str]


@contextmanager
def own_folder() -> Iterator[Path]:
    """Make a folder for one run of a simulator; remove it afterwards, but keep and name it after a SolveError.

    Raises WriteError if it cannot be written.
    """
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix="norsim-ngspice-"))
        UNFINISHED.add(folder)
        yield folder
    except SolveError as problem:
        problem.kept = (*problem.kept, str(folder))
        raise
    except OSError as problem:
        _remove(folder)
        place = folder or "for temporary files"
        raise WriteError(
            f"the folder {place} of a simulation cannot be written: {problem.strerror or problem}. Free space "
            "there, or let TMPDIR name another folder"
        ) from None
    except BaseException:
        _remove(folder)
        raise
    finally:
        if folder is not None:
            UNFINISHED.discard(folder)
    _remove(folder)


def discard(problem: SolveError) -> None:
    """Remove the folders that a SolveError keeps, if nobody will be told of it."""
    for folder in problem.kept:
        _remove(Path(folder))


def own_environment(folder: Path, commands: str = "* none") -> dict[str, str]:
    """Return an environment in which ngspice reads `commands` from a new `spinit` in `folder`, not the machine's file,
    which could change options and compatibility; `folder` is its home, and it uses one thread."""
    (folder / "spinit").write_text(f"{commands}\n")
    own = {"OMP_NUM_THREADS": "1", "HOME": str(folder), "SPICE_SCRIPTS": str(folder)}
    return {name: value for name, value in os.environ.items() if not name.startswith(("SPICE_", "NGSPICE_"))} | own


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def run(program: Program, folder: Path, timeout_seconds: float, largest_bytes: int = LARGEST_BYTES) -> tuple[int, str]:
    """Run a simulator in `folder`; return its exit code and its output, stdout then stderr, which are also in
    `NAME.log` and `NAME-errors.log` there: in one file, lines of one would be in the middle of lines of the other.

    Raises SimulatorError if it cannot be run, and SolveTimeoutError if it takes more than `timeout_seconds`. It is
    limited to the machine's memory and to `largest_bytes` per file.
    """
    name = program.name
    if shutil.which(program.command[0]) is None:
        raise SimulatorError(f"{program.command[0]} does not run: it is not an executable file")
    files = [folder / f"{name}.log", folder / f"{name}-errors.log"]
    with open(files[0], "wb") as log, open(files[1], "wb") as errors:
        try:
            process = subprocess.Popen(
                [*ends_with_this_process(), *program.command],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=errors,
                env=program.environment, start_new_session=True,
            )  # fmt: skip
        except OSError as problem:
            raise SimulatorError(f"{program.command[0]} does not run: {problem}") from None
        with process:
            RUNNING.add(process)
            try:
                _limit(process.pid, timeout_seconds, largest_bytes)
                code = process.wait(timeout_seconds)
            except BaseException as problem:
                kill(process)
                process.wait()
                if not isinstance(problem, subprocess.TimeoutExpired):
                    raise
                raise SolveTimeoutError(f"{name} did not finish within {timeout_seconds:g} s and was stopped") from None
            finally:
                RUNNING.discard(process)
    if process in STOPPED:
        # It was stopped by an interrupt, so its results are discarded.
        STOPPED.discard(process)
        raise KeyboardInterrupt
    try:
        return code, "\n".join(file.read_text(errors="replace") for file in files)
    except OSError as problem:
        raise SolveError(f"the log of {name} cannot be read: {problem}") from None


@lru_cache
def ends_with_this_process() -> tuple[str, ...]:
    """Return the words before a command with which the kernel kills it when this process is killed; empty where
    there is no `setpriv` (util-linux)."""
    setpriv = shutil.which("setpriv")
    words = (setpriv or "", "--pdeathsig", "KILL")
    works = setpriv and not subprocess.run([*words, "true"], check=False, capture_output=True).returncode
    return words if works else ()


def _limit(process: int, seconds: float, largest_bytes: int) -> None:
    """Limit a process's processor time, memory (to that of the machine) and file size, and disable core dumps.

    This has an effect only on Linux, which can limit a running process.
    """
    if not hasattr(resource, "prlimit"):
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = {
        resource.RLIMIT_CPU: math.ceil(seconds) + 1,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: largest_bytes,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in limits.items():
        # The process may have ended already; a lower limit set by the system stays.
        with suppress(ProcessLookupError, ValueError, PermissionError):
            resource.prlimit(process, kind, (most, most))
