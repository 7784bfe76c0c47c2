"""Cell currents at each level, and the spread between cells of one level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from norsim.array.tile import Floats
from norsim.backends.programming import program_levels
from norsim.errors import NorsimError
from norsim.evaluation.proof.sampling import Sample
from norsim.experiments.run_record import Missing
from norsim.report.array import SolvedTile
from norsim.spice.simulators.choice import chosen_simulator

# Gate voltages: from below the lowest threshold to a little above the read voltage.
POINTS, BELOW_VOLTS, ABOVE = 41, 0.4, 1.06


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves of the levels, and thresholds of the cells.

    `gate`      `[41]` volts; `amps` `[levels, 41]` at `drain` volts
    `read`      gate volts of a read
    `thresholds`   `[levels]` volts, from program-verify, and `levels` `[levels]`, the target currents in amperes
    `spread`    `[levels, 3]` volts: the 5th, 50th and 95th percentile of the solved tile's cells; NaN for a level
                without cells. None if all cells of a level are equal
    """

    gate: Floats
    drain: float
    amps: Floats
    read: float
    thresholds: Floats
    levels: Floats
    spread: Floats | None


def curves(samples: Sequence[Sample], solved: SolvedTile | Missing) -> Curves | Missing:
    """Measure the curves of the chip's cell by the simulator."""
    part = samples[0].part
    chip = part.chip
    read, drain = chip.encoding.verify_volts
    try:
        levels = program_levels(part.chip.verify_cell, part.chip.encoding)
        gate = np.linspace(max(levels.thresholds.min() - BELOW_VOLTS, 0.0), ABOVE * read, POINTS)
        gates, thresholds = (grid.ravel() for grid in np.meshgrid(gate, levels.thresholds))
        nothing = np.zeros(gates.shape)
        amps = chosen_simulator(chip.cell).drain_amps(chip.cell, gates, nothing + drain, nothing, thresholds)
    except NorsimError as problem:
        return Missing(f"The cell's curves could not be measured: {problem}")
    spread = None if isinstance(solved, Missing) else _spread(solved, len(levels.thresholds))
    return Curves(gate, drain, amps.reshape(-1, POINTS), read, levels.thresholds, levels.target_amps, spread)


def _spread(solved: SolvedTile, levels: int) -> Floats | None:
    found = np.full((levels, 3), np.nan)
    for code in np.unique(solved.codes):
        found[code] = np.percentile(solved.thresholds[solved.codes == code], [5, 50, 95])
    return found if np.nanmax(found[:, 2] - found[:, 0]) > 1e-9 else None
