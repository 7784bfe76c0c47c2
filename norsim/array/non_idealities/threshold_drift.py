"""Drift of thresholds after program-verify: dV_T = sigma_cell xi + sigma_die xi_die.

The mismatch with which a chip is made shifts thresholds too, but program-verify cancels it: every cell is programmed
until it conducts its level. What is here comes later, so a read finds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from norsim.array.draw import Draw
from norsim.array.non_idealities.key import key
from norsim.array.non_idealities.non_ideality import NonIdeality, ProgrammedCells
from norsim.array.tile import Floats


@dataclass(frozen=True)
class ThresholdDrift(NonIdeality):
    """Normal shifts of thresholds after program-verify.

    `cell_volts`   standard deviation between the cells of a chip
    `die_volts`    standard deviation between chips of a shift that all cells of a chip have in common
    """

    cell_volts: float = field(
        default=0.0,
        metadata=key(
            "drift_cell", "Standard deviation between cells of the shift of thresholds after program-verify.", "volt",
            least=0,
        ),
    )  # fmt: skip
    die_volts: float = field(
        default=0.0,
        metadata=key(
            "drift_die", "Standard deviation between chips of a common shift of thresholds after program-verify.",
            "volt", least=0,
        ),
    )  # fmt: skip

    def shift(self, cells: ProgrammedCells, draw: Draw) -> Floats | float:
        """Return one shift per cell, `[wordlines, bitlines]` volts, or that of all cells."""
        die = self.die_volts * draw.of_chip("die").standard_normal()
        if not self.cell_volts:
            return die
        return self.cell_volts * draw.normal("cell", cells.thresholds.shape) + die
