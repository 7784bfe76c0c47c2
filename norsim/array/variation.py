"""What ails the cells of a real chip. It moves their thresholds and changes nothing else: every backend sees it.

A threshold comes about in this order; each step has a random stream of its own, so that one of them can be changed
while all others stay as they were drawn.

 1. Program-verify aims at a current I. Spreads that were measured in current act on it: I + xi sigma(I), those of
    programming, retention and reading one after the other, or what a measured table says in place of the first two.
    The cell's own curve under the verify read turns the current back into a threshold.
 2. Spreads in threshold are added, with the loss of charge, the telegraph noise and the mismatch of die and cell.
 3. Broken cells: stuck ones conduct like erased ones, open ones not at all.

Noise is slow beside an inference: what a cell reads differently from one time to the next is drawn once a chip, and all
reads of an evaluation see the same. Over many chips the mean is the same as with noise drawn anew; how single images
differ within one evaluation is not.

Sources:
  * current spreads: V. Agrawal et al., "Subthreshold operation of SONOS analog memory to enable accurate low-power
    neural network inference", IEDM 2022, 21.7: sigma(I) = scale (1 - exp(-I / knee)), fitted to 128k cells of 40 nm.
  * telegraph noise: amplitudes with an exponential tail, C. Monzio Compagnoni et al., "Statistical model for random
    telegraph noise in Flash memories", IEEE Trans. Electron Devices 55 (2008), DOI 10.1109/TED.2007.910605.
  * loss of charge: a share of the stored charge a decade of time, as charge that tunnels out of a spread of traps does;
    an empirical law.
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
        """Standard deviation of cells that are to conduct `amps`; any shape, the same for both."""
        sigma: Floats = -self.scale_amps * np.expm1(-amps / self.knee_amps)
        return sigma


NO_SPREAD = CurrentSpread()


@dataclass(frozen=True)
class Silicon:
    """How far a chip's cells are from what they were programmed to; as it stands, not at all.

    `programming`, `reading`   spreads in current, of what program-verify leaves and from one read to the next
    `aged`, `aged_seconds`     the spread in current that is measured so long after programming, programming included
    `measured`      a table in place of `programming` and `aged`
    `programming_volts`        the same as `programming`, in threshold
    `lost_share`    of the stored charge, a decade of time; charge is that over a threshold of `neutral_volts`
    `seconds`       since programming
    `telegraph_volts`   by so much the chance of a larger telegraph amplitude falls tenfold; half of the cells have
                    their trap filled
    `die_volts`, `cell_volts`  mismatch: one shift for all cells of a chip, and one each, standard deviations
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
            raise ConfigurationError("silicon: shares of stuck and of open cells add up to more than 1")

    def fresh(self) -> Silicon:
        """The same silicon just after programming, before noise."""
        return replace(self, seconds=0.0, reading=NO_SPREAD, telegraph_volts=0.0)

    def aged_share(self) -> float:
        """How far ageing has come, in the logarithm of 1 s + time: 0 at programming, 1 at `aged_seconds`."""
        return math.log1p(self.seconds) / math.log1p(self.aged_seconds)

    def thresholds(
        self, programmed: Floats, target_amps: Floats, cell: Cell, threshold_of: ThresholdOf, draw: Draw
    ) -> Floats:
        """`[wordlines, bitlines]`: the thresholds of a tile whose cells were `programmed`, to conduct `target_amps`.

        `threshold_of` gives the thresholds of currents under the verify read, `[n]` of `[n]`.
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
        """What cells conduct that are to conduct `target`; None where nothing acts in current."""
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
        """What is added to thresholds."""
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
            # Program-verify saw each cell in one of its trap's states; a read sees it in another half of the time.
            shift += amplitude * (random.integers(0, 2, programmed.shape) - random.integers(0, 2, programmed.shape))
        return shift


PERFECT = Silicon()


@dataclass(frozen=True)
class Draw:
    """Where a tile's random numbers come from: the `seed`, the `chip` among many, and the `place` of the tile on it."""

    seed: int
    chip: int
    place: tuple[int, ...] = ()

    def at(self, place: tuple[int, ...]) -> Draw:
        """The same chip's numbers at a place."""
        return replace(self, place=place)

    def random(self, part: Part) -> np.random.Generator:
        """The stream of one step, of this tile."""
        return generator(self.seed, Stream.TILE_SILICON, self.chip, STREAMS.index(part), *self.place)

    def of_chip(self, part: Part) -> np.random.Generator:
        """The stream of one step, of the whole chip."""
        return generator(self.seed, Stream.CHIP_SILICON, self.chip, STREAMS.index(part))

    def normal(self, part: Part, shape: tuple[int, ...]) -> Floats:
        """Standard normal numbers of a step, in an array of any shape."""
        return self.random(part).standard_normal(shape)


NOMINAL = Draw(0, 0)
