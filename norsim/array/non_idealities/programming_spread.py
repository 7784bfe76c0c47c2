"""The spread of thresholds that program-verify leaves: dV_T = sigma xi, for each cell."""

from __future__ import annotations

from dataclasses import dataclass, field

from norsim.array.draw import Draw
from norsim.array.non_idealities.key import key
from norsim.array.non_idealities.non_ideality import NonIdeality, ProgrammedCells
from norsim.array.tile import Floats


@dataclass(frozen=True)
class ProgrammingSpread(NonIdeality):
    """A normal spread of thresholds after programming, with the standard deviation `sigma_volts`."""

    sigma_volts: float = field(
        default=0.0,
        metadata=key("programming_volts", "Standard deviation of cell thresholds after programming.", "volt", least=0),
    )

    def shift(self, cells: ProgrammedCells, draw: Draw) -> Floats:
        """Return one shift per cell, `[wordlines, bitlines]` volts."""
        return self.sigma_volts * draw.normal("threshold", cells.thresholds.shape)
