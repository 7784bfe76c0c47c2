"""The reference cells of a chip, which its drivers and converters follow over temperature."""

from __future__ import annotations

import numpy as np

from norsim.array.cell import Cell
from norsim.array.draw import TYPICAL
from norsim.array.tile import Currents, Floats
from norsim.array.variation import CellCurves
from norsim.backends.programming import (
    cell_amps,
    curve,
    most_amps,
    neutral_volts,
    peripheral_volts,
    program_levels,
    tracked_volts,
)
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError
from norsim.periphery.encoding import Encoding, sensed_amps
from norsim.periphery.programming import Levels


def curves(chip: Chip) -> CellCurves:
    """Return the curves of the chip's cell, which the simulator measures when they are first needed."""
    return CellCurves(
        lambda amps: curve(chip.verify_cell, chip.encoding)(amps), lambda amps: curve(chip.cell, chip.encoding)(amps),
        lambda at_read: most_amps(chip.cell if at_read else chip.verify_cell, chip.encoding),
        lambda: neutral_volts(chip.cell),
    )  # fmt: skip


def reference_cells(chip: Chip, levels: Levels) -> Floats:
    """Return the thresholds `[levels]`, volts, that reference cells have in reads; they neither vary nor age.

    If the chip's cells are known from a measured table, these are its typical ones.
    """
    known = chip.silicon.known_at_read()
    return known.thresholds(levels.thresholds, levels.target_amps, chip.cell, curves(chip), TYPICAL)


def drivers(chip: Chip, levels: Levels) -> Encoding:
    """Return the encoding with this chip's drivers; if they track temperature, the wordline volts are those at which a
    reference cell at the middle level conducts its current at programming."""
    gate, drain = chip.encoding.verify_volts
    if chip.encoding.input_amps is not None:
        if chip.tracking:
            raise ConfigurationError(
                f"silicon.tracking is for wordlines with given volts; those of {chip.encoding.name} follow their "
                "peripheral cells: leave it out"
            )
        return coupled_in_reads(chip, chip.encoding)
    if chip.tracking and chip.cell != chip.verify_cell:
        middle = len(levels.thresholds) // 2
        cell, amps = reference_cells(chip, levels)[middle], levels.achieved_amps[middle]
        gate = tracked_volts(chip.cell, float(cell), float(amps), gate, drain)
    return chip.driven(gate)


def coupled(encoding: Encoding, programmed: Cell, cell: Cell) -> Encoding:
    """Return the encoding with the wordline volts of its peripheral cells, which were programmed as `programmed` and
    are read as `cell`: the same cell, at another temperature. Other encodings stay as they are."""
    amps = encoding.input_amps
    if amps is None:
        return encoding
    return encoding.with_gate_volts(
        np.array(peripheral_volts(programmed, cell, tuple(amps.tolist()), *encoding.verify_volts))
    )


def coupled_in_reads(chip: Chip, encoding: Encoding) -> Encoding:
    """Return an encoding of the chip with the wordline volts of its peripheral cells in reads, or when cells were
    programmed if they are not coupled."""
    return coupled(encoding, chip.verify_cell, chip.cell if encoding.is_coupled else chip.verify_cell)


def reference_amps(chip: Chip) -> float:
    """Return the current, amperes, that is the reference of ratiometric converters in reads.

    It is what the chip's encoding senses for the weights a quarter of their range above and below zero: the difference
    of both. So it follows the gain of the sums, whichever levels the encoding uses for a weight.
    """
    levels = program_levels(chip.verify_cell, chip.encoding)
    encoding = drivers(chip, levels)
    _, drain = chip.encoding.verify_volts
    amps = cell_amps(chip.cell, reference_cells(chip, levels), encoding.wordline_volts, drain)
    middle, quarter = len(amps) // 2, len(amps) // 4
    # A cell of two levels has none above the middle one.
    weights = np.array([[middle - max(quarter, 1), middle + quarter]], dtype=np.uint8)
    cells = amps[encoding.cell_codes(weights, middle)]
    currents = Currents(
        cells.sum(axis=0)[None], cells.sum(axis=1)[None], np.ones(1, dtype=np.bool_), np.zeros(1), "reference cells"
    )
    below, above = sensed_amps(currents, encoding.sense(2))[0]
    return float(above - below)


def reference_ratio(chip: Chip) -> float:
    """Return the reference of the converters in reads over that when they were calibrated; 1 if it is fixed."""
    if not chip.ratiometric or not chip.calibration.fresh or chip.cell == chip.verify_cell:
        return 1.0
    return reference_amps(chip) / reference_amps(chip.fresh())
