"""Read disturb: reads inject electrons through the tunnel oxide of cells whose wordline is up, and lift thresholds.

The injected current depends exponentially on the volts across the oxide, and each injected electron lowers these:
dV_T/dn = r exp(-(V_T - V_erased) / s), so after n reads

    dV_T = s ln(1 + (n r / s) exp(-(V_T - V_erased) / s)),

linear at first and then with the logarithm of n, and larger for lower thresholds, as measured by Y. Cai et al., "Read
Disturb Errors in MLC NAND Flash Memory", DSN 2015, on cells whose gates are up in the reads of others. In a NOR array
it is the cells of the wordlines that are up (A. Brand et al., "Novel read disturb failure mechanism induced by FLASH
cycling", IRPS 1993). The disturb by drain volts is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from norsim.array.draw import Draw
from norsim.array.non_idealities.key import key
from norsim.array.non_idealities.non_ideality import NonIdeality, ProgrammedCells
from norsim.array.tile import Floats


@dataclass(frozen=True)
class ReadDisturb(NonIdeality):
    """Read disturb after `reads` reads: the first lifts an erased cell by `erased_volts`; `fold_volts` is s."""

    reads: float = field(
        default=0.0,
        metadata=key("reads", "Reads of each cell since programming with its wordline up, which disturb it.", least=0),
    )
    erased_volts: float = field(
        default=0.0,
        metadata=key(
            "read_disturb", "Shift of the threshold of an erased cell by its first read with its wordline up.", "volt",
            least=0,
        ),
    )  # fmt: skip
    fold_volts: float = field(
        default=0.25,
        metadata=key(
            "read_disturb_fold", "Rise of a threshold that reduces the shift by a read by a factor e. The default is "
            "assumed.", "volt", above=0,
        ),
    )  # fmt: skip

    def fresh(self) -> ReadDisturb:
        """Return no disturb, as just after programming."""
        return ReadDisturb()

    @property
    def disturbs(self) -> bool:
        """Whether there are reads that disturb."""
        return bool(self.reads and self.erased_volts)

    def shift(self, cells: ProgrammedCells, draw: Draw) -> Floats | float:
        """Return one shift per cell, `[wordlines, bitlines]` volts."""
        if not self.disturbs:
            return 0.0
        dose = self.reads * self.erased_volts
        above = (cells.thresholds - cells.cell.erased_volts) / self.fold_volts
        return self.fold_volts * np.log1p(dose / self.fold_volts * np.exp(-above))
