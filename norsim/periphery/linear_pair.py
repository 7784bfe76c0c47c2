"""Linear-pair: activations as small drain volts, weights as differences of two thresholds.

After Ding & Huang (2021, DOI 10.19358/j.issn.2096-5133.2021.06.012). In the linear region a cell gives
I = beta (V_GS - V_T - V_DS/2) V_DS. Two cells a and b on one bitline and two wordlines at the same bias:

    I_a - I_b = beta (V_T,b - V_T,a) V_DS,

so the V_DS^2 term cancels and weights are signed. An activation code x is V_DS = x V_LSB on its
bitline; products add up along the wordline and leave through one source line per row, each into a sense
amplifier at a virtual ground. An output is the difference of two source-line currents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from norsim.array.tile import Floats, Stimulus
from norsim.configuration.quantities import Amperes, Volts
from norsim.configuration.section import Section
from norsim.configuration.wires import SensedWiresSection
from norsim.periphery.columns import same_block
from norsim.periphery.encoding import Codes, Sense
from norsim.periphery.mapping import MappingSection, digits, halves, slice_names, slice_values, slices_of


@dataclass(frozen=True)
class LinearPair:
    """The linear-pair encoding.

    `wordline_volts`  constant gate bias
    `drain_volts`     drain volts of the highest activation code
    `base_amps`       current at `drain_volts` of a cell at code 0
    `top_amps`        current at `drain_volts` of a cell at the highest cell code
    `cell_bits`, `activation_bits`  widths of a cell's code and of activation codes
    `slices`          pairs of cells that hold a weight code, on neighbouring pairs of wordlines
    `dac_steps`       error of the DAC's volts for each code, in steps; empty for an ideal DAC
    `blocks`          blocks on a tile: groups of a convolution
    """

    wordline_volts: float
    drain_volts: float
    base_amps: float
    top_amps: float
    cell_bits: int = 4
    activation_bits: int = 4
    slices: int = 1
    dac_steps: tuple[float, ...] = ()
    blocks: int = 1

    name = "linear-pair"
    inputs_on: ClassVar[Literal["bitlines"]] = "bitlines"
    activation_key = "linear_pair.dac_bits"
    # All wordlines are biased.
    has_unselected_cells, off_volts = False, 0.0
    # Its wordlines have given volts.
    input_amps, is_coupled = None, False

    @property
    def lsb_amps(self) -> float:
        """Amperes of one weight code step under one activation code step, for a linear cell."""
        steps = (2**self.cell_bits - 1) * (2**self.activation_bits - 1)
        return (self.top_amps - self.base_amps) / float(steps)

    @property
    def level_amps(self) -> Floats:
        """`[levels]`: uniform in current at the full drain volts, so uniform in threshold for an ideal cell."""
        return np.linspace(self.base_amps, self.top_amps, 2**self.cell_bits)

    @property
    def verify_volts(self) -> tuple[float, float]:
        """The gate bias, and the full drain volts."""
        return self.wordline_volts, self.drain_volts

    @property
    def top_drive(self) -> int:
        """The highest activation code."""
        return int(2**self.activation_bits) - 1

    def with_gate_volts(self, volts: Floats) -> LinearPair:
        """Return this encoding: no peripheral cells set its wordlines to `volts` `[drives]`."""
        return self

    def driven(self, wordline_volts: float, dac_sigma: float, random: Callable[[], np.random.Generator]) -> LinearPair:
        """Return this encoding with other wordline volts and a DAC with random level errors.

        The DAC's end levels are exact and all levels lie between them, as in a resistor ladder.
        """
        if not dac_sigma:
            return replace(self, wordline_volts=wordline_volts)
        steps = dac_sigma * random().standard_normal(self.top_drive + 1)
        steps[[0, -1]] = 0.0
        ideal = np.arange(len(steps))
        within = np.clip(ideal + steps, 0, self.top_drive) - ideal
        return replace(self, wordline_volts=wordline_volts, dac_steps=tuple(within.tolist()))

    def for_weights(self, weight_bits: int) -> LinearPair:
        """Return this encoding for weights of that width."""
        slices = slices_of(weight_bits, self.cell_bits)
        return self if slices == self.slices else replace(self, slices=slices)

    @property
    def slice_values(self) -> Floats:
        """`[slices]`: powers of the number of levels of a cell."""
        return slice_values(self.cell_bits, self.slices)

    def slice_codes(self, weights: Codes) -> Codes:
        """Cut weight codes of any shape into `[..., slices]` digits."""
        return digits(weights, self.cell_bits, self.slices)

    def capacity(self, wordlines: int, bitlines: int) -> tuple[int, int]:
        """Return one input per bitline, and outputs of one pair of wordlines per slice."""
        return bitlines, wordlines // (2 * self.slices)

    def for_blocks(self, blocks: int) -> LinearPair:
        """Return this encoding for a tile of that many blocks."""
        return self if blocks == self.blocks else replace(self, blocks=blocks)

    def blocks_on(self, wordlines: int, bitlines: int, inputs: int, outputs: int) -> int:
        """Return the blocks of inputs, on bitlines, and of outputs, on pairs of wordlines, that fit."""
        return min(bitlines // inputs, wordlines // (2 * self.slices * outputs))

    def off_cells(self, inputs: int, outputs: int) -> NDArray[np.bool_] | None:
        """Return the cells of the pairs between blocks, `[2 outputs x slices, inputs]`: code 0 would conduct."""
        if self.blocks == 1:
            return None
        return np.repeat(~same_block(inputs, outputs, self.blocks).T, 2 * self.slices, axis=0)

    def passes(self, input_bits: int) -> int:
        """Return 1: the whole activation code is applied at once."""
        return 1

    def slots(self, input_bits: int) -> int:
        """Return 1: the one pass is converted."""
        return 1

    def cell_codes(self, weights: Codes, zero: int) -> Codes:
        """Convert `[inputs, outputs]` to `[2 outputs x slices, inputs]`: the digits of q - z on the first cell of each
        pair, those of z - q on its second."""
        pairs = np.stack(halves(weights, zero, self.cell_bits, self.slices), axis=3)
        return np.ascontiguousarray(pairs.reshape(len(weights), -1).T)

    def drives(self, codes: Codes) -> NDArray[np.generic]:
        """Add the DAC's errors to codes `[vectors, inputs]`: one resistor ladder drives all lines."""
        return (np.arange(self.top_drive + 1) + self.dac_steps)[codes] if self.dac_steps else codes

    def shares(self, drives: NDArray[np.generic], count: int) -> NDArray[np.float32]:
        """Return the drives `[vectors, inputs]` as shares of the highest one: drain volts of the full drain volts."""
        return drives.astype(np.float32) / np.float32(self.top_drive)

    def drive(self, codes: Codes, outputs: int, input_bits: int) -> Stimulus:
        """Convert codes `[vectors, inputs]` to drain volts under a constant wordline bias."""
        volts = self.drives(codes).astype(np.float64) * (self.drain_volts / self.top_drive)
        bias = np.full((len(codes), 2 * outputs * self.slices), self.wordline_volts)
        notes = ("Read k, counted from 0, is vector k, in one pass; activation codes are bitline volts.",)
        return Stimulus(bias, volts, driven="bitlines", full_volts=self.drain_volts, notes=notes)

    def sense(self, outputs: int) -> Sense:
        """Return for each slice of each output the first source line of its pair minus the second."""
        return [[("source", 2 * j, 1), ("source", 2 * j + 1, -1)] for j in range(outputs * self.slices)]

    def pass_values(self, codes: Codes, weights: Codes, zero: int, input_bits: int) -> Floats:
        """Return `[vectors, 1, outputs x slices]`, sum_i (q_i - z) x_i of each slice."""
        above, below = halves(weights, zero, self.cell_bits, self.slices)
        values: Floats = codes.astype(np.float64) @ (above.astype(np.float64) - below).reshape(len(weights), -1)
        return values[:, None, :]

    def place_values(self, passes: int) -> Floats:
        """Return `[passes]`, all 1: the one pass is the sum."""
        return np.ones(passes)

    def digital_part(self, codes: Codes, zero: int) -> Floats | None:
        """Return None for codes `[vectors, inputs]`: the pair's difference includes the zero point."""
        return None

    def order(self, loads: NDArray[np.int64], rows_per_source_line: int) -> NDArray[np.int64]:
        """Return the order `[inputs]` with the heaviest bitlines nearest to the source lines' sense amplifiers."""
        return np.argsort(-loads, kind="stable")

    def line_notes(self, inputs: list[str], outputs: list[str], zero: int) -> tuple[list[str], list[str]]:
        """Return notes: wordline pairs are outputs, bitlines are inputs."""
        names = slice_names(outputs, self.slices)
        return [f"{name}, {sign}" for name in names for sign in ("plus", "minus")], inputs


