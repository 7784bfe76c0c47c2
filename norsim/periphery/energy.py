"""Energy and time of a read, from solved currents and given capacitances.

A read holds its volts on the lines for the sample time, while cells conduct; then each output's converter converts.

  * cells        E = sum over lines of V I t_sample
  * lines        E = C V^2 for each line that is driven up, drawn from the supply; a line that stays up costs nothing
  * converters   E = F 2^bits each, with Walden's figure of merit F (R. H. Walden, "Analog-to-digital converter survey
                 and analysis", IEEE J. Sel. Areas Commun. 17, 1999), all bits taken as effective ones
  * time         the longer of sample and conversion, since the next sample is taken while the last one is converted

Drivers, references, clocks, digital logic and data movement are not included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from norsim.array.tile import Currents, Stimulus
from norsim.array.wires import Wires


@dataclass(frozen=True)
class Costs:
    """Time and energy parameters of the periphery.

    `sample_seconds`, `conversion_seconds`  of one read
    `joules_per_step`   Walden's figure of merit of the converters
    """

    sample_seconds: float = 2e-9
    conversion_seconds: float = 10e-9
    joules_per_step: float = 40e-15

    @property
    def read_seconds(self) -> float:
        """Seconds from one read to the next."""
        return max(self.sample_seconds, self.conversion_seconds)


USUAL_COSTS = Costs()


@dataclass(frozen=True)
class ReadEnergy:
    """Mean energy of one read of a tile, joules, by the part that takes it."""

    cells: float = 0.0
    lines: float = 0.0
    converters: float = 0.0

    @property
    def joules(self) -> float:
        """Total energy."""
        return self.cells + self.lines + self.converters


NO_ENERGY = ReadEnergy()


def read_energy(
    costs: Costs, wires: Wires, stimulus: Stimulus, currents: Currents, outputs: int, adc_bits: int
) -> ReadEnergy:
    """Return the mean energy of the reads `stimulus` of a tile, which draw `currents`.

    If bitline currents are missing, because `macro` returns sums by source line, cells are taken as conductances:
    the power at volts V is then the sum of the source currents times sum(V^2) / sum(V).
    """
    wordlines, bitlines = stimulus.wordline_volts, stimulus.bitline_volts
    if currents.bitline.shape[1]:
        watts = (currents.bitline * bitlines).sum(axis=1)
    else:
        watts = currents.source.sum(axis=1) * (bitlines**2).sum(axis=1) / np.maximum(bitlines.sum(axis=1), 1e-30)
    rows, columns = wordlines.shape[1], bitlines.shape[1]
    moved, farads = (
        (wordlines, columns * wires.wordline_farads)
        if stimulus.driven == "wordlines"
        else (bitlines, rows * wires.bitline_farads)
    )
    return ReadEnergy(
        float(watts.mean()) * costs.sample_seconds,
        farads * float((moved**2).sum(axis=1).mean()),
        outputs * costs.joules_per_step * 2**adc_bits,
    )
