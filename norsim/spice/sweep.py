"""Single cells at given volts, any number at once: what the characterisation of a cell asks a simulator for."""

from __future__ import annotations

from collections.abc import Iterator

from norsim.array.cell import Cell
from norsim.array.tile import Floats
from norsim.spice.deck import INDEX, RAW_FILE, cell_text, control, line_of, options
from norsim.spice.elements import number


def terminals(cells: int) -> list[str]:
    """Names of the vectors of such a deck: currents into all drains, then out of all sources."""
    return [*(f"i(vm{k})" for k in range(cells)), *(f"i(vs{k})" for k in range(cells))]


def sweep_deck(cell: Cell, points: Floats) -> str:
    """One cell for each row of `[n, 4]` gate, drain, source volts and threshold, each with its own ammeters."""
    lines = ["* single cells at given volts", *cell_text(cell), *single_cells(cell, points), options(cell)]
    lines += [".save", *(f"+ {name}" for name in terminals(len(points))), ".dc Vidx 0 0 1"]
    return "\n".join([*lines, *control(cell, "run", f"write {RAW_FILE}")])


def single_cells(cell: Cell, points: Floats) -> Iterator[str]:
    """The elements of such a deck, for `[n, 4]` points."""
    yield line_of(INDEX)
    for k, (gate, drain, source, threshold) in enumerate(points):
        yield f"Vg{k} g{k} 0 {number(gate)}"
        yield f"Vm{k} p{k} d{k} 0"
        yield f"Vd{k} p{k} 0 {number(drain)}"
        yield f"Vs{k} s{k} 0 {number(source)}"
        yield f"X{k} d{k} g{k} s{k} 0 {cell.subcircuit} {cell.state}={number(threshold)}"
