"""The threshold of a cell without stored charge, from ngspice's own reading of the cell's netlist.

Stored charge shifts the threshold of the transistor under the gate, which models take as the instance parameter
`delvto`. In the cell of netlists/cells/floating_gate.sp it is -Q / C_T = alpha_G V_T - V_th0, so Q = 0 at
V_T = V_th0 / alpha_G. ngspice evaluates `delvto` at two thresholds; the line through both gives its zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Floats
from norsim.spice.deck import RAW_FILE, cell_text, control, options
from norsim.spice.elements import number
from norsim.spice.rawfile import read_raw
from norsim.spice.simulators.ngspice import SWEEP_SECONDS, run_deck
from norsim.spice.simulators.running import own_folder
from norsim.spice.statements import Statement, statements

# Volts of `delvto` that count as zero.
ZERO_VOLTS = 1e-6
# What ngspice says of a transistor whose model has no delvto.
NO_SHIFT = re.compile(r"\[delvto\] is not available", re.IGNORECASE)


def neutral_volts(cell: Cell) -> float | None:
    """Return the threshold, volts, at which no transistor of `cell` is shifted.

    None if the netlist does not tell: no `delvto` follows the state linearly, or several do with different zeros.
    Raises SimulatorError without a usable ngspice, and SolveError if it solves none of the decks.
    """
    found = [zero for path in transistors(cell) if (zero := _zero(cell, path)) is not None]
    if not found or np.ptp(found) > ZERO_VOLTS:
        return None
    return found[0]


def transistors(cell: Cell) -> list[str]:
    """Return the paths of the MOS transistors in a cell, such as `xinner.mcell`, in lower case."""
    parts: dict[str, list[Statement]] = {}
    inside: list[Statement] = []
    for name, text in (("the cell's netlist", cell.netlist), ("the cell's models", cell.models)):
        for statement in statements(text, name):
            if statement.card == ".subckt":
                inside = parts.setdefault(statement.parts[1].lower(), [])
            elif statement.card == ".ends":
                inside = []
            else:
                inside.append(statement)
    return list(_paths(cell.subcircuit.lower(), parts, ()))


def _paths(subcircuit: str, parts: dict[str, list[Statement]], above: tuple[str, ...]) -> Iterator[str]:
    # A subcircuit inside itself is an error of ngspice; here it must only end.
    if len(above) > len(parts):
        return
    for statement in parts.get(subcircuit, []):
        if statement.card.startswith("m"):
            yield ".".join((*above, statement.card))
        elif statement.card.startswith("x"):
            words = [word.lower() for word in statement.parts if "=" not in word]
            yield from _paths(words[-1], parts, (*above, statement.card))


def _zero(cell: Cell, path: str) -> float | None:
    """Return the threshold at which the transistor at `path` is not shifted; None if that is not a line's zero."""
    ends = np.array([cell.erased_volts, cell.programmed_volts])
    shifts = _shifts(cell, path, ends)
    if shifts is None or shifts[0] == shifts[1]:
        return None
    zero = float(ends[0] - shifts[0] * (ends[1] - ends[0]) / (shifts[1] - shifts[0]))
    there = _shifts(cell, path, np.array([zero]))
    return zero if there is not None and abs(there[0]) <= ZERO_VOLTS else None


def _shifts(cell: Cell, path: str, thresholds: Floats) -> Floats | None:
    """Return `delvto` `[n]` of the transistor at `path` in cells at `thresholds` `[n]`; None if its model has none."""
    names = [f"@m.x{k}.{path}[delvto]" for k in range(len(thresholds))]
    lines = ["* threshold shifts of a transistor", *cell_text(cell), "Vd d 0 0"]
    lines += [f"X{k} d 0 0 0 {cell.subcircuit} {cell.state}={number(volts)}" for k, volts in enumerate(thresholds)]
    lines += [options(cell), f".save {' '.join(names)}", ".op", *control(cell, "run", f"write {RAW_FILE}")]
    with own_folder() as folder:
        (folder / "tile.cir").write_text("\n".join(lines))
        if NO_SHIFT.search(run_deck(cell, folder, SWEEP_SECONDS)):
            return None
        shifts: Floats = read_raw(folder / RAW_FILE, [f"v({name})" for name in names], 1)[0]
    return shifts