class LinearPairSection(Section):
    """Keys of the encoding `linear-pair`: inputs are bitlines, outputs are pairs of wordlines.

    Outputs are read from source lines, so each row has its own.
    """

    wordline_bias: Volts
    """Gate voltage of every cell."""
    drain_full: Volts
    """Drain voltage of the highest activation code, 15 for `dac_bits` of 4."""
    dac_bits: Annotated[int, Field(ge=1, le=8)] = 4
    """Bits of the drain voltage DAC, and of the widest activation codes. More than 4 need a cell whose weights are
    linear in the drain voltage to half a step of the DAC; others are refused when they are programmed."""
    base_level: Amperes
    """Cell current of cell code 0 at `drain_full`."""
    top_level: Amperes
    """Cell current of the highest cell code, 15 for `mapping.cell_bits` of 4, at `drain_full`."""
    wires: SensedWiresSection

    read_keys: ClassVar[tuple[str, str, str]] = ("wordline_bias", "drain_full", "top_level")
    # Wordlines are constant.
    wordline_rise: ClassVar[None] = None

    def encoding(self, mapping: MappingSection) -> LinearPair:
        """Return the encoding, in SI units."""
        return LinearPair(
            self.wordline_bias, self.drain_full, self.base_level, self.top_level, mapping.cell_bits, self.dac_bits
        )
