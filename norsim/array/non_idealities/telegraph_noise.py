"""Random telegraph noise: dV_T = sum over the traps of a cell of a (s1 - s0), P(a > A) = 10^(-A / a10).

Amplitudes with an exponential tail, and a Poisson number of traps in a cell: C. Monzio Compagnoni et al., "Statistical
model for random telegraph noise in Flash memories", IEEE Trans. Electron Devices 55 (2008), DOI
10.1109/TED.2007.910605. s0 is the state of a trap at program-verify, s1 at the read, each 0 or 1 with equal chance.

Drawn per chip, s1 is the same in all reads of an evaluation: traps that are slow compared with it. Drawn per read, the
mean of a (s1 - s0) over s1 shifts the threshold, and a read adds a deviation with the variance sum a^2 / 4, which is
treated to first order in the current: see norsim.array.read_noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from norsim.array.draw import Draw
from norsim.array.non_idealities.key import key
from norsim.array.non_idealities.non_ideality import DRAWN, Drawn, NonIdeality, ProgrammedCells
from norsim.array.tile import Floats


@dataclass(frozen=True)
class TelegraphNoise(NonIdeality):
    """Telegraph noise; each trap is filled half of the time.

    `decade_volts`   step in amplitude over which the probability of a larger one falls tenfold
    `traps`          mean number of traps in a cell
    `drawn`          when the states of the traps are drawn
    """

    decade_volts: float = field(
        default=0.0,
        metadata=key(
            "telegraph_a_decade", "Increase in amplitude that makes telegraph noise ten times as rare.", "volt",
            least=0,
        ),
    )  # fmt: skip
    traps: float = field(
        default=1.0,
        metadata=key(
            "telegraph_traps", "Mean number of traps in a cell; the default is an estimate.", least=0, most=100
        ),
    )
    drawn: Drawn = field(
        default="per_chip",
        metadata=key("telegraph_drawn", "Whether traps change state from read to read, or stay for a whole evaluation.",
                     choices=DRAWN),
    )  # fmt: skip

    def fresh(self) -> TelegraphNoise:
        """Return no noise."""
        return TelegraphNoise()

    def noise_of_chip(self) -> bool:
        """Return whether there is noise, drawn once per chip."""
        return self.drawn == "per_chip" and self.decade_volts > 0 and self.traps > 0

    def noise_of_read(self) -> bool:
        """Return whether there is noise, drawn for each read."""
        return self.drawn == "per_read" and self.decade_volts > 0 and self.traps > 0

    def shift(self, cells: ProgrammedCells, draw: Draw) -> Floats:
        """Return one shift per cell, `[wordlines, bitlines]` volts: the mean over the reads if it is drawn per read."""
        traps = self._traps(cells, draw)
        # Program-verify saw each trap in one state; a read finds the other state half of the time.
        later: NDArray[np.float64] | float = 0.5
        if self.drawn == "per_chip":
            later = draw.of_occasion("telegraph state").integers(0, 2, len(traps.cell)).astype(np.float64)
        return traps.by_cell(traps.volts * (later - traps.verified))

    def read_variance(self, cells: ProgrammedCells, amps_per_volt: Floats, draw: Draw) -> Floats | float:
        """Return the variance `[wordlines, bitlines]` of the current, amperes squared: a trap's state has 1/4."""
        if not self.noise_of_read():
            return 0.0
        traps = self._traps(cells, draw)
        return traps.by_cell(traps.volts**2 / 4) * amps_per_volt**2

    def _traps(self, cells: ProgrammedCells, draw: Draw) -> _Traps:
        """Draw what the traps of a chip's cells are."""
        random, shape = draw.random("telegraph"), cells.thresholds.shape
        counts = random.poisson(self.traps, shape).ravel()
        total = int(counts.sum())
        volts = random.exponential(self.decade_volts / math.log(10), total)
        return _Traps(shape, np.repeat(np.arange(counts.size), counts), volts, random.integers(0, 2, total))


@dataclass(frozen=True, eq=False)
class _Traps:
    """The traps `[traps]` of the cells of a tile of some `shape`.

    `cell`       number of the cell of each
    `volts`      its amplitude
    `verified`   its state at program-verify, 0 or 1
    """

    shape: tuple[int, ...]
    cell: NDArray[np.int64]
    volts: Floats
    verified: NDArray[np.int64]

    def by_cell(self, values: Floats) -> Floats:
        """Return sums `[wordlines, bitlines]` of the values `[traps]` of each cell's traps."""
        found = np.bincount(self.cell, weights=values, minlength=math.prod(self.shape))
        return found.astype(np.float64).reshape(self.shape)
