"""Bit-serial: activation bits on the wordlines one after the other, weight codes as cell currents.

A cell at code q conducts q I_LSB when its wordline is up. The bitline adds the currents, and the passes are
shifted and added digitally:

    sum_i (q_i - z) x_i = sum_p 2^p  sum_i (q_i - z) x_i[p]

where x_i[p] is bit p of x_i. The term with z comes from
  * `reference`: a column of cells at code z in each strapped group, subtracted before the ADC: it shares the
    source line of its neighbours, so IR drop distorts it as it distorts them;
  * `digital`: -z sum_i x_i[p], computed from the inputs;
  * `differential`: two columns per output, one for positive and one for negative q - z.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from norsim.array.tile import Floats, Stimulus
from norsim.configuration.quantities import Amperes, Volts, quantity
from norsim.configuration.section import Section
from norsim.configuration.wires import WiresSection
from norsim.periphery.encoding import Codes, Sense

ZeroPoint = Literal["reference", "digital", "differential"]


@dataclass(frozen=True)
class BitSerial:
    """The bit-serial encoding.

    `wordline_volts`  gate volts of a 1 bit; a 0 bit is 0 V
    `bitline_volts`   read volts on every bitline
    `top_amps`        cell current of the highest weight code
    `zero_point`      where the zero point's term comes from
    `group`           bitlines between two straps; one of them is the reference column
    `weight_bits`     width of a weight code
    """

    wordline_volts: float
    bitline_volts: float
    top_amps: float
    zero_point: ZeroPoint
    group: int
    weight_bits: int = 4

    name = "bit-serial"
    # The widest codes that a quantized layer can have.
    activation_bits = 8
    # Wordlines of 0 bits.
    has_unselected_cells = True

    @property
    def lsb_amps(self) -> float:
        """Amperes of one code step of one cell whose bit is 1."""
        return self.top_amps / float(2**self.weight_bits - 1)

    @property
    def level_amps(self) -> Floats:
        """`[levels]`: uniform in current, from zero."""
        return np.linspace(0.0, self.top_amps, 2**self.weight_bits)

    @property
    def verify_volts(self) -> tuple[float, float]:
        """Gate and drain volts of the array's own read."""
        return self.wordline_volts, self.bitline_volts

    @property
    def top_drive(self) -> int:
        """One bit."""
        return 1

    def driven(self, wordline_volts: float, dac_sigma: float, random: Callable[[], np.random.Generator]) -> BitSerial:
        """Return this encoding with other wordline volts; it has no DAC, since a wordline is up or down."""
        return replace(self, wordline_volts=wordline_volts)

    def capacity(self, wordlines: int, bitlines: int) -> tuple[int, int]:
        """Return one input per wordline, and the outputs left beside their reference or negative columns."""
        if self.zero_point == "reference":
            groups, rest = divmod(bitlines, self.group)
            return wordlines, groups * (self.group - 1) + max(rest - 1, 0)
        return wordlines, bitlines // 2 if self.zero_point == "differential" else bitlines

    def passes(self, input_bits: int) -> int:
        """Return one pass per bit."""
        return input_bits

    def _groups(self, outputs: int) -> list[range]:
        """Return the outputs of each strapped group."""
        size = self.group - 1
        return [range(start, min(start + size, outputs)) for start in range(0, outputs, size)]

    def _columns(self, outputs: int) -> tuple[list[int], list[int]]:
        """Return for each output its bitline, and the bitline of its reference in the middle of the group."""
        own, reference = [], []
        for number, members in enumerate(self._groups(outputs)):
            first, middle = number * self.group, len(members) // 2
            for place in range(len(members)):
                own.append(first + place + (place >= middle))
                reference.append(first + middle)
        return own, reference

    def cell_codes(self, weights: Codes, zero: int) -> Codes:
        """Convert weight codes `[inputs, outputs]` to level codes `[wordlines, bitlines]`."""
        inputs, outputs = weights.shape
        if self.zero_point == "digital":
            return weights.copy()
        if self.zero_point == "differential":
            signed = weights.astype(np.int16) - zero
            both = np.stack([np.maximum(signed, 0), np.maximum(-signed, 0)], axis=2)
            return both.reshape(inputs, 2 * outputs).astype(np.uint8)
        own, reference = self._columns(outputs)
        codes = np.full((inputs, outputs + len(set(reference))), zero, dtype=np.uint8)
        codes[:, own] = weights
        return codes

    def drives(self, codes: Codes) -> Codes:
        """Return the codes `[vectors, inputs]` unchanged: there is no DAC that could have an error."""
        return codes

    def drive(self, codes: Codes, outputs: int, input_bits: int) -> Stimulus:
        """Convert the bits of the codes `[vectors, inputs]` to wordline volts."""
        wordlines = self.shares(codes, input_bits).astype(np.float64) * self.wordline_volts
        bitlines = self.cell_codes(np.zeros((1, outputs), dtype=np.uint8), 0).shape[1]
        volts = np.full((len(wordlines), bitlines), self.bitline_volts)
        notes = (
            f"Read k, counted from 0, is vector k // {input_bits}, pass k % {input_bits}; pass p drives bit p of the "
            "activation codes, LSB first.",
        )
        return Stimulus(wordlines, volts, driven="wordlines", full_volts=self.wordline_volts, notes=notes)

    def shares(self, drives: NDArray[np.generic], passes: int) -> NDArray[np.float32]:
        """Return the drives' bits `[vectors x passes, inputs]`, least significant first: a wordline is up or down."""
        places = np.arange(passes, dtype=np.uint8)[:, None]
        codes: Codes = drives.astype(np.uint8, copy=False)
        bits = codes[:, None, :] >> places & 1
        return bits.reshape(-1, codes.shape[1]).astype(np.float32)

    def sense(self, outputs: int) -> Sense:
        """Return for each output its bitline, minus the reference or the negative column."""
        if self.zero_point == "digital":
            return [[("bitline", j, 1)] for j in range(outputs)]
        if self.zero_point == "differential":
            return [[("bitline", 2 * j, 1), ("bitline", 2 * j + 1, -1)] for j in range(outputs)]
        return [[("bitline", own, 1), ("bitline", ref, -1)] for own, ref in zip(*self._columns(outputs), strict=True)]

    def pass_values(self, codes: Codes, weights: Codes, zero: int, input_bits: int) -> Floats:
        """Return `[vectors, passes, outputs]`, sum_i (q_i - z) x_i[p]; without z if that term is digital."""
        offset = 0 if self.zero_point == "digital" else zero
        # Exact in single precision, which takes half the time: sums of up to 65,000 weights are below 2^24.
        exact = np.dtype(np.float32 if len(weights) * 255 < 2**24 else np.float64)
        bits = self.shares(codes, input_bits).astype(exact, copy=False)
        sums: Floats = (bits @ (weights.astype(np.int64) - offset).astype(exact)).astype(np.float64)
        return sums.reshape(len(codes), input_bits, -1)

    def place_values(self, passes: int) -> Floats:
        """Return `[passes]`, the powers of two of shift and add."""
        return np.exp2(np.arange(passes, dtype=np.float64))

    def digital_part(self, codes: Codes, zero: int) -> Floats | None:
        """Return the zero point's term `[vectors]` if it is computed from the inputs, else None."""
        return -zero * codes.sum(axis=1, dtype=np.float64) if self.zero_point == "digital" else None

    def order(self, loads: NDArray[np.int64], rows_per_source_line: int) -> NDArray[np.int64]:
        """Return the order `[inputs]` that pairs the heaviest with the lightest row, to balance shared source lines."""
        heavy_first = np.argsort(-loads, kind="stable")
        if rows_per_source_line == 1:
            return heavy_first
        order = np.empty_like(heavy_first)
        half = (len(loads) + 1) // 2
        order[0::2], order[1::2] = heavy_first[:half], heavy_first[half:][::-1]
        return order

    def line_notes(self, inputs: list[str], outputs: list[str], zero: int) -> tuple[list[str], list[str]]:
        """Return notes: wordlines are inputs, bitlines are outputs and the columns subtracted from them."""
        if self.zero_point == "digital":
            return inputs, outputs
        if self.zero_point == "differential":
            return inputs, [f"{name}, {sign}" for name in outputs for sign in ("plus", "minus")]
        own, reference = self._columns(len(outputs))
        notes = [f"reference column of its group, every cell at code {zero}"] * (len(outputs) + len(set(reference)))
        for name, bitline in zip(outputs, own, strict=True):
            notes[bitline] = name
        return inputs, notes


