"""Drift of the mean current after programming: cells with the target I conduct I + shift (I / at)^power on average.

The shift grows as ln(1 + t / t0), as the spread does.

Source: the mean of the 40 nm SONOS cells of V. Agrawal et al., "Subthreshold operation of SONOS analog memory to enable
accurate low-power neural network inference", IEDM 2022, 21.7, falls by about 17 nA at 400 nA and by 48 nA at 1,067 nA
in five days, by public code that is fitted to their data. The power law is an interpolation through these points and 0:
power = ln(48 / 17) / ln(1067 / 400) = 1.058.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from norsim.array.non_idealities.key import check_values, key
from norsim.array.tile import Floats

# t0 of the SONOS cells.
TWO_DAYS = 2 * 86400.0
GROWTH = "Time constant t0 of the growth, ln(1 + t / t0)."


def grown(seconds: float, measured_seconds: float, constant_seconds: float) -> float:
    """Return ln(1 + t / t0) over its value at the time of the measurement: 0 at programming, 1 when it was measured."""
    return math.log1p(seconds / constant_seconds) / math.log1p(measured_seconds / constant_seconds)


@dataclass(frozen=True)
class MeanDrift:
    """The shift of the mean current.

    `shift_amps`   shift of cells with the target `at_amps`, `seconds` after programming; negative for a loss
    `power`        of the target current; 1 for a constant share
    `constant_seconds`   t0

    Raises ConfigurationError for values that are not finite, or negative where they cannot be.
    """

    shift_amps: float = field(metadata=key("shift", "Shift at the target current `at`; negative: a loss.", "ampere"))
    at_amps: float = field(metadata=key("at", "Target current of that shift.", "ampere", above=0))
    seconds: float = field(metadata=key("after", "Time since programming.", "second", above=0))
    power: float = field(default=1.0, metadata=key("power", "Power of the target current.", above=0, most=10))
    constant_seconds: float = field(default=TWO_DAYS, metadata=key("constant", GROWTH, "second", above=0))

    def __post_init__(self) -> None:
        check_values(self)

    def amps(self, target_amps: Floats, seconds: float) -> Floats:
        """Return the shift of the mean at target currents `target_amps`, `seconds` after programming; any shape."""
        share = grown(seconds, self.seconds, self.constant_seconds)
        shift: Floats = share * self.shift_amps * np.power(target_amps / self.at_amps, self.power)
        return shift
