"""A second witness: neospice, an independent implementation of SPICE in C++, solves the same circuit.

It runs in a separate process and a temporary folder, so that a crash is an error like any other and its output is
captured: it prints a warning and continues when it ignores part of a deck, so any output is an error here. neospice is
used only by explicit choice, never as a fallback for ngspice.
"""

from __future__ import annotations

import json
import os
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.errors import SimulatorError, SolveError
from norsim.spice.deck import ASKED
from norsim.spice.dialects.neospice import deck, sweep_deck
from norsim.spice.elements import ammeters
from norsim.spice.kirchhoff import currents_from
from norsim.spice.simulators.running import ENDS, LARGEST_BYTES, Program, own_folder, run
from norsim.spice.single_cells import SingleCells, terminals

# The program of its process: it writes currents and the solver's status to files in its folder.
CHILD = """
import sys
sys.path[:] = sys.argv[1:]
import json
import numpy as np
import neospice
circuit = neospice.Simulator().parse(open("tile.cir").read())
options = {name: getattr(circuit.options, name) for name in json.load(open("asked.json"))}
found = neospice.Simulator().run(circuit).dc_sweep
names = open("names.txt").read().split()
status = found.status
report = {
    "options": options, "converged": status.converged, "method": status.convergence_method.name,
    "warnings": list(status.warnings), "points": [float(point) for point in found.sweep_values],
}
np.save("currents.npy", np.stack([np.asarray(found.current(name)) for name in names], axis=1))
json.dump(report, open("status.json", "w"))
"""
CELLS_PER_DECK = 1024
TIMEOUT_SECONDS = 3600.0


@lru_cache
def find_neospice() -> str:
    """Return the installed neospice, e.g. `neospice-0.2.0`. Raises SimulatorError if it is missing."""
    try:
        return f"neospice-{version('neospice')}"
    except PackageNotFoundError:
        raise SimulatorError(
            "no neospice: install it (pip install 'norsim[neospice]', or pip install neospice==0.2.0)"
        ) from None


def read(tile: Tile, stimulus: Stimulus, timeout_seconds: float = TIMEOUT_SECONDS) -> Currents:
    """Return the tile's currents as solved by neospice.

    Raises SimulatorError without neospice, ConfigurationError for a cell that it does not fully support, and
    SolveError if any check fails; then the folder with the deck, the log and the results is kept and named.
    """
    text, names = deck(tile, stimulus), [name[2:-1] for name in ammeters(tile)]
    with own_folder() as folder:
        table = _solve(folder, text, names, stimulus.vectors, tile.cell.temperature_kelvin, timeout_seconds)
        return currents_from(table, tile, stimulus, "neospice", lost_amps)


def _single(cell: Cell, points: Floats) -> Floats:
    """Solve one deck of single cells for SingleCells."""
    names = [name[2:-1] for name in terminals(len(points))]
    with own_folder() as folder:
        text = sweep_deck(cell, points)
        amps: Floats = _solve(folder, text, names, 1, cell.temperature_kelvin, TIMEOUT_SECONDS)[0]
    return amps.reshape(2, -1).T


def _solve(folder: Path, text: str, names: list[str], points: int, kelvin: float, timeout_seconds: float) -> Floats:
    """Solve a deck; return its currents `[points, names]`. Raises SolveError if any check fails."""
    find_neospice()
    asked = {**ASKED, "temp": kelvin}
    for name, content in {"tile.cir": text, "names.txt": "\n".join(names), "asked.json": json.dumps(asked)}.items():
        (folder / name).write_text(content)
    # The path of this process, without the current folder; no PYTHON... variable may make Python print something.
    path = [os.path.abspath(place) for place in sys.path if place]
    python = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = {**python, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    program = Program("neospice", [sys.executable, "-I", "-c", CHILD, *path], environment)
    code, output = run(program, folder, timeout_seconds, LARGEST_BYTES + 16 * points * len(names))
    words = [line.strip() for line in output.splitlines() if line.strip()]
    if code != 0:
        last = f": {words[-1]}" if words else ""
        raise SolveError(f"neospice ended with code {code}{ENDS.get(-code, '')}{last}")
    if words:
        raise SolveError(f"neospice says {words[0]!r}")
    try:
        status = json.loads((folder / "status.json").read_text())
        table = np.load(folder / "currents.npy", allow_pickle=False)
        _check(status, table, asked, (points, len(names)))
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise SolveError(f"neospice wrote no readable currents: {problem!r}") from None
    currents: Floats = table.astype(np.float64)
    return currents


def _check(status: dict[str, Any], table: Floats, asked: dict[str, float], shape: tuple[int, int]) -> None:
    other = [name for name, value in asked.items() if abs(status["options"][name] - value) > 1e-9 * abs(value)]
    if other:
        raise SolveError(f"neospice solved with {other[0]} = {status['options'][other[0]]:g}, not {asked[other[0]]:g}")
    if not status["converged"] or status["method"] != "DIRECT" or status["warnings"]:
        raise SolveError(f"neospice did not converge directly: {status['method']}, warnings {status['warnings']}")
    if status["points"] != list(range(shape[0])) or table.shape != shape:
        raise SolveError(f"neospice returned currents of shape {table.shape}; expected {shape}")
    if not np.isfinite(table).all():
        raise SolveError("neospice returned a current that is not finite")


CELLS = SingleCells(_single, CELLS_PER_DECK)
drain_amps, lost_amps = CELLS.drain_amps, CELLS.lost_amps
