"""The read of an array of fitted cells: voltages, threshold window and top level that stay within the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from norsim.array.tile import Floats
from norsim.cell_fit import channel
from norsim.cell_fit.divider import Divider
from norsim.cell_fit.fit import Fitted
from norsim.cell_fit.judge import Judgement
from norsim.errors import DataError

# The read of the preset etox65, where the data allow it.
DRAIN_VOLTS, TOP_AMPS, WORDLINES, STEPS = 0.5, 1.6e-6, 256, 15
# An erased cell is read at this share of the largest measured overdrive; the top level is this share of its current.
WITHIN, USED = 0.9, 0.8
# In steps between levels: the current of a programmed cell, and the sum of the unselected cells of a bitline.
OFF_STEPS, LEAK_STEPS = 0.05, 0.05
ROUNDS = 5


@dataclass(frozen=True)
class ReadPoint:
    """A cell's read: volts, thresholds seen from the control gate, amperes of the top level and between levels.

    `beyond_volts` is the threshold below which a read leaves the measured overdrives.
    """

    wordline_volts: float
    bitline_volts: float
    erased_volts: float
    programmed_volts: float
    top_amps: float
    beyond_volts: float

    @property
    def step_amps(self) -> float:
        """Return the current between two levels, amperes: one LSB of a cell's weight."""
        return self.top_amps / STEPS


def read_point(fitted: Fitted, found: Judgement, cell: Divider) -> ReadPoint:
    """Return a read of cells with the fitted channel behind the divider `cell`, which stays within the data.

    The window of one measured state begins where 256 unselected cells leak 0.05 steps, but not below the threshold of
    the measured device, and ends where a selected cell leaks as much. The window of several states is theirs. Raises
    DataError if the channel cannot be turned off.
    """
    drain = min(DRAIN_VOLTS, math.floor(100 * found.drain_volts) / 100)
    thresholds = fitted.thresholds / cell.gate
    within = WITHIN * found.overdrive_volts

    def shift(overdrive: float) -> float:
        """Return the wordline over the threshold that gives an overdrive, volts."""
        return (overdrive - cell.drain * drain) / cell.gate

    wordline_over_erased = shift(within)
    window = float(np.ptp(thresholds))
    top = min(TOP_AMPS, USED * _amps(fitted.values, within, drain))
    for _ in range(ROUNDS):
        off = _overdrive(fitted.values, OFF_STEPS * top / STEPS, drain)
        if len(thresholds) > 1:
            wordline_over_erased = min(wordline_over_erased, window + shift(off))
            overdrive = cell.gate * wordline_over_erased + cell.drain * drain
            top = min(top, USED * _amps(fitted.values, overdrive, drain))
    leaking = _overdrive(fitted.values, LEAK_STEPS * top / STEPS / WORDLINES, drain)
    erased = float(thresholds.min())
    if len(thresholds) == 1:
        erased = math.ceil(100 * max(erased, -shift(leaking))) / 100
    wordline = math.floor(100 * (erased + wordline_over_erased)) / 100
    programmed = float(thresholds.max()) if len(thresholds) > 1 else math.ceil(100 * (wordline - shift(off))) / 100
    digits = 10.0 ** (math.floor(math.log10(top)) - 2)
    return ReadPoint(
        wordline, drain, round(erased, 4), round(programmed, 4), math.floor(top / digits) * digits,
        wordline - shift(found.overdrive_volts),
    )  # fmt: skip


def _amps(values: Mapping[str, float], overdrive: float, drain: float) -> float:
    one: Floats = np.asarray(overdrive)
    zero = np.zeros(())
    return float(channel.amps(values, zero, one, np.asarray(drain), zero, np.asarray(values["tref"])))


def _overdrive(values: Mapping[str, float], amps: float, drain: float) -> float:
    """Return the overdrive at which the channel conducts `amps`, volts."""
    low, high = -20.0, 20.0
    if not _amps(values, low, drain) < amps < _amps(values, high, drain):
        raise DataError(f"the fitted channel does not reach {amps:.2g} A at {drain:g} V on the drain; check the data")
    found: float = brentq(lambda volts: math.log(_amps(values, volts, drain) + 1e-300) - math.log(amps), low, high)
    return found
