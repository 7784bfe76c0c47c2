"""The analog-to-digital converter behind each output, and the range it is given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from norsim.array.tile import Floats
from norsim.errors import ConfigurationError

SHRINK = np.linspace(1.0, 0.5, 26)


@dataclass(frozen=True)
class Adc:
    """A uniform mid-tread converter. Code k stands for `low_amps + k step`; beyond the ends it clips.

    `bits`       resolution
    `low_amps`, `high_amps`   the currents of the lowest and the highest code

    Raises ConfigurationError for an empty range or a resolution outside 1 to 24 bits.
    """

    bits: int
    low_amps: float
    high_amps: float

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 24:
            raise ConfigurationError(f"an ADC has 1 to 24 bits, not {self.bits}")
        if not -np.inf < self.low_amps < self.high_amps < np.inf:
            raise ConfigurationError(f"the ADC range {self.low_amps:g} A to {self.high_amps:g} A is empty")

    @property
    def step_amps(self) -> float:
        """Amperes between two codes."""
        return (self.high_amps - self.low_amps) / float(2**self.bits - 1)

    def convert(self, amps: Floats) -> Floats:
        """Codes, as whole numbers, of any shape of currents, in an array of the same kind."""
        # Half-way currents go to the even code, in NumPy as in torch.
        return ((amps - self.low_amps) / self.step_amps).round().clip(0, 2**self.bits - 1)

    def amps(self, codes: Floats) -> Floats:
        """The currents that codes stand for."""
        return codes * self.step_amps + self.low_amps


def fit_range(samples: Floats, bits: int, least_amps: float) -> Adc:
    """The range that converts `samples` (amperes) with the least mean square error.

    The full span of the samples is shrunk by up to half about zero: clipping a rare peak can cost less
    than a coarser step. A span below `least_amps` is widened to it.
    """
    low, high = min(float(samples.min()), 0.0), max(float(samples.max()), 0.0)
    if high - low < least_amps:
        return Adc(bits, low, low + least_amps)
    candidates = [Adc(bits, low * shrink, high * shrink) for shrink in SHRINK]
    errors = [np.square(adc.amps(adc.convert(samples)) - samples).mean() for adc in candidates]
    return candidates[int(np.argmin(errors))]
