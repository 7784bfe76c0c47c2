"""A second interface to ngspice: its shared library, driven through PySpice.

The simulator code is the same, but the circuit is passed as lines in memory and the currents are
returned as arrays, without deck file, log and raw file. Agreement of the two interfaces shows that file handling
causes no error. One circuit at a time per process, because the library is not thread-safe.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.errors import SimulatorError, SolveError
from norsim.spice.deck import ONE_THREAD, deck
from norsim.spice.elements import ammeters
from norsim.spice.kirchhoff import currents_from
from norsim.spice.simulators.messages import check
from norsim.spice.simulators.ngspice import lost_amps
from norsim.spice.simulators.running import own_environment

ONE_AT_A_TIME = threading.Lock()


@lru_cache
def library() -> Any:
    """Return PySpice's handle of libngspice. Raises SimulatorError if the library is missing or does not load."""
    name = ctypes.util.find_library("ngspice")
    if name is None:
        raise SimulatorError("no libngspice: install it (Debian: apt-get install libngspice0)")
    try:
        # Before PySpice, which cannot be asked a second time after it failed to load a library.
        ctypes.CDLL(name)
        from PySpice.Spice.NgSpice.Shared import NgSpiceShared

        # PySpice warns about every ngspice after 34; the results are checked instead.
        logging.getLogger("PySpice").setLevel(logging.ERROR)
        NgSpiceShared.LIBRARY_PATH = name
        with _without_init_files():
            return NgSpiceShared.new_instance()
    except (ImportError, OSError, NameError) as problem:
        raise SimulatorError(
            f"libngspice ({name}) cannot be used: {problem}. Reinstall it (Debian: apt-get install "
            "libngspice0) and PySpice (pip install PySpice)"
        ) from None


@contextmanager
def _without_init_files() -> Iterator[None]:
    """Let libngspice read an own `spinit` and an own `.spiceinit`, not those of the machine, the user and this folder.

    The current folder, where it looks first, is another one for this time: the library has no other way.
    """
    here = os.open(".", os.O_RDONLY)
    before = os.environ.get("SPICE_SCRIPTS")
    with ONE_AT_A_TIME, tempfile.TemporaryDirectory(prefix="norsim-libngspice-") as folder:
        os.environ["SPICE_SCRIPTS"] = own_environment(Path(folder), "set no_spiceinit")["SPICE_SCRIPTS"]
        (Path(folder) / ".spiceinit").write_text("* none\n")
        try:
            os.chdir(folder)
            yield
        finally:
            os.chdir(here)
            os.close(here)
            del os.environ["SPICE_SCRIPTS"]
            if before is not None:
                os.environ["SPICE_SCRIPTS"] = before


@lru_cache
def identity() -> str:
    """Return the library's version and the start of the SHA-256 of all that it says of its build.

    The program ngspice can be another version. Raises SimulatorError if the library is not usable.
    """
    handle = library()
    with ONE_AT_A_TIME:
        said = handle.exec_command("version -f")
    return f"libngspice-{handle.ngspice_version} {hashlib.sha256(said.encode()).hexdigest()[:16]}"


def read(tile: Tile, stimulus: Stimulus) -> Currents:
    """Return the tile's currents, solved inside this process. Raises SimulatorError or SolveError."""
    if tile.cell.osdi or tile.cell.verilog_a:
        raise SimulatorError("the ngspice-shared backend cannot load OSDI models; use the ngspice backend")
    handle = library()
    text, _, _ = deck(tile, stimulus).partition("\n.control")
    with ONE_AT_A_TIME:
        return _solve(handle, f"{text}\n.end\n", tile, stimulus)


def _solve(handle: Any, text: str, tile: Tile, stimulus: Stimulus) -> Currents:
    names = ammeters(tile)
    try:
        handle.exec_command(ONE_THREAD)
        mode = tile.cell.compatibility
        handle.exec_command(f"set ngbehavior={mode}" if mode else "unset ngbehavior")
        said = _said(handle, lambda: handle.load_circuit(text)) + _said(handle, handle.run)
        check(said, tile.cell)
        plot = handle.plot(None, handle.last_plot)
        table = np.stack([np.asarray(plot[f"{name[2:-1]}#branch"].to_waveform()) for name in names], axis=1)
    except (KeyError, NameError, RuntimeError, ValueError) as problem:
        raise SolveError(f"libngspice did not solve the tile: {problem!r}") from None
    except SolveError as problem:
        raise SolveError(f"libngspice did not solve the tile: {problem}") from None
    finally:
        handle.destroy()
    if table.shape != (stimulus.vectors, len(names)) or not np.isfinite(table).all():
        raise SolveError(
            f"libngspice returned a table of shape {table.shape} that is incomplete or has values that are not finite"
        )
    return currents_from(table.astype(np.float64), tile, stimulus, "ngspice-shared", lost_amps)


def _said(handle: Any, step: Callable[[], object]) -> str:
    """Perform a step; return what the library says in it. The next one clears it.

    PySpice takes any line on stderr for an error, even a second line of a warning. `check` tells them apart.
    """
    with suppress(NameError):
        step()
    return f"{handle.stdout}\n{handle.stderr}\n"
