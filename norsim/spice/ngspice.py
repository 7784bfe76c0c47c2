"""Finds ngspice, runs a deck in a folder of its own, and checks everything that comes back.

ngspice ends with exit code 0 on a singular matrix, on non-convergence and on an unknown vector, so the
exit code alone proves nothing: the log, the raw file and Kirchhoff's current law are checked as well.
"""

from __future__ import annotations

import math
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import numpy as np

from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.errors import SimulatorError, SolveError
from norsim.processes import RUNNING, STOPPED, kill
from norsim.spice.deck import RAW_FILE, deck
from norsim.spice.elements import ammeters
from norsim.spice.rawfile import read_raw

EXECUTABLE_VARIABLE = "NORSIM_NGSPICE"
TROUBLE = re.compile(
    r"singular|stepping|fail|\berror\b|no convergence|not converge|abort|unknown|no such|timestep too small|"
    r"can't|cannot|unable|undefined|\bnan\b|syntax",
    re.IGNORECASE,
)
KIRCHHOFF_TOLERANCE = 1e-5
# Of a log or a raw file, beside the currents themselves.
LARGEST_BYTES = 1 << 27
ENDS: dict[int, str] = {
    signal.SIGXFSZ: ": a file of it grew too large",
    signal.SIGXCPU: ": it took too much processor time",
    signal.SIGKILL: ": it was killed; was there enough memory?",
}


@lru_cache
def find_ngspice() -> str:
    """Path of the ngspice program: `$NORSIM_NGSPICE`, or `ngspice` on the PATH.

    Raises SimulatorError when there is none, or when what is there does not answer as ngspice does.
    """
    wanted = os.environ.get(EXECUTABLE_VARIABLE, "ngspice")
    found = shutil.which(wanted)
    if found is None:
        raise SimulatorError(
            f"no ngspice: {wanted!r} is not a program here. Install it (Debian: apt-get install ngspice "
            f"libngspice0) or name it in ${EXECUTABLE_VARIABLE}; `norsim doctor` shows what is there"
        )
    # Decks run in folders of their own, where a relative path would name nothing.
    found = os.path.abspath(found)
    version_line(found)
    return found


@lru_cache
def version_line(executable: str) -> str:
    """What `ngspice --version` says of itself, e.g. `ngspice-39`; raises SimulatorError for anything else."""
    try:
        said = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=30, check=False)
        match = re.search(r"ngspice-\S+", said.stdout + said.stderr)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise SimulatorError(f"{executable} does not run: {problem}. Reinstall ngspice") from None
    if match is None:
        raise SimulatorError(f"{executable} does not answer --version as ngspice does. Reinstall ngspice")
    return match.group(0)


def read(tile: Tile, stimulus: Stimulus, timeout_seconds: float = 3600.0) -> Currents:
    """The tile's currents as ngspice solves them from the emitted deck.

    Raises SimulatorError without a usable ngspice and SolveError when any check fails; then the folder
    with the deck, the log and what was written is kept and named.
    """
    executable = find_ngspice()
    with own_folder() as folder:
        (folder / "tile.cir").write_text(deck(tile, stimulus))
        most = LARGEST_BYTES + 16 * stimulus.vectors * len(ammeters(tile))
        run_deck(executable, folder, timeout_seconds, most)
        return collect(tile, stimulus, folder)


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for one run of ngspice: removed afterwards, but kept and named where the run cannot be trusted."""
    folder = Path(tempfile.mkdtemp(prefix="norsim-ngspice-"))
    try:
        yield folder
    except SolveError as problem:
        raise SolveError(f"{problem}. The deck and the log are kept in {folder}") from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder)


def run_deck(executable: str, folder: Path, timeout_seconds: float, largest_bytes: int = LARGEST_BYTES) -> None:
    """Run `folder/tile.cir` in `folder`; the log goes to `ngspice.log` there. Raises SolveError on trouble.

    ngspice reads no `.spiceinit`, has no home but the folder, and is stopped when it takes more than `timeout_seconds`,
    the machine's memory, or `largest_bytes` for a file.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    with open(folder / "ngspice.log", "wb") as log:
        try:
            process = subprocess.Popen(
                [executable, "-n", "-b", "tile.cir"],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env=environment, start_new_session=True,
            )  # fmt: skip
        except OSError as problem:
            raise SimulatorError(f"{executable} does not run: {problem}") from None
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
                raise SolveError(f"ngspice did not finish within {timeout_seconds:g} s and was stopped") from None
            finally:
                RUNNING.discard(process)
    if process in STOPPED:
        # Nobody waits for it any more, so that nothing of it is kept.
        STOPPED.discard(process)
        raise KeyboardInterrupt
    try:
        said = (folder / "ngspice.log").read_text(errors="replace")
    except OSError as problem:
        raise SolveError(f"the log of ngspice cannot be read: {problem}") from None
    check_log(said)
    if code != 0:
        raise SolveError(f"ngspice ended with code {code}{ENDS.get(-code, '')}")


def _limit(process: int, seconds: float, largest_bytes: int) -> None:
    """Bounds what a process may take: processor time, memory (what the machine has), the size of a file; no core dump.

    Only where the system can limit a process that runs: on Linux.
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
        # It may have ended by now; a limit that the system already has set lower stays.
        with suppress(ProcessLookupError, ValueError, PermissionError):
            resource.prlimit(process, kind, (most, most))


def check_log(log: str) -> None:
    """Raises SolveError with the first line of a log that speaks of trouble."""
    for line in re.split(r"[\n\r]+", log):
        if TROUBLE.search(line):
            raise SolveError(f"ngspice says {line.strip()!r}")


def collect(tile: Tile, stimulus: Stimulus, folder: Path) -> Currents:
    """The currents in `folder/currents.raw`, checked for presence, length, finiteness and Kirchhoff's law."""
    table = read_raw(folder / RAW_FILE, ammeters(tile), stimulus.vectors)
    return currents_from(table, tile, "ngspice")


def currents_from(table: Floats, tile: Tile, backend: str) -> Currents:
    """`[vectors, bitlines + source lines + 1]` ammeter currents, the bulk's last -> `Currents`.

    Raises SolveError when some vector's currents in and out differ by more than 1e-5 of what flows, or
    of a nanoampere a cell where less flows. What gates leak has no ammeter, so that it would show here.
    """
    bitline, source, bulk = np.split(table, [tile.bitlines, table.shape[1] - 1], axis=1)
    flowing = np.maximum(np.abs(bitline).sum(axis=1), 1e-9 * tile.thresholds.size)
    residual = np.abs(bitline.sum(axis=1) - source.sum(axis=1) - bulk[:, 0]) / flowing
    if residual.max() > KIRCHHOFF_TOLERANCE:
        worst = int(residual.argmax())
        raise SolveError(
            f"Kirchhoff's current law fails at point {worst}: in and out differ by {residual[worst]:.1e} of what "
            f"flows, where at most {KIRCHHOFF_TOLERANCE:g} was expected. Does the cell's gate leak?"
        )
    return Currents(bitline, source, np.ones(len(table), dtype=np.bool_), residual, backend)
