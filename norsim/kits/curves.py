"""The curves of one transistor: one element in one deck, swept over gate and drain volts."""

from __future__ import annotations

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Floats
from norsim.spice.deck import RAW_FILE, cell_text, control, options
from norsim.spice.elements import number
from norsim.spice.rawfile import read_raw
from norsim.spice.simulators.ngspice import SWEEP_SECONDS, run_deck
from norsim.spice.simulators.running import own_folder
from norsim.spice.single_cells import CLOSE
from norsim.spice.wrapper import PINS


def curves(cell: Cell, call: str, gate_volts: float, drain_volts: float, gates: int, drains: int) -> Floats:
    """Return the currents `[drains, gates]`, amperes, into the drain of the element `call` on the nodes PINS, at gate
    volts from 0 to `gate_volts` and drain volts up to `drain_volts`, both evenly spaced; drain volts of 0 are left out.

    Raises SimulatorError and SolveError as ngspice's `read` does.
    """
    step = drain_volts / drains
    sweep = f".dc Vgate 0 {number(gate_volts)} {number(gate_volts / (gates - 1))}"
    sweep += f" Vdrain {number(step)} {number(drain_volts)} {number(step)}"
    lines = ["* the curves of one transistor", *cell_text(cell), *(f"V{pin} {node} 0 0" for pin, node in PINS.items())]
    lines += [call, options(cell, CLOSE), ".save i(vdrain)", sweep]
    with own_folder() as folder:
        (folder / "tile.cir").write_text(
            "\n".join([*lines, *control(cell, "set filetype=binary", "run", f"write {RAW_FILE}")])
        )
        run_deck(cell, folder, SWEEP_SECONDS)
        amps: Floats = -read_raw(folder / RAW_FILE, ["i(vdrain)"], gates * drains).reshape(drains, gates)
    return amps


def difference(found: Floats, expected: Floats) -> float:
    """Return the largest difference between currents of any shape, each as a share of the expected one, or of a
    millionth of the largest current where that is more."""
    scale = np.maximum(np.abs(expected), 1e-6 * np.abs(expected).max())
    return float(np.max(np.abs(found - expected) / scale))


def threshold(amps: Floats, gate_volts: float, wanted: float) -> float | None:
    """Return the gate volts at which the rising currents `[gates]`, at evenly spaced volts from 0, reach `wanted`
    amperes; None if they do not, or are above it at 0 V. The logarithm of the current is interpolated."""
    above = np.flatnonzero(amps >= wanted)
    if not len(above) or above[0] == 0:
        return None
    k = int(above[0])
    low, high = np.log(np.maximum(amps[k - 1 : k + 1], 1e-30))
    return float((k - 1 + (np.log(wanted) - low) / (high - low)) * gate_volts / (len(amps) - 1))