class BitSerialSection(Section):
    """Keys of the encoding `bit-serial`: inputs are wordlines, outputs are bitlines.

    `reference_every` and `wires.strap_every` are independent keys. A reference shares the source-line segment of its
    outputs only if both are equal.
    """

    wordline_read: Volts
    """Gate voltage of a 1 bit; a 0 bit is 0 V."""
    bitline_read: Volts
    """Voltage of every bitline."""
    top_level: Amperes
    """Cell current of weight code 15; levels are uniform in current from 0."""
    zero_point: ZeroPoint
    """Source of the term of the weights' zero point."""
    reference_every: Annotated[int, Field(ge=2, le=8192)]
    """Bitlines per group, including its reference column. Only for `reference`."""
    wordline_rise: Annotated[float, quantity("second"), Field(gt=0, allow_inf_nan=False)] | None = None
    """Time that wordlines have to rise before cells are sampled: sets how far gates lag behind the driver; null: no
    lag."""
    wires: WiresSection

    read_keys: ClassVar[tuple[str, str, str]] = ("wordline_read", "bitline_read", "top_level")

    def encoding(self) -> BitSerial:
        """Return the encoding, in SI units."""
        return BitSerial(
            self.wordline_read, self.bitline_read, self.top_level, self.zero_point, self.reference_every
        )  # fmt: skip
