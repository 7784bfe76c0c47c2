"""What a read costs in energy and time: what solved currents and given capacitances add up to.

A read puts its volts on the lines for the time of a sample, while cells conduct; then one converter an output converts.

  * cells        E = sum over lines of V I t_sample
  * lines        E = C V^2 for each line that goes up, drawn from the supply; what stays up costs nothing
  * converters   E = F 2^bits each, with Walden's figure of merit F (R. H. Walden, "Analog-to-digital converter survey
                 and analysis", IEEE J. Sel. Areas Commun. 17, 1999), all bits taken as effective ones
  * time         the longer of sample and conversion, since the next sample is taken while the last one is converted

Drivers, references, clocks, the digital part and all movement of data are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from norsim.array.tile import Currents, Stimulus
from norsim.array.wires import Wires


@dataclass(frozen=True)
class Costs:
    """`sample_seconds`, `conversion_seconds`  of one read
    `joules_per_step`   Walden's figure of merit of the converters
    """

    sample_seconds: float = 2e-9
    conversion_seconds: float = 10e-9
    joules_per_step: float = 40e-15

    @property
    def read_seconds(self) -> float:
        """From one read to the next."""
        return max(self.sample_seconds, self.conversion_seconds)


USUAL_COSTS = Costs()


@dataclass(frozen=True)
class ReadEnergy:
    """Joules of one read of a tile, on average, and which part takes them."""

    cells: float = 0.0
    lines: float = 0.0
    converters: float = 0.0

    @property
    def joules(self) -> float:
        """All of it."""
        return self.cells + self.lines + self.converters


NO_ENERGY = ReadEnergy()


def read_energy(
    costs: Costs, wires: Wires, stimulus: Stimulus, currents: Currents, outputs: int, adc_bits: int
) -> ReadEnergy:
    """The mean energy of the reads `stimulus` of a tile, which draw `currents`.

    Where the currents of the driven lines are not known, since `macro` sums by source lines, cells are taken for
    conductances: what they draw at volts V is then the sum of the source currents times sum(V^2) / sum(V).
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
