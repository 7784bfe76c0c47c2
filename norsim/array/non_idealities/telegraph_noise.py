"""Random telegraph noise: dV_T = a (s1 - s0), with exponential amplitudes, P(a > A) = 10^(-A / a10).

Amplitudes with an exponential tail: C. Monzio Compagnoni et al., "Statistical model for random telegraph noise in Flash
memories", IEEE Trans. Electron Devices 55 (2008), DOI 10.1109/TED.2007.910605. s0 is the state of the trap at
program-verify, s1 at the read, each 0 or 1.

Noise is slow compared with an inference: the states are drawn once per chip, and all reads of an evaluation see the
same values. The mean over many chips is the same as with noise drawn again for each read; the variation between single
images within one evaluation is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from norsim.array.draw import Draw
from norsim.array.non_idealities.key import key
from norsim.array.non_idealities.non_ideality import NonIdeality, ProgrammedCells
from norsim.array.tile import Floats


@dataclass(frozen=True)
class TelegraphNoise(NonIdeality):
    """Telegraph noise; each trap is filled half of the time.

    `decade_volts`   step in amplitude over which the probability of a larger one falls tenfold
    """

    decade_volts: float = field(
        default=0.0,
        metadata=key(
            "telegraph_a_decade", "Increase in amplitude that makes telegraph noise ten times as rare.", "volt",
            least=0,
        ),
    )  # fmt: skip

    def fresh(self) -> TelegraphNoise:
        """Return no noise."""
        return TelegraphNoise()

    def shift(self, cells: ProgrammedCells, draw: Draw) -> Floats:
        """Return one shift per cell, `[wordlines, bitlines]` volts."""
        random, shape = draw.random("telegraph"), cells.thresholds.shape
        amplitude = random.exponential(self.decade_volts / math.log(10), shape)
        # Program-verify saw each cell in one state of its trap; a read finds the other state half of the time.
        found: Floats = amplitude * (random.integers(0, 2, shape) - random.integers(0, 2, shape))
        return found
