"""Measured cells: mean and standard deviation of the current by target, time and temperature.

The file is CSV with one row per level, time and temperature and the columns `time_s`, `temperature_c`, `target_a`,
`mean_a` and `sigma_a`; it needs every level at every time and temperature. Lines that start with # are comments.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from norsim.array.tile import Floats
from norsim.errors import ConfigurationError

COLUMNS = ("time_s", "temperature_c", "target_a", "mean_a", "sigma_a")
LARGEST_BYTES = 16 << 20
# No file of that size has more rows. The product of the axes can be larger: n rows can have n of each.
MOST_ROWS = LARGEST_BYTES // 10
ZERO_CELSIUS = 273.15


@dataclass(frozen=True, eq=False)
class Measured:
    """A table of measured cells: mean and standard deviation by target current, time and temperature.

    `seconds` `[times]`, `kelvin` `[temperatures]`, `target_amps` `[levels]`, each in ascending order
    `mean_amps`, `sigma_amps`   `[times, temperatures, levels]`
    `digest`    SHA-256 of the file, which identifies the table in caches

    Interpolation is linear in log(1 + time / 1 s), in temperature and in current; nothing is extrapolated.
    """

    seconds: Floats
    kelvin: Floats
    target_amps: Floats
    mean_amps: Floats
    sigma_amps: Floats
    digest: str

    def __repr__(self) -> str:
        return f"Measured({self.digest})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Measured) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def at(self, amps: Floats, seconds: float, kelvin: float) -> tuple[Floats, Floats]:
        """Return mean and deviation of cells with targets `amps`. Raises ConfigurationError outside the table."""
        for name, value, known in (("time", seconds, self.seconds), ("temperature", kelvin, self.kelvin)):
            if not known[0] <= value <= known[-1]:
                raise ConfigurationError(
                    f"the measured table does not cover a {name} of {value:g}: it spans {known[0]:g} to {known[-1]:g} "
                    "(s, K)"
                )
        if amps.min() < self.target_amps[0] or amps.max() > self.target_amps[-1] * (1 + 1e-9):
            raise ConfigurationError(
                f"the measured table spans targets of {self.target_amps[0]:g} A to {self.target_amps[-1]:g} A, but "
                f"the cells' targets span {amps.min():g} A to {amps.max():g} A"
            )
        found = []
        for table in (self.mean_amps, self.sigma_amps):
            now = _along(np.log1p(self.seconds), table, math.log1p(seconds))
            found.append(np.interp(amps, self.target_amps, _along(self.kelvin, now, kelvin)))
        return found[0], found[1]


def _along(x: Floats, values: Floats, at: float) -> Floats:
    """Interpolate `values` `[len(x), ...]` along their first axis."""
    right = int(np.clip(np.searchsorted(x, at), 1, max(len(x) - 1, 1)))
    share = 0.0 if len(x) == 1 else (at - x[right - 1]) / (x[right] - x[right - 1])
    between: Floats = values[right - 1] * (1 - share) + values[min(right, len(x) - 1)] * share
    return between


def read_measured(path: Path) -> Measured:
    """Read a table from a file. Raises ConfigurationError that says what is wrong with the file."""
    rows, digest = _rows(path)
    axes = [np.unique(rows[:, k]) for k in range(3)]
    shape = tuple(len(axis) for axis in axes)
    place = tuple(np.searchsorted(axis, rows[:, k]) for k, axis in enumerate(axes))
    if math.prod(shape) > MOST_ROWS:
        raise ConfigurationError(
            f"{path} has {len(rows)} rows for {shape[0]} times, {shape[1]} temperatures and {shape[2]} levels; "
            f"expected every level once at every time and temperature, which would be {math.prod(shape)} rows"
        )
    seen = np.zeros(shape, dtype=np.int64)
    np.add.at(seen, place, 1)
    if not (seen == 1).all():
        time, temperature, level = np.argwhere(seen != 1)[0]
        raise ConfigurationError(
            f"{path}: the level of {axes[2][level]:g} A at {axes[0][time]:g} s and {axes[1][temperature]:g} degC "
            f"occurs {seen[time, temperature, level]} times, not once"
        )
    mean, sigma = np.empty((2, *shape))
    mean[place], sigma[place] = rows[:, 3], rows[:, 4]
    return Measured(axes[0], axes[1] + ZERO_CELSIUS, axes[2], mean, sigma, digest)


def _rows(path: Path) -> tuple[Floats, str]:
    """Read `[rows, columns]` in the order of COLUMNS, and the file's SHA-256."""
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise ConfigurationError(f"{path} has {size} bytes; the limit is {LARGEST_BYTES}")
        content = path.read_bytes()
        lines = [line for line in content.decode().splitlines() if line.strip() and not line.lstrip().startswith("#")]
        names = [name.strip() for name in lines[0].split(",")] if lines else []
        if len(lines) < 2 or not set(COLUMNS) <= set(names):
            raise ConfigurationError(f"{path}: expected the columns {', '.join(COLUMNS)} and at least one row")
        columns = [names.index(name) for name in COLUMNS]
        rows = np.loadtxt(lines[1:], delimiter=",", usecols=columns, ndmin=2, comments=None)
    except (OSError, ValueError) as problem:
        raise ConfigurationError(f"{path} is not a table of measured cells: {problem}") from None
    # Only temperatures may be negative.
    bad = ~np.isfinite(rows) | ((rows < 0) & (np.arange(len(COLUMNS)) != 1))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ConfigurationError(
            f"{path}: {COLUMNS[column]} of row {row + 1} is {rows[row, column]:g}; expected a finite number that is "
            "not negative"
        )
    return rows, hashlib.sha256(content).hexdigest()
