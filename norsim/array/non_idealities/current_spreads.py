"""Spreads that were measured in current: a cell with the target current I conducts I + xi sigma(I).

Those of programming, retention and read noise act one after the other, or a measured table in place of the first two.

Source: V. Agrawal et al., "Subthreshold operation of SONOS analog memory to enable accurate low-power neural network
inference", IEDM 2022, 21.7: sigma(I) = scale (1 - exp(-I / knee)), fitted to 128k cells of 40 nm. From its value after
programming to that at a later time, sigma grows as ln(1 + t / t0), t0 = 2 days; so does the drift of the mean.

The variation from read to read is drawn once per chip, as that of telegraph noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from norsim.array.draw import Draw
from norsim.array.measured import Measured, read_measured
from norsim.array.non_idealities.key import check_values, key
from norsim.array.non_idealities.mean_drift import GROWTH, TWO_DAYS, MeanDrift, grown
from norsim.array.non_idealities.non_ideality import NonIdeality, ProgrammedCells
from norsim.array.tile import Floats


@dataclass(frozen=True)
class CurrentSpread:
    """sigma(I) = scale (1 - exp(-I / knee)), all in amperes.

    Raises ConfigurationError for values that are negative or not finite.
    """

    scale_amps: float = field(metadata=key("scale", "Spread at large currents.", "ampere", above=0))
    knee_amps: float = field(metadata=key("knee", "Current at which the spread saturates.", "ampere", above=0))

    def __post_init__(self) -> None:
        check_values(self)

    def sigma_amps(self, amps: Floats) -> Floats:
        """Return the standard deviation at target currents `amps`; any shape, the same for both."""
        sigma: Floats = -self.scale_amps * np.expm1(-amps / self.knee_amps)
        return sigma


@dataclass(frozen=True)
class AgedSpread(CurrentSpread):
    """The spread `seconds` after programming, that of programming included; it grows with the time constant t0."""

    seconds: float = field(metadata=key("after", "Time since programming.", "second", above=0))
    constant_seconds: float = field(default=TWO_DAYS, metadata=key("constant", GROWTH, "second", above=0))

    def added_amps(self, first: Floats, amps: Floats, seconds: float) -> Floats:
        """Return the deviation that adds to `first`, that of programming, by a time; any shape, the same for all."""
        now = first + (self.sigma_amps(amps) - first) * grown(seconds, self.seconds, self.constant_seconds)
        added: Floats = np.sqrt(np.maximum(now**2 - first**2, 0.0))
        return added


NO_SPREAD = CurrentSpread(0.0, 1.0)


@dataclass(frozen=True)
class CurrentSpreads(NonIdeality):
    """Spreads in current.

    `programming`, `reading`   what program-verify leaves, and from one read to the next
    `aged`       the spread some time after programming; None for one that does not grow
    `mean_drift`   the drift of the mean; None for a constant mean
    `measured`   a table that replaces `programming`, `aged` and `mean_drift`
    """

    programming: CurrentSpread = field(
        default=NO_SPREAD,
        metadata=key(
            "programming", "`scale` and `knee`, currents: spread in current after program-verify.",
            section=CurrentSpread,
        ),
    )  # fmt: skip
    aged: AgedSpread | None = field(
        default=None,
        metadata=key(
            "aged",
            "`scale`, `knee` and `after`, a time: spread in current at that time after programming. It grows as "
            "ln(1 + t / `constant`).",
            section=AgedSpread,
        ),
    )  # fmt: skip
    mean_drift: MeanDrift | None = field(
        default=None,
        metadata=key(
            "mean_drift",
            "`shift` of the mean current at the target `at` in the time `after` programming; at other targets as the "
            "`power` of the current. It grows as ln(1 + t / `constant`).",
            section=MeanDrift,
        ),
    )  # fmt: skip
    reading: CurrentSpread = field(
        default=NO_SPREAD,
        metadata=key("reading", "`scale` and `knee`: spread in current from read to read.", section=CurrentSpread),
    )
    measured: Measured | None = field(
        default=None,
        metadata=key(
            "measured",
            "Table of measured cells beside the chip file, instead of `programming`, `aged` and `mean_drift`.",
            reader=read_measured,
        ),
    )  # fmt: skip

    def fresh(self) -> CurrentSpreads:
        """Return the spreads without that from read to read."""
        return replace(self, reading=NO_SPREAD)

    def at_read(self) -> bool:
        """Return whether `currents` are those at the temperature of reads: a table has its own temperatures."""
        return self.measured is not None

    def currents(self, amps: Floats, cells: ProgrammedCells, draw: Draw) -> Floats:
        """Return the drawn currents `[wordlines, bitlines]`."""
        some = self.programming.scale_amps or self.aged or self.mean_drift or self.reading.scale_amps
        if self.measured is None and not some:
            return amps
        found = self._programmed(amps, cells, draw)
        if self.reading.scale_amps:
            found = found + self.reading.sigma_amps(cells.target_amps) * draw.normal("read", amps.shape)
        return found

    def _programmed(self, amps: Floats, cells: ProgrammedCells, draw: Draw) -> Floats:
        """Return the currents `[wordlines, bitlines]` at the time of use, without the spread from read to read."""
        if self.measured is not None:
            mean, sigma = self.measured.at(amps, cells.seconds, cells.cell.temperature_kelvin)
            return mean + sigma * draw.normal("programming", amps.shape)
        target = cells.target_amps
        first = self.programming.sigma_amps(target)
        found = amps + first * draw.normal("programming", amps.shape)
        if self.mean_drift is not None:
            found = found + self.mean_drift.amps(target, cells.retention_seconds)
        if self.aged is None or not cells.retention_seconds:
            return found
        more = self.aged.added_amps(first, target, cells.retention_seconds)
        return found + more * draw.normal("retention", amps.shape)
