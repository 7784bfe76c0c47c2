"""From programmed thresholds to those of a real chip.

Cell non-idealities move the cells' thresholds and change nothing else, so every backend sees them. A threshold is the
result of these steps, in this order:

 1. Shifts of thresholds are added up and added.
 2. Spreads in current act on the current that program-verify aims at. The cell's own curve under the verify read
    converts the difference to a threshold.
 3. The thresholds of broken cells are replaced.

Noise that is drawn for each read is no state of the cells: `read_sigma` returns its size, and norsim.array.read_noise
says how it acts.

Each mechanism is a file of norsim.array.non_idealities.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from norsim.array.cell import Cell
from norsim.array.draw import Draw
from norsim.array.non_idealities.non_ideality import NonIdeality, ProgrammedCells
from norsim.array.tile import Floats
from norsim.errors import ConfigurationError

ThresholdOf = Callable[[Floats], Floats]
# The slope of a cell's curve at a current is taken between currents that differ from it by this share.
SLOPE_SHARE = 1e-3


@dataclass(frozen=True)
class Silicon:
    """Deviations of a chip's cells from their programmed state; without mechanisms, the cells are ideal.

    `mechanisms`   the cell non-idealities, in the order in which they act; those with all defaults, which have no
                   effect, are left out
    `seconds`      time since programming

    Raises ConfigurationError for a time that is negative or not finite.
    """

    mechanisms: tuple[NonIdeality, ...] = ()
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.seconds < math.inf:
            raise ConfigurationError(f"silicon: seconds must be finite and not negative, not {self.seconds}")
        acting = tuple(one for one in self.mechanisms if one != type(one)())
        object.__setattr__(self, "mechanisms", acting)

    def fresh(self) -> Silicon:
        """Return the same silicon right after programming and without noise."""
        return Silicon(tuple(one.fresh() for one in self.mechanisms))

    def thresholds(
        self, programmed: Floats, target_amps: Floats, cell: Cell, threshold_of: ThresholdOf, draw: Draw
    ) -> Floats:
        """Return thresholds `[wordlines, bitlines]` of a tile with cells `programmed` to conduct `target_amps`.

        `threshold_of` returns the thresholds `[n]` of currents `[n]` under the verify read.
        """
        cells = ProgrammedCells(programmed, target_amps, cell, self.seconds)
        volts = programmed + self._shift(cells, draw)
        amps = target_amps
        for mechanism in self.mechanisms:
            amps = mechanism.currents(amps, cells, draw)
        if amps is not target_amps:
            moved = amps != target_amps
            volts[moved] += threshold_of(np.maximum(amps[moved], 0.0)) - threshold_of(target_amps[moved])
        for mechanism in self.mechanisms:
            volts = mechanism.broken(volts, cells, draw)
        return np.clip(volts, *cell.limits)

    def noise_of_chip(self) -> bool:
        """Return whether there is noise that is drawn once per chip."""
        return any(one.noise_of_chip() for one in self.mechanisms)

    def noise_of_read(self) -> bool:
        """Return whether there is noise that is drawn for each read."""
        return any(one.noise_of_read() for one in self.mechanisms)

    def read_sigma(
        self, programmed: Floats, target_amps: Floats, cell: Cell, threshold_of: ThresholdOf, draw: Draw
    ) -> Floats | None:
        """Return the standard deviation `[wordlines, bitlines]` of each cell's current from read to read, amperes.

        It is that of the verify read, for cells as in `thresholds`. Broken cells have none. None if there is no noise
        that is drawn for each read.
        """
        if not self.noise_of_read():
            return None
        cells = ProgrammedCells(programmed, target_amps, cell, self.seconds)
        slope, variance = _amps_per_volt(target_amps, threshold_of), np.zeros(programmed.shape)
        for mechanism in self.mechanisms:
            variance += mechanism.read_variance(cells, slope, draw)
        # A threshold that a mechanism replaces is that of a broken cell.
        kept = np.full(programmed.shape, np.nan)
        for mechanism in self.mechanisms:
            kept = mechanism.broken(kept, cells, draw)
        return np.where(np.isnan(kept), np.sqrt(variance), 0.0)

    def _shift(self, cells: ProgrammedCells, draw: Draw) -> Floats:
        """Return what is added to the thresholds, `[wordlines, bitlines]` volts."""
        total = np.zeros(cells.thresholds.shape)
        for mechanism in self.mechanisms:
            total += mechanism.shift(cells, draw)
        return total


def _amps_per_volt(amps: Floats, threshold_of: ThresholdOf) -> Floats:
    """Return how steeply the current of cells that conduct `amps` falls with their threshold, same shape.

    It is the slope of the cell's curve under the verify read; 0 for cells that conduct nothing.
    """
    levels, level = np.unique(amps, return_inverse=True)
    slopes, on = np.zeros(len(levels)), levels > 0
    near = SLOPE_SHARE * levels[on]
    fall = threshold_of(levels[on] - near) - threshold_of(levels[on] + near)
    slopes[on] = np.where(fall > 0, 2 * near / np.where(fall > 0, fall, 1.0), 0.0)
    found: Floats = slopes[level.reshape(amps.shape)]
    return found


PERFECT = Silicon()
