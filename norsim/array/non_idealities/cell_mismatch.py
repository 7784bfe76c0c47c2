"""Mismatch between the cells of a chip: dV_T = sigma xi, for each cell."""

from __future__ import annotations

from dataclasses import dataclass, field

from norsim.array.draw import Draw
from norsim.array.non_idealities.key import key
from norsim.array.non_idealities.non_ideality import NonIdeality, ProgrammedCells
from norsim.array.tile import Floats


@dataclass(frozen=True)
class CellMismatch(NonIdeality):
    """A normal spread of thresholds due to mismatch, with the standard deviation `sigma_volts`."""

    sigma_volts: float = field(
        default=0.0,
        metadata=key("cell", "Standard deviation of cell thresholds due to mismatch.", "volt", least=0),
    )

    def shift(self, cells: ProgrammedCells, draw: Draw) -> Floats:
        """Return one shift per cell, `[wordlines, bitlines]` volts."""
        return self.sigma_volts * draw.normal("cell", cells.thresholds.shape)
