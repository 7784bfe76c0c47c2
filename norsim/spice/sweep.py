"""Single cells at given volts, any number at once: what the characterisation of a cell asks ngspice for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Floats
from norsim.spice.deck import INDEX, ONE_THREAD, OPTIONS, RAW_FILE, celsius, line_of
from norsim.spice.elements import number
from norsim.spice.ngspice import find_ngspice, run_deck
from norsim.spice.rawfile import read_raw
from norsim.spice.running import own_folder

CELLS_PER_DECK = 4096
TIMEOUT_SECONDS = 600.0


def drain_amps(cell: Cell, gate: Floats, drain: Floats, source: Floats, thresholds: Floats) -> Floats:
    """`[n]` amperes into the drains of `n` single cells at `[n]` gate, drain and source volts, bulk at 0 V.

    Raises SimulatorError or SolveError as `norsim.spice.ngspice.read` does.
    """
    points = np.stack([gate, drain, source, thresholds], axis=1)
    parts = [_solve(cell, points[start : start + CELLS_PER_DECK]) for start in range(0, len(points), CELLS_PER_DECK)]
    return np.concatenate(parts)


def _solve(cell: Cell, points: Floats) -> Floats:
    with own_folder() as folder:
        (folder / "tile.cir").write_text(sweep_deck(cell, points))
        run_deck(find_ngspice(), folder, TIMEOUT_SECONDS)
        amps: Floats = read_raw(folder / RAW_FILE, [f"i(vm{k})" for k in range(len(points))], 1)[0]
    return amps


def sweep_deck(cell: Cell, points: Floats) -> str:
    """One cell for each row of `[n, 4]` gate, drain, source volts and threshold, each with its own ammeter."""
    lines = ["* single cells at given volts", cell.models.strip(), cell.netlist.strip(), *single_cells(cell, points)]
    save = [".save", *(f"+ i(vm{k})" for k in range(len(points)))]
    options = f".options {OPTIONS} temp={celsius(cell)}"
    control = [".dc Vidx 0 0 1", ".control", ONE_THREAD, "run", f"write {RAW_FILE}", "quit", ".endc", ".end", ""]
    return "\n".join([*lines, options, *save, *control])


def single_cells(cell: Cell, points: Floats) -> Iterator[str]:
    """The elements of such a deck."""
    yield line_of(INDEX)
    for k, (gate, drain, source, threshold) in enumerate(points):
        yield f"Vg{k} g{k} 0 {number(gate)}"
        yield f"Vm{k} p{k} d{k} 0"
        yield f"Vd{k} p{k} 0 {number(drain)}"
        yield f"Vs{k} s{k} 0 {number(source)}"
        yield f"X{k} d{k} g{k} s{k} 0 {cell.subcircuit} {cell.state}={number(threshold)}"
