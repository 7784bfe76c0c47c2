"""A second interface to ngspice: its shared library, driven through PySpice.

The simulator code is the same, but the circuit is passed as lines in memory and the currents are
returned as arrays, without deck file, log and raw file. Agreement of the two interfaces shows that file handling
causes no error. One circuit at a time per process, because the library is not thread-safe.
"""

from __future__ import annotations

import ctypes.util
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.errors import SimulatorError, SolveError
from norsim.spice.deck import ONE_THREAD, deck
from norsim.spice.elements import ammeters
from norsim.spice.kirchhoff import currents_from
from norsim.spice.simulators.messages import check
from norsim.spice.simulators.ngspice import lost_amps

ONE_AT_A_TIME = threading.Lock()


@lru_cache
def library() -> Any:
    """Return PySpice's handle of libngspice. Raises SimulatorError if the library is missing."""
    name = ctypes.util.find_library("ngspice")
    if name is None:
        raise SimulatorError("no libngspice: install it (Debian: apt-get install libngspice0)")
    from PySpice.Spice.NgSpice.Shared import NgSpiceShared

    # PySpice warns about every ngspice after 34; the results are checked instead.
    logging.getLogger("PySpice").setLevel(logging.ERROR)
    NgSpiceShared.LIBRARY_PATH = name
    return NgSpiceShared.new_instance()


def read(tile: Tile, stimulus: Stimulus) -> Currents:
    """Return the tile's currents, solved inside this process. Raises SimulatorError or SolveError."""
    if tile.cell.osdi:
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
