"""Broken cells: stuck cells conduct like erased ones, open cells do not conduct."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from norsim.array.draw import Draw
from norsim.array.non_idealities.key import key
from norsim.array.non_idealities.non_ideality import NonIdeality, ProgrammedCells
from norsim.array.tile import Floats
from norsim.errors import ConfigurationError


@dataclass(frozen=True)
class BrokenCells(NonIdeality):
    """Shares of cells that are `stuck`, with the threshold of an erased cell, or `open`, with the highest threshold.

    Raises ConfigurationError if they add up to more than 1.
    """

    stuck: float = field(
        default=0.0, metadata=key("stuck", "Share of cells that conduct like erased ones.", least=0, most=1)
    )
    open: float = field(default=0.0, metadata=key("open", "Share of cells that do not conduct.", least=0, most=1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stuck + self.open > 1:
            raise ConfigurationError("silicon: the shares of stuck and of open cells add up to more than 1")

    def broken(self, thresholds: Floats, cells: ProgrammedCells, draw: Draw) -> Floats:
        """Return thresholds with those of broken cells replaced, both `[wordlines, bitlines]` volts."""
        chance = draw.random("broken").random(thresholds.shape)
        without_stuck = np.where(chance < self.stuck, cells.cell.erased_volts, thresholds)
        return np.where(chance >= 1 - self.open, cells.cell.limits[1], without_stuck)
