"""Currents of any number of single cells at given volts, as needed for the characterisation of a cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Floats
from norsim.spice.deck import INDEX, RAW_FILE, cell_text, control, line_of, options, source_of
from norsim.spice.elements import Drive, number

# Size of a deck that sweeps cells over drives. Reading takes 0.26 ms per cell, a point of the sweep 6 us per cell.
CELLS_AT_ONCE, DRIVES_AT_ONCE = 128, 256
# Model cards in subcircuits of all cells of a deck: 16 cells with 180 bins take ngspice 0.2 s to read, 64 take 2.5 s.
CARDS_AT_ONCE = 3000
# Model cards in the subcircuits of a cell from which ngspice reads its decks slowly.
MANY_CARDS = 32
# With the tolerances of other decks, a simulator that steps to very close volts accepts its solution at the last ones.
CLOSE = "gmin=1e-15 abstol=1e-15 reltol=1e-9 vntol=1e-12"


@dataclass(frozen=True)
class SingleCells:
    """A simulator's currents of single cells.

    `solve`  returns amperes `[n, 2]`, into the drains and out of the sources, at the points of one deck
    `most`   largest number of cells in a deck
    `swept`  returns amperes `[drives, cells, 2]` of the cells `[cells, 2]` (gate volts, threshold) of one deck at each
             of the drives `[drives, 2]` (drain and source volts); None for a simulator without such a deck
    """

    solve: Callable[[Cell, Floats], Floats]
    most: int
    swept: Callable[[Cell, Floats, Floats], Floats] | None = None

    def drain_amps(self, cell: Cell, gate: Floats, drain: Floats, source: Floats, thresholds: Floats) -> Floats:
        """Return amperes `[n]` into the drains of single cells at gate, drain and source volts `[n]`, bulk at 0 V.

        Raises SimulatorError or SolveError as the simulator's `read` does.
        """
        return self._amps(cell, gate, drain, source, thresholds)[:, 0]

    def lost_amps(self, cell: Cell, gate: Floats, drain: Floats, source: Floats, thresholds: Floats) -> Floats:
        """Return amperes `[n]` that flow into the drains but leave through gate and bulk, not the sources; likewise.

        They are negative if gate and bulk feed the cell.
        """
        into, out = self._amps(cell, gate, drain, source, thresholds).T
        lost: Floats = into - out
        return lost

    def _amps(self, cell: Cell, *volts: Floats) -> Floats:
        points = np.stack(volts, axis=1)
        cells, own = np.unique(points[:, [0, 3]], axis=0, return_inverse=True)
        drives, drive = np.unique(points[:, 1:3], axis=0, return_inverse=True)
        # Each cell has a copy of the cards in its subcircuits, and ngspice's time to read them grows as their square.
        most = max(min(self.most, CARDS_AT_ONCE // max(cards_of(cell), 1)), 1)
        if self.swept is not None and len(cells) * len(drives) <= len(points):
            found = np.empty((len(drives), len(cells), 2))
            at_once = min(CELLS_AT_ONCE, most)
            starts = product(range(0, len(drives), DRIVES_AT_ONCE), range(0, len(cells), at_once))
            for at, first in starts:
                some, few = slice(at, at + DRIVES_AT_ONCE), slice(first, first + at_once)
                found[some, few] = self.swept(cell, cells[few], drives[some])
            return found[drive.ravel(), own.ravel()]
        parts = [points[start : start + most] for start in range(0, len(points), most)]
        return np.concatenate([self.solve(cell, part) for part in parts])


def is_slow(cell: Cell) -> bool:
    """Return whether ngspice reads decks of the cell slowly, since it copies many cards for each instance; in its modes
    for HSPICE it drops the bins that do not fit."""
    return cards_of(cell) >= MANY_CARDS and "hs" not in cell.compatibility


def cards_of(cell: Cell) -> int:
    """Return the number of model cards in the subcircuits of a cell's files."""
    depth = found = 0
    for line in f"{cell.models}\n{cell.netlist}".lower().splitlines():
        first = line.lstrip(" \t")
        depth += first.startswith(".subckt") - first.startswith(".ends")
        found += depth > 0 and first.startswith(".model")
    return found


def terminals(cells: int) -> list[str]:
    """Return the names of the vectors of such a deck: currents into all drains, then out of all sources."""
    return [*(f"i(vm{k})" for k in range(cells)), *(f"i(vs{k})" for k in range(cells))]


def swept_deck(cell: Cell, cells: Floats, drives: Floats) -> str:
    """Return a deck with one cell, with its own ammeters, per row of `cells` `[cells, 2]`: gate volts and threshold.

    Their drains and sources share two lines, which a sweep drives to the volts of each row of `drives` `[drives, 2]`.
    """
    lines = ["* single cells swept over drain and source volts", *cell_text(cell), line_of(INDEX)]
    lines += [line_of(source_of(Drive(f"drive{k}", drives[:, k]))) for k in range(2)]
    gates, gate = np.unique(cells[:, 0], return_inverse=True)
    lines += [f"Vg{k} g{k} 0 {number(volts)}" for k, volts in enumerate(gates)]
    for k, threshold in enumerate(cells[:, 1]):
        lines += [f"Vm{k} drive0 d{k} 0", f"Vs{k} s{k} drive1 0"]
        lines.append(f"X{k} d{k} g{gate[k]} s{k} 0 {cell.subcircuit} {cell.state}={number(threshold)}")
    lines += [options(cell, CLOSE), ".save", *(f"+ {name}" for name in terminals(len(cells)))]
    lines.append(f".dc Vidx 0 {len(drives) - 1} 1")
    return "\n".join([*lines, *control(cell, "set filetype=binary", "run", f"write {RAW_FILE}")])


def sweep_deck(cell: Cell, points: Floats) -> str:
    """Return a deck with one cell, with its own ammeters, per row of `points` `[n, 4]`: gate, drain, source volts and
    threshold."""
    lines = ["* single cells at given volts", *cell_text(cell), *single_cells(cell, points), options(cell)]
    lines += [".save", *(f"+ {name}" for name in terminals(len(points))), ".dc Vidx 0 0 1"]
    return "\n".join([*lines, *control(cell, "run", f"write {RAW_FILE}")])


def single_cells(cell: Cell, points: Floats) -> Iterator[str]:
    """Yield the elements of such a deck, for points `[n, 4]`."""
    yield line_of(INDEX)
    for k, (gate, drain, source, threshold) in enumerate(points):
        yield f"Vg{k} g{k} 0 {number(gate)}"
        yield f"Vm{k} p{k} d{k} 0"
        yield f"Vd{k} p{k} 0 {number(drain)}"
        yield f"Vs{k} s{k} 0 {number(source)}"
        yield f"X{k} d{k} g{k} s{k} 0 {cell.subcircuit} {cell.state}={number(threshold)}"
