"""A non-ideality for tests, as it would be in norsim/array/non_idealities: programming disturbs cells of other rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from norsim.array.draw import Draw
from norsim.array.non_idealities.key import key
from norsim.array.non_idealities.non_ideality import NonIdeality, ProgrammedCells
from norsim.array.tile import Floats


@dataclass(frozen=True)
class Disturb(NonIdeality):
    """Every row that is programmed later raises a cell by an exponential shift with the mean `row_volts`."""

    row_volts: float = field(
        default=0.0, metadata=key("disturb", "Mean shift of a cell per row that is programmed later.", "volt", least=0)
    )

    def shift(self, cells: ProgrammedCells, draw: Draw) -> Floats:
        rows, columns = cells.thresholds.shape
        later = np.arange(rows)[::-1, None]
        return self.row_volts * later * draw.random("disturb").standard_exponential((rows, columns))
