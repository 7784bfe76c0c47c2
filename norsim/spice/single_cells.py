"""Currents of any number of single cells at given volts, as needed for the characterisation of a cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Floats
from norsim.spice.deck import INDEX, RAW_FILE, cell_text, control, line_of, options
from norsim.spice.elements import number


@dataclass(frozen=True)
class SingleCells:
    """A simulator's currents of single cells.

    `solve`  returns amperes `[n, 2]`, into the drains and out of the sources, at the points of one deck
    `most`   largest number of cells in a deck
    """

    solve: Callable[[Cell, Floats], Floats]
    most: int

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
        parts = [points[start : start + self.most] for start in range(0, len(points), self.most)]
        return np.concatenate([self.solve(cell, part) for part in parts])


def terminals(cells: int) -> list[str]:
    """Return the names of the vectors of such a deck: currents into all drains, then out of all sources."""
    return [*(f"i(vm{k})" for k in range(cells)), *(f"i(vs{k})" for k in range(cells))]


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
