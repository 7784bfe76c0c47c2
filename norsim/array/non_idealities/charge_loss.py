"""Loss of stored charge: a fixed share per decade of time, dV_T = -k log10(1 + t / 1 s) (V_T - V_neutral).

An empirical law, as for charge that tunnels out of traps with a spread of time constants. The stored charge is zero at
V_neutral, which follows from the cell: with the floating gate of norsim's cells, Q = 0 where alpha_G V_T = V_th0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from norsim.array.draw import Draw
from norsim.array.non_idealities.key import key
from norsim.array.non_idealities.non_ideality import NonIdeality, ProgrammedCells
from norsim.array.tile import Floats


@dataclass(frozen=True)
class ChargeLoss(NonIdeality):
    """Charge loss. The stored charge is proportional to the threshold above `neutral_volts`.

    `lost_share`     share of the charge that is lost per decade of time in seconds
    `neutral_volts`  threshold of a cell without stored charge; None for that of the cell's model
    """

    lost_share: float = field(
        default=0.0,
        metadata=key(
            "lost_a_decade", "Share of the stored charge that is lost per decade of time in seconds.",
            least=0, most=1,
        ),
    )  # fmt: skip
    neutral_volts: float | None = field(
        default=None,
        metadata=key(
            "neutral", "Threshold of a cell without stored charge; null: that at which the cell's netlist shifts no "
            "threshold, or its charge is 0.", "volt",
        ),
    )  # fmt: skip

    def shift(self, cells: ProgrammedCells, draw: Draw) -> Floats | float:
        """Return one shift per cell, `[wordlines, bitlines]` volts; all charge is the most that can be lost."""
        lost = self.lost_share * math.log10(1 + cells.retention_seconds)
        if not lost:
            return 0.0
        neutral = cells.neutral_volts() if self.neutral_volts is None else self.neutral_volts
        return -min(lost, 1.0) * (cells.thresholds - neutral)
