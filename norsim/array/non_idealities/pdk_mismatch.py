"""Mismatch of a foundry kit's transistor, as the kit's own statistics draw it in ngspice.

`norsim cell import --mismatch SECTION` samples transistors of the kit and writes what differs between them as a table:
of each its shift of threshold, its gain and its slope against the mean transistor (norsim.kits.mismatch). A cell of
the array is one of these transistors, drawn with replacement, so that correlations and distributions are the kit's.

Program-verify reads each cell, so it removes the shift of the threshold. Gain and slope stay, and act as those of
norsim.array.non_idealities.transistor_mismatch do.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from norsim.array.draw import Draw
from norsim.array.non_idealities.key import key
from norsim.array.non_idealities.non_ideality import NonIdeality
from norsim.array.tile import Floats
from norsim.errors import ConfigurationError

COLUMNS = ("threshold_v", "gain", "slope")
LEAST_ROWS = 8


@dataclass(frozen=True, eq=False)
class SampledTransistors:
    """Transistors of a kit against their mean: `shift_volts`, `gains` and `slopes`, each `[samples]`.

    `digest` is the SHA-256 of the file, which identifies the table in caches.
    """

    shift_volts: Floats
    gains: Floats
    slopes: Floats
    digest: str

    def __repr__(self) -> str:
        return f"SampledTransistors({self.digest})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SampledTransistors) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def read_transistors(path: Path) -> SampledTransistors:
    """Read a table of sampled transistors. Raises ConfigurationError that says what is wrong with the file."""
    try:
        content = path.read_bytes()
        lines = [line for line in content.decode().splitlines() if line.strip() and not line.startswith("#")]
        names = [name.strip() for name in lines[0].split(",")] if lines else []
        if not set(COLUMNS) <= set(names):
            raise ConfigurationError(f"{path}: expected the columns {', '.join(COLUMNS)}, as norsim cell import writes")
        columns = [names.index(name) for name in COLUMNS]
        rows = np.loadtxt(lines[1:], delimiter=",", usecols=columns, ndmin=2, comments=None)
    except (OSError, ValueError) as problem:
        raise ConfigurationError(f"{path} is not a table of sampled transistors: {problem}") from None
    if len(rows) < LEAST_ROWS or not np.isfinite(rows).all() or (rows[:, 1] <= 0).any():
        raise ConfigurationError(
            f"{path}: expected at least {LEAST_ROWS} transistors with finite numbers and gains above 0"
        )
    return SampledTransistors(rows[:, 0], rows[:, 1], rows[:, 2], hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class PdkMismatch(NonIdeality):
    """Cells that are transistors of a table; None: none."""

    table: SampledTransistors | None = field(
        default=None,
        metadata=key(
            "pdk_mismatch",
            "Table of transistors sampled from a kit's own statistics, beside the chip file: their gain and slope "
            "differ between cells, their threshold is removed by program-verify. `norsim cell import` writes "
            "it.",
            reader=read_transistors,
        ),
    )  # fmt: skip

    def gains(self, shape: tuple[int, int], draw: Draw) -> Floats | None:
        """Return the gain of each cell, `[wordlines, bitlines]`; None without a table."""
        return None if self.table is None else self.table.gains[self._drawn(self.table, shape, draw)]

    def slopes(self, shape: tuple[int, int], draw: Draw) -> Floats | None:
        """Return the relative deviation of the slope of each cell, `[wordlines, bitlines]`; None without a table."""
        return None if self.table is None else self.table.slopes[self._drawn(self.table, shape, draw)]

    def _drawn(self, table: SampledTransistors, shape: tuple[int, int], draw: Draw) -> NDArray[np.int64]:
        """Return which transistor each cell is: the same for its gain and its slope."""
        return draw.random("transistor of the kit").integers(0, len(table.gains), shape)
