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

    def convert(self, amps: Floats, flaws: Flaws | None = None) -> Floats:
        """Codes, as whole numbers, of any shape of currents, in an array of the same kind.

        With `flaws` the currents are `[..., outputs]`, each output with a converter of its own.
        """
        steps = (amps - self.low_amps) / self.step_amps if flaws is None else flaws.steps(amps, self)
        # Half-way currents go to the even code, in NumPy as in torch.
        return steps.round().clip(0, 2**self.bits - 1)

    def amps(self, codes: Floats) -> Floats:
        """The currents that codes stand for, in amperes; any shape."""
        return codes * self.step_amps + self.low_amps


@dataclass(frozen=True)
class ConverterSpread:
    """How far real converters are from an ideal one: standard deviations over converters, and of each conversion.

    A current I of an output comes to

        y = (I (1 + g) - I_low) / step + o + 4 b u (1 - u) + noise,     u = y / (2^bits - 1) before o, b and noise,

    with the errors of IEEE Std 1241: g of gain, o of offset, and b, of which the integral non-linearity is a bow that
    is largest, and b, at mid-scale.

    `gain`      a share;  `offset`, `bow`, `noise`  in steps
    """

    gain: float = 0.0
    offset: float = 0.0
    bow: float = 0.0
    noise: float = 0.0

    def draw(self, outputs: int, random: np.random.Generator) -> Flaws:
        """The flaws of so many converters."""
        gain, offset, bow = random.standard_normal((3, outputs))
        return Flaws(self.gain * gain, self.offset * offset, self.bow * bow)


IDEAL_CONVERTERS = ConverterSpread()


@dataclass(frozen=True, eq=False)
class Flaws:
    """Of each output's converter, `[outputs]`: see ConverterSpread."""

    gain: Floats
    offset: Floats
    bow: Floats

    def steps(self, amps: Floats, adc: Adc) -> Floats:
        """`[..., outputs]` currents in steps above the lowest code, as these converters see them, without noise."""
        ideal = (amps * (1 + self.gain) - adc.low_amps) / adc.step_amps
        share = ideal / (2**adc.bits - 1)
        seen: Floats = ideal + self.offset + 4 * self.bow * share * (1 - share)
        return seen


def fit_range(samples: Floats, bits: int, least_amps: float) -> Adc:
    """The range that converts `samples` (amperes, any shape) with the least mean square error.

    The full span of the samples is shrunk by up to half about zero: clipping a rare peak can cost less than a coarser
    step. A span below `least_amps` is widened to it.
    """
    low, high = min(float(samples.min()), 0.0), max(float(samples.max()), 0.0)
    if high - low < least_amps:
        return Adc(bits, low, low + least_amps)
    candidates = [Adc(bits, low * shrink, high * shrink) for shrink in SHRINK]
    errors = [np.square(adc.amps(adc.convert(samples)) - samples).mean() for adc in candidates]
    return candidates[int(np.argmin(errors))]
