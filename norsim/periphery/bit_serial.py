"""Bit-serial: activation bits on the wordlines one after the other, weight codes as cell currents.

A cell at code q conducts q I_LSB when its wordline is up. The bitline adds the currents, and the passes are
shifted and added digitally:

    sum_i (q_i - z) x_i = sum_p 2^p  sum_i (q_i - z) x_i[p]

where x_i[p] is bit p of x_i. norsim.periphery.mapping says where the term with z comes from, and how a weight of more
bits than a cell has is cut into slices.

Longer than 300 lines because the encoding and its section of a chip file belong together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from norsim.array.tile import Floats, Stimulus
from norsim.configuration.quantities import Amperes, Volts, quantity
from norsim.configuration.section import Section
from norsim.configuration.wires import WiresSection
from norsim.errors import ConfigurationError
from norsim.periphery.columns import Columns, same_block
from norsim.periphery.encoding import Codes, Sense
from norsim.periphery.mapping import MappingSection, Scheme, digits, halves, slice_names, slice_values, slices_of

# The names of fields before weights had slices, and their present names.
BEFORE_SLICES = {"zero_point": "scheme", "weight_bits": "cell_bits"}


@dataclass(frozen=True)
class BitSerial:
    """The bit-serial encoding.

    `wordline_volts`  gate volts of a 1 bit, and `off_volts` those of a 0 bit
    `bitline_volts`   read volts on every bitline
    `top_amps`        cell current of the highest cell code
    `scheme`          where the zero point's term comes from
    `group`           bitlines of a group that has reference columns: one for each slice of a weight
    `cell_bits`       width of a cell's code
    `slices`          cells that hold a weight code, in neighbouring columns
    `strap_every`     bitlines between two straps, which the slices of a weight do not straddle; None without straps
    `blocks`          blocks on a tile: groups of a convolution
    """

    wordline_volts: float
    bitline_volts: float
    top_amps: float
    scheme: Scheme
    group: int
    cell_bits: int = 4
    slices: int = 1
    strap_every: int | None = None
    blocks: int = 1
    off_volts: float = 0.0

    name = "bit-serial"
    inputs_on: ClassVar[Literal["wordlines"]] = "wordlines"
    # The widest codes that a quantized layer can have.
    activation_bits, activation_key = 8, ""
    # Wordlines of 0 bits.
    has_unselected_cells = True
    is_coupled = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled encoding, also of a deployed network that was saved before weights had slices."""
        self.__dict__.update({BEFORE_SLICES.get(name, name): value for name, value in state.items()})

    @property
    def lsb_amps(self) -> float:
        """Amperes of one code step of one cell whose bit is 1."""
        return self.top_amps / float(2**self.cell_bits - 1)

    @property
    def level_amps(self) -> Floats:
        """`[levels]`: uniform in current, from zero."""
        return np.linspace(0.0, self.top_amps, 2**self.cell_bits)

    @property
    def verify_volts(self) -> tuple[float, float]:
        """Gate and drain volts of the array's own read."""
        return self.wordline_volts, self.bitline_volts

    @property
    def top_drive(self) -> int:
        """One bit."""
        return 1

    @property
    def input_amps(self) -> Floats | None:
        """None in place of `[drives]`: wordlines have given volts."""
        return None

    def with_gate_volts(self, volts: Floats) -> BitSerial:
        """Return this encoding: no peripheral cells set its wordlines to `volts` `[drives]`."""
        return self

    def driven(self, wordline_volts: float, dac_sigma: float, random: Callable[[], np.random.Generator]) -> BitSerial:
        """Return this encoding with other wordline volts; it has no DAC, since a wordline is up or down."""
        return replace(self, wordline_volts=wordline_volts)

    def for_weights(self, weight_bits: int) -> BitSerial:
        """Return this encoding for weights of that width.

        Raises ConfigurationError if the slices of a weight do not fit a strapped group.
        """
        slices = slices_of(weight_bits, self.cell_bits)
        if slices == self.slices:
            return self
        found, straps = replace(self, slices=slices), self.strap_every
        if slices > 1 and self.scheme == "reference" and straps is not None and straps % self.group:
            raise ConfigurationError(
                f"weights of {weight_bits} bits take {slices} cells of one strapped group, but groups of {self.group} "
                f"bitlines (reference_every) do not fit between straps every {straps} bitlines; make reference_every "
                "a divisor of strap_every"
            )
        group = found.columns.group
        if slices > 1 and group is not None and not found.columns.outputs_on(group):
            key = "reference_every" if self.scheme == "reference" else "strap_every"
            needed = slices if self.scheme == "digital" else 2 * slices
            raise ConfigurationError(
                f"with the scheme {self.scheme} a weight of {weight_bits} bits takes {needed} bitlines of one group, "
                f"but a group of {group} bitlines ({key}) is too small; increase {key} or mapping.cell_bits"
            )
        return found

    @property
    def slice_values(self) -> Floats:
        """`[slices]`: powers of the number of levels of a cell."""
        return slice_values(self.cell_bits, self.slices)

    def slice_codes(self, weights: Codes) -> Codes:
        """Cut weight codes of any shape into `[..., slices]` digits."""
        return digits(weights, self.cell_bits, self.slices)

    @property
    def columns(self) -> Columns:
        """The bitlines of outputs. Without slices, only references need groups."""
        group = self.group if self.scheme == "reference" else self.strap_every if self.slices > 1 else None
        return Columns(self.scheme, group, self.slices, self.blocks)

    def for_blocks(self, blocks: int) -> BitSerial:
        """Return this encoding for a tile of that many blocks."""
        return self if blocks == self.blocks else replace(self, blocks=blocks)

    def blocks_on(self, wordlines: int, bitlines: int, inputs: int, outputs: int) -> int:
        """Return the blocks of inputs, on wordlines, and outputs that fit, each block with its own reference."""
        return min(wordlines // inputs, self.columns.blocks_on(bitlines, outputs))

    def capacity(self, wordlines: int, bitlines: int) -> tuple[int, int]:
        """Return one input per wordline, and the outputs left beside their reference or negative columns."""
        return wordlines, self.columns.capacity(bitlines)

    def passes(self, input_bits: int) -> int:
        """Return one pass per bit."""
        return input_bits

    def slots(self, input_bits: int) -> int:
        """Return 1: each pass is converted."""
        return 1

    def cell_codes(self, weights: Codes, zero: int) -> Codes:
        """Convert weight codes `[inputs, outputs]` to level codes `[wordlines, bitlines]`; unused cells are at 0."""
        inputs, outputs = weights.shape
        own = np.repeat(same_block(inputs, outputs, self.blocks), self.slices, axis=1).astype(np.uint8)
        plus, minus, bitlines = self.columns.places(outputs)
        codes = np.zeros((inputs, bitlines), dtype=np.uint8)
        if self.scheme == "differential":
            above, below = halves(weights, zero, self.cell_bits, self.slices)
            codes[:, plus], codes[:, minus] = above.reshape(inputs, -1), below.reshape(inputs, -1)
            return codes
        if self.scheme == "reference":
            codes[:, minus] |= own * np.tile(self.slice_codes(np.array([zero])).ravel(), outputs)
        codes[:, plus] = own * self.slice_codes(weights).reshape(inputs, -1)
        return codes

    def off_cells(self, inputs: int, outputs: int) -> NDArray[np.bool_] | None:
        """Return None in place of `[wordlines, bitlines]`: cells at code 0 are off."""

    def _line_values(self, weights: Codes, zero: int) -> NDArray[np.int64]:
        """Return what each input adds to each slice of each output, `[inputs, outputs x slices]`, in code steps."""
        if self.scheme == "differential":
            above, below = halves(weights, zero, self.cell_bits, self.slices)
            found = above.astype(np.int64) - below
        else:
            subtracted = self.slice_codes(np.array(0 if self.scheme == "digital" else zero))
            found = self.slice_codes(weights).astype(np.int64) - subtracted
            found *= same_block(len(weights), weights.shape[1], self.blocks)[..., None]
        return found.reshape(len(weights), -1)

    def drives(self, codes: Codes) -> Codes:
        """Return the codes `[vectors, inputs]` unchanged: there is no DAC that could have an error."""
        return codes

    def drive(self, codes: Codes, outputs: int, input_bits: int) -> Stimulus:
        """Convert the bits of the codes `[vectors, inputs]` to wordline volts."""
        notes = (
            f"Read k, counted from 0, is vector k // {input_bits}, pass k % {input_bits}; pass p drives bit p of the "
            "activation codes, LSB first.",
        )
        return self._stimulus(self.shares(codes, input_bits), outputs, notes)

    def _stimulus(self, shares: NDArray[np.float32], outputs: int, notes: tuple[str, ...]) -> Stimulus:
        """Return the volts of wordlines that are up, 1, or not, 0, in `shares` `[reads, wordlines]`."""
        wordlines = self.off_volts + shares.astype(np.float64) * (self.wordline_volts - self.off_volts)
        volts = np.full((len(wordlines), self.columns.places(outputs)[2]), self.bitline_volts)
        for own in (wordlines, volts):
            own.setflags(write=False)
        return Stimulus(
            wordlines, volts, driven="wordlines", full_volts=self.wordline_volts, notes=notes, off_volts=self.off_volts
        )

    def shares(self, drives: NDArray[np.generic], count: int) -> NDArray[np.float32]:
        """Return the drives' bits `[vectors x passes, inputs]`, least significant first: a wordline is up or down."""
        places = np.arange(count, dtype=np.uint8)[:, None]
        codes: Codes = drives.astype(np.uint8, copy=False)
        bits = codes[:, None, :] >> places & 1
        return bits.reshape(-1, codes.shape[1]).astype(np.float32)

    def sense(self, outputs: int) -> Sense:
        """Return for each slice of each output its bitline, minus the reference or the negative column."""
        plus, minus, _ = self.columns.places(outputs)
        if self.scheme == "digital":
            return [[("bitline", int(own), 1)] for own in plus]
        return [[("bitline", int(own), 1), ("bitline", int(other), -1)] for own, other in zip(plus, minus, strict=True)]

    def pass_values(self, codes: Codes, weights: Codes, zero: int, input_bits: int) -> Floats:
        """Return `[vectors, passes, outputs x slices]`, sum_i (q_i - z) x_i[p] of each slice, without z if that term
        is digital."""
        # Exact in single precision, which takes half the time: sums of up to 65,000 weights are below 2^24.
        exact = np.dtype(np.float32 if len(weights) * 255 < 2**24 else np.float64)
        bits = self.shares(codes, input_bits).astype(exact, copy=False)
        sums: Floats = (bits @ self._line_values(weights, zero).astype(exact)).astype(np.float64)
        return sums.reshape(len(codes), input_bits, -1)

    def place_values(self, passes: int) -> Floats:
        """Return `[passes]`, the powers of two of shift and add."""
        return np.exp2(np.arange(passes, dtype=np.float64))

    def digital_part(self, codes: Codes, zero: int) -> Floats | None:
        """Return the zero point's term `[vectors, blocks]` if it is computed from the inputs, else None."""
        if self.scheme != "digital":
            return None
        found: Floats = -zero * codes.reshape(len(codes), self.blocks, codes.shape[1] // self.blocks).sum(
            axis=2, dtype=np.float64
        )
        return found

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
        plus, minus, bitlines = self.columns.places(len(outputs))
        notes = ["unused"] * bitlines
        names = slice_names(outputs, self.slices)
        if self.scheme == "reference":
            of_zero = np.tile(self.slice_codes(np.array([zero])).ravel(), len(outputs))
            for bitline, code in zip(minus.tolist(), of_zero.tolist(), strict=True):
                kind = "group, every cell" if self.blocks == 1 else "block, every cell of its inputs"
                notes[bitline] = f"reference column of its {kind} at code {code}"
        for name, bitline, other in zip(names, plus.tolist(), minus.tolist(), strict=True):
            if self.scheme == "differential":
                notes[bitline], notes[other] = f"{name}, plus", f"{name}, minus"
            else:
                notes[bitline] = name
        return inputs, notes


class BitSerialSection(Section):
    """Keys of the encoding `bit-serial`: inputs are wordlines, outputs are bitlines.

    `reference_every` and `wires.strap_every` are independent keys. A reference shares the source-line segment of its
    outputs only if both are equal. Weights in slices need a `strap_every` that is a multiple of `reference_every`.
    """

    wordline_read: Volts
    """Gate voltage of a 1 bit."""
    wordline_off: Volts = 0.0
    """Gate voltage of a 0 bit, below `wordline_read`; a negative one cuts the leakage of unselected cells."""
    bitline_read: Volts
    """Voltage of every bitline."""
    top_level: Amperes
    """Cell current of the highest cell code, 15 for `mapping.cell_bits` of 4; levels are uniform in current from 0."""
    reference_every: Annotated[int, Field(ge=2, le=8192)]
    """Bitlines per group, including its reference columns, one for each slice of a weight. Only for `mapping.scheme`
    `reference`."""
    wordline_rise: Annotated[float, quantity("second"), Field(gt=0, allow_inf_nan=False)] | None = None
    """Time that wordlines have to rise before cells are sampled: sets how far gates lag behind the driver; null: no
    lag."""
    wires: WiresSection

    read_keys: ClassVar[tuple[str, str, str]] = ("wordline_read", "bitline_read", "top_level")

    # The encoding that the section builds.
    kind: ClassVar[type[BitSerial]] = BitSerial

    @model_validator(mode="after")
    def _selects(self) -> BitSerialSection:
        if self.wordline_off and not self.wordline_off < self.wordline_read:
            raise ValueError(
                f"`wordline_off` is {self.wordline_off:g} V; expected less than `wordline_read`, which is "
                f"{self.wordline_read:g} V"
            )
        return self

    def encoding(self, mapping: MappingSection) -> BitSerial:
        """Return the encoding, in SI units."""
        return self.kind(
            self.wordline_read, self.bitline_read, self.top_level, mapping.scheme, self.reference_every,
            mapping.cell_bits, strap_every=self.wires.strap_every, off_volts=self.wordline_off,
        )  # fmt: skip
