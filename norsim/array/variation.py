"""Cell non-idealities. They move the cells' thresholds and change nothing else, so every backend sees them.

A threshold is the result of these steps, in this order. Each step has its own random stream, so changing one step
leaves the random numbers of all others as they were.

 1. Program-verify aims at a current I. Spreads that were measured in current act on it, I + xi sigma(I): those of
    programming, retention and read noise one after the other, or a measured table in place of the first two.
    The cell's own curve under the verify read converts the current back to a threshold.
 2. Spreads in threshold, charge loss, telegraph noise and the mismatch of die and cell are added.
 3. Broken cells: stuck cells conduct like erased ones, open cells do not conduct.

Noise is slow compared with an inference: the read-to-read variation of a cell is drawn once per chip, and all reads of
an evaluation see the same value. The mean over many chips is the same as with noise drawn again for each read; the
variation between single images within one evaluation is not.

Sources:
  * current spreads: V. Agrawal et al., "Subthreshold operation of SONOS analog memory to enable accurate low-power
    neural network inference", IEDM 2022, 21.7: sigma(I) = scale (1 - exp(-I / knee)), fitted to 128k cells of 40 nm.
  * telegraph noise: amplitudes with an exponential tail, C. Monzio Compagnoni et al., "Statistical model for random
    telegraph noise in Flash memories", IEEE Trans. Electron Devices 55 (2008), DOI 10.1109/TED.2007.910605.
  * charge loss: a fixed share of the stored charge per decade of time, as for charge that tunnels out of traps with a
    spread of time constants; an empirical law.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

import numpy as np

from norsim.array.cell import Cell
from norsim.array.measured import Measured
from norsim.array.tile import Floats
from norsim.errors import ConfigurationError
from norsim.random_streams import Stream, generator

ThresholdOf = Callable[[Floats], Floats]
Part = Literal["programming", "retention", "read", "threshold", "telegraph", "die", "cell", "broken", "adc", "dac"]
STREAMS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class CurrentSpread:
    """sigma(I) = scale (1 - exp(-I / knee)), all in amperes."""

    scale_amps: float = 0.0
    knee_amps: float = 1.0

    def sigma_amps(self, amps: Floats) -> Floats:
        """Return the standard deviation at target currents `amps`; any shape, the same for both."""
        sigma: Floats = -self.scale_amps * np.expm1(-amps / self.knee_amps)
        return sigma


NO_SPREAD = CurrentSpread()


@dataclass(frozen=True)
class Silicon:
    """Deviations of a chip's cells from their programmed state; the defaults are ideal cells.

    `programming`, `reading`   spreads in current: what program-verify leaves, and from one read to the next
    `aged`, `aged_seconds`     the spread in current, that of programming included, measured `aged_seconds` after
                    programming
    `measured`      a table that replaces `programming` and `aged`
    `programming_volts`        the same as `programming`, in threshold
    `lost_share`    share of the stored charge that is lost per decade of time; the stored charge is proportional to
                    the threshold above `neutral_volts`
    `seconds`       time since programming
    `telegraph_volts`   step in telegraph amplitude over which the probability of a larger one falls tenfold; each trap
                    is filled half of the time
    `die_volts`, `cell_volts`  mismatch: standard deviations of one shift for all cells of a chip, and of one per cell
    `stuck`, `open` shares of cells that conduct like erased ones, or not at all
    """

    programming: CurrentSpread = NO_SPREAD
    aged: CurrentSpread | None = None
    aged_seconds: float = 1.0
    reading: CurrentSpread = NO_SPREAD
    measured: Measured | None = None
    programming_volts: float = 0.0
    lost_share: float = 0.0
    neutral_volts: float = 0.0
    seconds: float = 0.0
    telegraph_volts: float = 0.0
    die_volts: float = 0.0
    cell_volts: float = 0.0
    stuck: float = 0.0
    open: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and field.name != "neutral_volts" and not 0 <= value < math.inf:
                raise ConfigurationError(f"silicon: {field.name} must be finite and not negative, not {value}")
        if self.stuck + self.open > 1:
            raise ConfigurationError("silicon: the shares of stuck and of open cells add up to more than 1")

    def fresh(self) -> Silicon:
        """Return the same silicon right after programming and without noise."""
        return replace(self, seconds=0.0, reading=NO_SPREAD, telegraph_volts=0.0)

    def aged_share(self) -> float:
        """Return the progress of ageing, linear in log(1 s + time): 0 at programming, 1 at `aged_seconds`."""
        return math.log1p(self.seconds) / math.log1p(self.aged_seconds)

    def thresholds(
        self, programmed: Floats, target_amps: Floats, cell: Cell, threshold_of: ThresholdOf, draw: Draw
    ) -> Floats:
        """Return thresholds `[wordlines, bitlines]` of a tile with cells `programmed` to conduct `target_amps`.

        `threshold_of` returns the thresholds `[n]` of currents `[n]` under the verify read.
        """
        volts = programmed + self._volts(programmed, draw)
        amps = self._amps(target_amps, cell.temperature_kelvin, draw)
        if amps is not None:
            moved = amps != target_amps
            volts[moved] += threshold_of(np.maximum(amps[moved], 0.0)) - threshold_of(target_amps[moved])
        if self.stuck or self.open:
            broken = draw.random("broken").random(volts.shape)
            volts[broken < self.stuck] = cell.erased_volts
            volts[broken >= 1 - self.open] = cell.limits[1]
        return np.clip(volts, *cell.limits)

    def _amps(self, target: Floats, kelvin: float, draw: Draw) -> Floats | None:
        """Draw the currents of cells with the targets `target`; None if no spread acts in current."""
        if self.measured is None and not (self.programming.scale_amps or self.aged or self.reading.scale_amps):
            return None
        if self.measured is not None:
            mean, sigma = self.measured.at(target, self.seconds, kelvin)
            amps = mean + sigma * draw.normal("programming", target.shape)
        else:
            first = self.programming.sigma_amps(target)
            amps = target + first * draw.normal("programming", target.shape)
            if self.aged is not None and self.seconds:
                more = np.maximum(self.aged.sigma_amps(target) ** 2 - first**2, 0.0) * self.aged_share()
                amps = amps + np.sqrt(more) * draw.normal("retention", target.shape)
        if self.reading.scale_amps:
            amps = amps + self.reading.sigma_amps(target) * draw.normal("read", target.shape)
        return amps

    def _volts(self, programmed: Floats, draw: Draw) -> Floats:
        """Draw the shifts that are added to thresholds."""
        shift = np.zeros(programmed.shape)
        if self.programming_volts:
            shift += self.programming_volts * draw.normal("threshold", programmed.shape)
        if self.cell_volts:
            shift += self.cell_volts * draw.normal("cell", programmed.shape)
        if self.die_volts:
            shift += self.die_volts * draw.of_chip("die").standard_normal()
        if self.lost_share and self.seconds:
            lost = self.lost_share * math.log10(1 + self.seconds)
            shift -= min(lost, 1.0) * (programmed - self.neutral_volts)
        if self.telegraph_volts:
            random = draw.random("telegraph")
            amplitude = random.exponential(self.telegraph_volts / math.log(10), programmed.shape)
            # Program-verify saw each cell in one state of its trap; a read finds the other state half of the time.
            shift += amplitude * (random.integers(0, 2, programmed.shape) - random.integers(0, 2, programmed.shape))
        return shift


PERFECT = Silicon()


@dataclass(frozen=True)
class Draw:
    """The source of a tile's random numbers: `seed`, number of the `chip`, and `place` of the tile on it."""

    seed: int
    chip: int
    place: tuple[int, ...] = ()

    def at(self, place: tuple[int, ...]) -> Draw:
        """Return the source of the same chip's numbers at another place."""
        return replace(self, place=place)

    def random(self, part: Part) -> np.random.Generator:
        """Return the random stream of one step for this tile."""
        return generator(self.seed, Stream.TILE_SILICON, self.chip, STREAMS.index(part), *self.place)

    def of_chip(self, part: Part) -> np.random.Generator:
        """Return the random stream of one step for the whole chip."""
        return generator(self.seed, Stream.CHIP_SILICON, self.chip, STREAMS.index(part))

    def normal(self, part: Part, shape: tuple[int, ...]) -> Floats:
        """Draw standard normal numbers for a step, in an array of any shape."""
        return self.random(part).standard_normal(shape)


NOMINAL = Draw(0, 0)
