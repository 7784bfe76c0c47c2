"""Cells that share the bitlines of a tile and are not read: those of other sectors, and the idle rows of the tile.

Their wordlines are not selected. Together they draw a current from each bitline that adds to what its amplifier senses.
Most of it comes from the few cells that the erase of a sector left far below the others (A. Chimenton, P. Pellati and
P. Olivo, "Overerase phenomena: an insight into flash memory reliability", Proc. IEEE 91 (2003) 617). Here a share of
the cells has thresholds with an exponential tail below the others:

    V_T = V_mean + sigma xi - (E in the tail, else 0),        E exponential.

The leakage of a bitline is the sum of its cells' currents under the bitline's volts; it depends on temperature as the
cell's netlist does. It is drawn at the end of the tile's bitline, behind the resistance of the sense path, and does not
depend on the read. Left out is what IR drop changes: of a leakage I of a bitline, a share of at most
(dI/dV) / I times the drop. The cells of other sectors have source lines of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from norsim.array.tile import Floats
from norsim.array.wires import Wires


@dataclass(frozen=True)
class Neighbours:
    """The cells beside a tile, in SI units.

    `rows`        wordlines of other sectors on each bitline
    `mean_volts`  mean threshold of their cells; None for the erased one
    `sigma_volts` standard deviation of their thresholds
    `tail`, `tail_volts`   share of over-erased cells, and the mean of how far these are below
    `idle`        whether rows of a tile that hold no inputs have erased cells, which leak like those of other sectors;
                  without, a tile has only the rows of its inputs
    """

    rows: int = 0
    mean_volts: float | None = None
    sigma_volts: float = 0.0
    tail: float = 0.0
    tail_volts: float = 0.0
    idle: bool = False

    def count(self, idle_rows: int) -> int:
        """Return the rows beside those of a tile's inputs, of which `idle_rows` are its own."""
        return self.rows + (idle_rows if self.idle else 0)

    def leaks(
        self, idle_rows: int, bitlines: int, erased_volts: float, amps_of: Callable[[Floats], Floats],
        random: np.random.Generator,
    ) -> Floats | None:  # fmt: skip
        """Return the leakage `[bitlines]`, amperes, of the cells beside a tile; None without any.

        `amps_of` returns the currents `[n]` of cells whose wordline is not selected, of thresholds `[n]`.
        """
        rows = self.count(idle_rows)
        if not rows:
            return None
        mean = erased_volts if self.mean_volts is None else self.mean_volts
        size = (bitlines, rows)
        volts = mean + self.sigma_volts * random.standard_normal(size)
        over_erased = random.random(size) < self.tail
        volts[over_erased] -= self.tail_volts * random.standard_exponential(int(over_erased.sum()))
        leaks: Floats = amps_of(volts.ravel()).reshape(size).sum(axis=1)
        return leaks

    def loaded(self, wires: Wires, idle_rows: int) -> Wires:
        """Return `wires` with the capacitance of these rows at the array's end of what is between bitlines and
        amplifiers; without a resistance there, amplifiers hold it."""
        farads = self.count(idle_rows) * wires.bitline_farads
        if not farads or not wires.bitline_end:
            return wires
        *others, last = wires.bitline_end
        return replace(wires, bitline_end_parts=(*others, replace(last, farads=last.farads + farads)))


NO_NEIGHBOURS = Neighbours()
