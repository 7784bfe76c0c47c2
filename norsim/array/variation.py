"""From programmed thresholds to those of a real chip.

Cell non-idealities move the cells' thresholds, and the factors on their currents for a mismatch of gain, and change
nothing else, so every backend sees them. A threshold is the result of these steps, in this order:

 1. Shifts of thresholds are added up and added.
 2. Spreads in current act on the current that program-verify aims at. The cell's own curve under the verify read
    converts the difference to a threshold.
 3. The thresholds of broken cells are replaced.

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
        self, programmed: Floats, target_amps: Floats, cell: Cell, threshold_of: ThresholdOf, draw: Draw,
        gains: Floats | None = None,
    ) -> Floats:  # fmt: skip
        """Return thresholds `[wordlines, bitlines]` of a tile with cells `programmed` to conduct `target_amps`.

        `threshold_of` returns the thresholds `[n]` of currents `[n]` of a cell under the verify read; `gains`, of the
        shape of `programmed`, are the factors on the cells' currents, None for 1.
        """
        cells = ProgrammedCells(programmed, target_amps, cell, self.seconds)
        volts = programmed + self._shift(cells, draw)
        amps = target_amps
        for mechanism in self.mechanisms:
            amps = mechanism.currents(amps, cells, draw)
        if amps is not target_amps:
            moved = amps != target_amps
            gain = 1.0 if gains is None else gains[moved]
            volts[moved] += threshold_of(np.maximum(amps[moved], 0.0) / gain) - threshold_of(target_amps[moved] / gain)
        for mechanism in self.mechanisms:
            volts = mechanism.broken(volts, cells, draw)
        return np.clip(volts, *cell.limits)

    def gains(self, shape: tuple[int, int], draw: Draw) -> Floats | None:
        """Return the factors on the currents of a tile's cells, `[wordlines, bitlines]`; None: all are 1."""
        found = [part for one in self.mechanisms if (part := one.gains(shape, draw)) is not None]
        return np.prod(found, axis=0) if found else None

    def slopes(self, shape: tuple[int, int], draw: Draw) -> Floats | None:
        """Return the relative deviations of the slopes of a tile's cells, `[wordlines, bitlines]`; None for none."""
        found = [part for one in self.mechanisms if (part := one.slopes(shape, draw)) is not None]
        return np.sum(found, axis=0) if found else None

    def _shift(self, cells: ProgrammedCells, draw: Draw) -> Floats:
        """Return what is added to the thresholds, `[wordlines, bitlines]` volts."""
        total = np.zeros(cells.thresholds.shape)
        for mechanism in self.mechanisms:
            total += mechanism.shift(cells, draw)
        return total


PERFECT = Silicon()
