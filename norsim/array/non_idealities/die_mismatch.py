"""Mismatch between chips: dV_T = sigma xi, one shift for all cells of a chip."""

from __future__ import annotations

from dataclasses import dataclass, field

from norsim.array.draw import Draw
from norsim.array.non_idealities.key import key
from norsim.array.non_idealities.non_ideality import NonIdeality, ProgrammedCells


@dataclass(frozen=True)
class DieMismatch(NonIdeality):
    """A shift common to all thresholds of a chip, with the standard deviation `sigma_volts` between chips."""

    sigma_volts: float = field(
        default=0.0,
        metadata=key("die", "Standard deviation between chips of a shift common to all thresholds.", "volt", least=0),
    )

    def shift(self, cells: ProgrammedCells, draw: Draw) -> float:
        """Return the shift of this chip, volts."""
        return self.sigma_volts * draw.of_chip("die").standard_normal()
