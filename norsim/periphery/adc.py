"""The analog-to-digital converter of each output, and its range."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Floats
from norsim.errors import ConfigurationError

Kind = Literal["sar", "ramp", "flash"]

# A table of thresholds has one for each code of each converter.
MOST_TABLE_BITS = 12
SHRINK = np.linspace(1.0, 0.5, 26)


@dataclass(frozen=True)
class Adc:
    """A uniform mid-tread converter. Code k stands for `low_amps + k step`; currents outside the range clip.

    `bits`       resolution
    `low_amps`, `high_amps`   the currents of the lowest and the highest code

    Raises ConfigurationError for an empty range or a resolution outside 1 to 24 bits.
    """

    bits: int
    low_amps: float
    high_amps: float

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 24:
            raise ConfigurationError(f"an ADC must have 1 to 24 bits, not {self.bits}")
        if not -np.inf < self.low_amps < self.high_amps < np.inf:
            raise ConfigurationError(f"the ADC range {self.low_amps:g} A to {self.high_amps:g} A is empty")

    @property
    def step_amps(self) -> float:
        """Amperes between two codes."""
        return (self.high_amps - self.low_amps) / float(2**self.bits - 1)

    def convert(self, amps: Floats) -> Floats:
        """Return the codes, as whole numbers, of currents of any shape, in an array of the same shape and type."""
        # Ties go to the even code, in NumPy as in torch.
        return ((amps - self.low_amps) / self.step_amps).round().clip(0, 2**self.bits - 1)

    def amps(self, codes: Floats) -> Floats:
        """Return the currents that codes stand for, in amperes; any shape."""
        return codes * self.step_amps + self.low_amps


@dataclass(frozen=True, eq=False)
class Ranges:
    """The ranges of the converters of a tile, one for each slice of each output: `Adc`, but with arrays.

    `bits`       resolution of all of them
    `low_amps`, `high_amps`   `[outputs x slices]`: the currents of the lowest and the highest code
    """

    bits: int
    low_amps: Floats
    high_amps: Floats

    @classmethod
    def of(cls, slices: Sequence[Adc], outputs: int) -> Ranges:
        """Return the ranges of that many outputs, given that of each slice."""
        low, high = ([getattr(adc, name) for adc in slices] for name in ("low_amps", "high_amps"))
        return cls(slices[0].bits, np.tile(low, outputs), np.tile(high, outputs))

    @property
    def step_amps(self) -> Floats:
        """`[outputs x slices]`: amperes between two codes."""
        return (self.high_amps - self.low_amps) / float(self.top)

    @property
    def top(self) -> int:
        """The highest code."""
        return int(2**self.bits) - 1

    def amps(self, codes: Floats) -> Floats:
        """Return the currents that codes `[..., outputs x slices]` stand for, in amperes."""
        return codes * self.step_amps + self.low_amps


@dataclass(frozen=True)
class ConverterSpread:
    """Standard deviations of the errors of real converters: over converters, and of the noise of each conversion.

    An output's current I is converted to

        y = (I (1 + g) - I_low) / step + o + 4 b u (1 - u) + noise,     u = y / (2^bits - 1) before o, b and noise,

    with the errors of IEEE Std 1241: gain error g, offset o, and an integral non-linearity in the shape of a bow that
    has its maximum, b, at mid-scale.

    `gain`      relative;  `offset`, `bow`, `noise`  in steps
    `inl`       deviation of thresholds, in steps at mid-scale, with the pattern of the converter's `kind`: see
                `threshold_errors`
    """

    gain: float = 0.0
    offset: float = 0.0
    bow: float = 0.0
    noise: float = 0.0
    inl: float = 0.0
    kind: Kind = "sar"

    def draw(self, outputs: int, random: np.random.Generator, outputs_per_converter: int = 1) -> Flaws:
        """Draw the errors seen by `outputs` outputs, of which each `outputs_per_converter` neighbours share a
        converter."""
        gain, offset, bow = random.standard_normal((3, -(-outputs // outputs_per_converter)))
        own = np.arange(outputs) // outputs_per_converter
        return Flaws(self.gain * gain[own], self.offset * offset[own], self.bow * bow[own])

    def with_thresholds(
        self, flaws: Flaws, bits: int, of_tile: Callable[[], np.random.Generator],
        of_chip: Callable[[], np.random.Generator], outputs_per_converter: int = 1,
    ) -> Flaws:  # fmt: skip
        """Return `flaws` with thresholds drawn from the random numbers of the tile, or, because all converters of a
        chip compare with one ramp, from those of the chip.

        Raises ConfigurationError for more than 12 bits.
        """
        if not self.inl:
            return flaws
        if bits > MOST_TABLE_BITS:
            raise ConfigurationError(
                f"adc.inl draws each of the 2^{bits} thresholds of a converter; give at most {MOST_TABLE_BITS} bits, "
                "or set adc.inl to 0"
            )
        own = np.arange(len(flaws.gain)) // outputs_per_converter
        if self.kind == "ramp":
            errors = threshold_errors(self.kind, bits, 1, of_chip())[np.zeros_like(own)]
        else:
            errors = threshold_errors(self.kind, bits, int(own[-1]) + 1, of_tile())[own]
        thresholds = np.arange(2**bits) - 0.5 + self.inl * errors
        # A flash converter counts its comparators, and a ramp its steps: thresholds act in their order.
        if self.kind != "sar":
            thresholds[:, 1:] = np.sort(thresholds[:, 1:], axis=1)
        return replace(flaws, thresholds=thresholds)


def threshold_errors(kind: Kind, bits: int, converters: int, random: np.random.Generator) -> Floats:
    """Draw deviations `[converters, 2^bits]` of the thresholds below each code, with a variance of 1 at mid-scale.

      * `sar`     binary-weighted capacitors of independent units, so bit k has the weight 2^k + s 2^(k/2) x_k, with x_k
                  normal. A threshold adds the errors of its bits
      * `ramp`    a ramp of independent steps: a random walk
      * `flash`   an offset of each comparator

    The first two are taken from the line through their ends, since gain and offset are other keys. Code 0 has none.
    """
    top = 2**bits - 1
    if kind == "flash":
        offsets: Floats = random.standard_normal((converters, top + 1))
        return offsets
    if kind == "ramp":
        each = random.standard_normal((converters, top + 1))
        each[:, 0] = 0.0
        errors = np.cumsum(each, axis=1)
    else:
        weights = random.standard_normal((converters, bits)) * np.exp2(np.arange(bits) / 2)
        errors = weights @ (np.arange(top + 1) >> np.arange(bits)[:, None] & 1)
    middle = (top + 1) // 2
    # At mid-scale c = 2^(bits - 1) units with the errors of all subtracted: c (top - c) / top is the variance.
    straight: Floats = errors - errors[:, -1:] * (np.arange(top + 1) / top)
    scaled: Floats = straight / np.sqrt(middle * (top - middle) / top) if top > 1 else 0 * straight
    return scaled


IDEAL_CONVERTERS = ConverterSpread()


@dataclass(frozen=True, eq=False)
class Flaws:
    """The errors of the converter of each slice of each output, `[outputs x slices]`: see ConverterSpread.

    `amps`   by how much the current that a converter gets from its amplifiers is too high, amperes
    `thresholds`  `[outputs x slices, 2^bits]`, steps: where a code begins; None for half a step below each
    """

    gain: Floats
    offset: Floats
    bow: Floats
    amps: Floats | float = 0.0
    thresholds: Floats | None = None

    def low_amps(self, ranges: Ranges) -> Floats:
        """Return the output of ideal amplifiers, times 1 + gain, at which a converter without offset has its lowest
        code."""
        low: Floats = ranges.low_amps - (1 + self.gain) * self.amps
        return low

    def convert(self, amps: Floats, ranges: Ranges) -> Floats:
        """Return the codes, as whole numbers, of currents `[..., outputs x slices]`, without noise."""
        seen = self.steps(amps, ranges)
        if self.thresholds is not None:
            return searched(seen, self.thresholds, ranges.bits)
        # Ties go to the even code, in NumPy as in torch.
        return seen.round().clip(0, ranges.top)

    def steps(self, amps: Floats, ranges: Ranges) -> Floats:
        """Return currents `[..., outputs x slices]` in steps above the lowest code, with the converters' errors but no
        noise."""
        ideal = (amps * (1 + self.gain) - self.low_amps(ranges)) / ranges.step_amps
        share = ideal / ranges.top
        seen: Floats = ideal + self.offset + 4 * self.bow * share * (1 - share)
        return seen

    def edges(self, ranges: Ranges) -> tuple[Floats, Floats]:
        """Return the currents `[outputs x slices]`, amperes, half a step outside the lowest and the highest code.

        They include gain and offset. Thresholds of their own are left out, and so is the bow: it is 0 at both codes,
        and less than 2 b / (2^bits - 1) of a step half a step from them.
        """
        return (
            (ranges.low_amps + (-0.5 - self.offset) * ranges.step_amps) / (1 + self.gain) - self.amps,
            (ranges.high_amps + (0.5 - self.offset) * ranges.step_amps) / (1 + self.gain) - self.amps,
        )


def searched(seen: Floats, thresholds: Floats, bits: int) -> Floats:
    """Return the codes, as whole numbers, of currents `[..., outputs x slices]` in steps, found bit by bit as a SAR
    converter does: a bit is set if the current is not below the threshold `[outputs x slices, 2^bits]` of the code."""
    columns = np.arange(len(thresholds))
    codes = np.zeros(seen.shape, np.int64)
    for bit in range(bits - 1, -1, -1):
        trial = codes | 1 << bit
        codes = np.where(seen >= thresholds[columns, trial], trial, codes)
    return codes.astype(seen.dtype)


def fit_range(samples: Floats, bits: int, least_amps: float, counts: NDArray[np.int64] | None = None) -> Adc:
    """Find the range that converts `samples` (amperes, any shape) with the least mean squared error.

    `counts`, of the same shape, say how often each sample occurs; without them, once. The full span of the samples is
    shrunk towards zero by up to half, since clipping a rare peak can cost less than a coarser step. A span below
    `least_amps` is widened to it.
    """
    low, high = min(float(samples.min()), 0.0), max(float(samples.max()), 0.0)
    if high - low < least_amps:
        return Adc(bits, low, low + least_amps)
    candidates = [Adc(bits, low * shrink, high * shrink) for shrink in SHRINK]
    errors = [np.average(np.square(adc.amps(adc.convert(samples)) - samples), weights=counts) for adc in candidates]
    return candidates[int(np.argmin(errors))]
