"""The reference cells of a chip, which its drivers and converters follow over temperature."""

from __future__ import annotations

import numpy as np

from norsim.array.draw import TYPICAL
from norsim.array.tile import Floats
from norsim.array.variation import CellCurves
from norsim.backends.programming import cell_amps, curve, neutral_volts, program_levels, tracked_volts
from norsim.chip.model import Chip
from norsim.periphery.encoding import Encoding
from norsim.periphery.programming import Levels


def curves(chip: Chip) -> CellCurves:
    """Return the curves of the chip's cell, which the simulator measures when they are first needed."""
    return CellCurves(
        lambda amps: curve(chip.verify_cell, chip.encoding)(amps), lambda amps: curve(chip.cell, chip.encoding)(amps),
        lambda: neutral_volts(chip.cell),
    )  # fmt: skip


def reference_cells(chip: Chip, levels: Levels) -> Floats:
    """Return the thresholds `[2]`, volts, of the cells at code 0 and at the middle code that serve as a reference.

    They neither vary nor age. If the chip's cells are known from a measured table, these are its typical ones.
    """
    codes = np.array([0, len(levels.thresholds) // 2])
    known = chip.silicon.known_at_read()
    return known.thresholds(levels.thresholds[codes], levels.target_amps[codes], chip.cell, curves(chip), TYPICAL)


def drivers(chip: Chip, levels: Levels) -> Encoding:
    """Return the encoding with this chip's drivers, whose wordline volts follow a reference cell if it has one."""
    gate, drain = chip.encoding.verify_volts
    if chip.tracking and chip.cell != chip.verify_cell:
        amps = levels.achieved_amps[len(levels.thresholds) // 2]
        gate = tracked_volts(chip.cell, float(reference_cells(chip, levels)[1]), float(amps), gate, drain)
    return chip.driven(gate)


def reference_amps(chip: Chip) -> float:
    """Return the current, amperes, of the cell at the middle code less that of the cell at code 0, in a read."""
    levels = program_levels(chip.verify_cell, chip.encoding)
    _, drain = chip.encoding.verify_volts
    gate = drivers(chip, levels).wordline_volts
    off, on = cell_amps(chip.cell, reference_cells(chip, levels), gate, drain)
    return float(on - off)


def reference_ratio(chip: Chip) -> float:
    """Return the reference of the converters in reads over that when they were calibrated; 1 if it is fixed."""
    if not chip.ratiometric or not chip.calibration.fresh or chip.cell == chip.verify_cell:
        return 1.0
    return reference_amps(chip) / reference_amps(chip.fresh())
