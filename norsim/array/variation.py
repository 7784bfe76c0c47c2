"""From programmed thresholds to those of a real chip.

Cell non-idealities move the cells' thresholds, and the factors on their currents for a mismatch of gain, and change
nothing else, so every backend sees them. A threshold is the result of these steps, in this order:

 1. Shifts of thresholds are added up and added.
 2. Spreads in current act on the current that program-verify aims at. The cell's own curve under the verify read
    converts the difference to a threshold. Currents that were measured at the temperature of reads are converted by
    the curve at that temperature, so that the cell conducts them there.
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
from norsim.array.clipped import ROUNDING, Clipped, clipped
from norsim.array.draw import Draw
from norsim.array.non_idealities.non_ideality import NonIdeality, ProgrammedCells
from norsim.array.retention import USUAL_RETENTION, Retention
from norsim.array.tile import Floats
from norsim.errors import ConfigurationError

ThresholdOf = Callable[[Floats], Floats]
# The slope of a cell's curve at a current is taken between currents that differ from it by this share.
SLOPE_SHARE = 1e-3


@dataclass(frozen=True)
class CellCurves:
    """What a simulator tells about a cell; each is measured when it is first needed.

    `verify`, `read`   return the thresholds `[n]` of currents `[n]` under the verify read, at the temperature of
                       program-verify and at that of reads
    `most_amps`        returns the current of a cell at its lowest threshold: the most that `verify` reaches, or with
                       True the most that `read` does
    `neutral_volts`    returns the threshold of the cell without stored charge
    """

    verify: ThresholdOf
    read: ThresholdOf
    most_amps: Callable[[bool], float]
    neutral_volts: Callable[[], float]


@dataclass(frozen=True)
class Silicon:
    """Deviations of a chip's cells from their programmed state; without mechanisms, the cells are ideal.

    `mechanisms`   the cell non-idealities, in the order in which they act; those with all defaults, which have no
                   effect, are left out
    `seconds`      time since programming
    `retention`    how temperature scales that time

    Raises ConfigurationError for a time that is negative or not finite.
    """

    mechanisms: tuple[NonIdeality, ...] = ()
    seconds: float = 0.0
    retention: Retention = USUAL_RETENTION

    def __post_init__(self) -> None:
        if not 0 <= self.seconds < math.inf:
            raise ConfigurationError(f"silicon: seconds must be finite and not negative, not {self.seconds}")
        acting = tuple(one for one in self.mechanisms if one != type(one)())
        object.__setattr__(self, "mechanisms", acting)

    def fresh(self) -> Silicon:
        """Return the same silicon right after programming and without noise."""
        return Silicon(tuple(one.fresh() for one in self.mechanisms))

    def known_at_read(self) -> Silicon:
        """Return only what is measured at the temperature of reads, right after programming."""
        return Silicon(tuple(one.fresh() for one in self.mechanisms if one.at_read()))

    def thresholds(
        self, programmed: Floats, target_amps: Floats, cell: Cell, curves: CellCurves, draw: Draw,
        gains: Floats | None = None,
    ) -> Floats:  # fmt: skip
        """Return thresholds `[wordlines, bitlines]` of a tile with cells `programmed` to conduct `target_amps`.

        `cell` is at the temperature of reads, and `curves` are its own; `gains`, of the shape of `programmed`, are the
        factors on the cells' currents, None for 1.
        """
        return self.state(programmed, target_amps, cell, curves, draw, gains)[0]

    def state(
        self, programmed: Floats, target_amps: Floats, cell: Cell, curves: CellCurves, draw: Draw,
        gains: Floats | None = None,
    ) -> tuple[Floats, Clipped]:  # fmt: skip
        """Return the thresholds `[wordlines, bitlines]` as `thresholds` does, and how many cells cannot reach them."""
        cells = self._cells(programmed, target_amps, cell, curves)
        volts = programmed + self._shift(cells, draw)
        shift, missing = self._shift_of_currents(cells, curves, draw, np.ones(volts.shape) if gains is None else gains)
        volts += shift
        for mechanism in self.mechanisms:
            volts = mechanism.broken(volts, cells, draw)
        return np.clip(volts, *cell.limits), clipped(volts, cell.limits, missing)

    def gains(self, shape: tuple[int, int], draw: Draw) -> Floats | None:
        """Return the factors on the currents of a tile's cells, `[wordlines, bitlines]`; None: all are 1."""
        found = [part for one in self.mechanisms if (part := one.gains(shape, draw)) is not None]
        return np.prod(found, axis=0) if found else None

    def slopes(self, shape: tuple[int, int], draw: Draw) -> Floats | None:
        """Return the relative deviations of the slopes of a tile's cells, `[wordlines, bitlines]`; None for none."""
        found = [part for one in self.mechanisms if (part := one.slopes(shape, draw)) is not None]
        return np.sum(found, axis=0) if found else None

    def noise_of_chip(self) -> bool:
        """Return whether there is noise that is drawn once per chip."""
        return any(one.noise_of_chip() for one in self.mechanisms)

    def noise_of_read(self) -> bool:
        """Return whether there is noise that is drawn for each read."""
        return any(one.noise_of_read() for one in self.mechanisms)

    def read_sigma(
        self, programmed: Floats, target_amps: Floats, cell: Cell, curves: CellCurves, draw: Draw,
        gains: Floats | None = None,
    ) -> Floats | None:  # fmt: skip
        """Return the standard deviation `[wordlines, bitlines]` of each cell's current from read to read, amperes.

        It is that of the verify read, for cells as in `thresholds`. Broken cells have none. None if there is no noise
        that is drawn for each read.
        """
        if not self.noise_of_read():
            return None
        cells, gain = self._cells(programmed, target_amps, cell, curves), 1.0 if gains is None else gains
        slope, variance = gain * _amps_per_volt(target_amps / gain, curves.verify), np.zeros(programmed.shape)
        for mechanism in self.mechanisms:
            variance += mechanism.read_variance(cells, slope, draw)
        # A threshold that a mechanism replaces is that of a broken cell.
        kept = np.full(programmed.shape, np.nan)
        for mechanism in self.mechanisms:
            kept = mechanism.broken(kept, cells, draw)
        return np.where(np.isnan(kept), np.sqrt(variance), 0.0)

    def _cells(self, programmed: Floats, target_amps: Floats, cell: Cell, curves: CellCurves) -> ProgrammedCells:
        aged = self.retention.seconds(self.seconds, cell.temperature_kelvin)
        return ProgrammedCells(programmed, target_amps, cell, self.seconds, aged, curves.neutral_volts)

    def _shift(self, cells: ProgrammedCells, draw: Draw) -> Floats:
        """Return what is added to the thresholds, `[wordlines, bitlines]` volts."""
        total = np.zeros(cells.thresholds.shape)
        for mechanism in self.mechanisms:
            total += mechanism.shift(cells, draw)
        return total

    def _shift_of_currents(
        self, cells: ProgrammedCells, curves: CellCurves, draw: Draw, gains: Floats
    ) -> tuple[Floats, Floats]:
        """Return the shifts `[wordlines, bitlines]`, volts, that make cells conduct the currents of the mechanisms, and
        what is missing of these, amperes; `gains`, same shape, are the factors on the cells' currents."""
        target = amps = cells.target_amps
        for mechanism in self.mechanisms:
            amps = mechanism.currents(amps, cells, draw)
        shift, missing = np.zeros(target.shape), np.zeros(target.shape)
        at_read = any(mechanism.at_read() for mechanism in self.mechanisms)
        # At another temperature, a cell that conducts its target has another threshold than the programmed one.
        moved = (amps != target) | (at_read & (target > 0))
        if moved.any():
            curve, wanted = curves.read if at_read else curves.verify, target[moved] / gains[moved]
            # Program-verify does not go beyond the programmed threshold to reach 0 A.
            verified = np.where(wanted > 0, curves.verify(wanted), cells.cell.programmed_volts)
            now = np.maximum(amps[moved], 0.0) / gains[moved]
            shift[moved] = curve(now) - verified
            most = curves.most_amps(at_read)
            missing[moved] = np.where(now > most * (1 + ROUNDING), (now - most) * gains[moved], 0.0)
        return shift, missing


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
