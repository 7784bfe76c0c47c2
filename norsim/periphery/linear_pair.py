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
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Floats, Stimulus
from norsim.configuration.quantities import Amperes, Volts
from norsim.configuration.section import Section
from norsim.configuration.wires import SensedWiresSection
from norsim.periphery.encoding import Codes, Sense


@dataclass(frozen=True)
class LinearPair:
    """The linear-pair encoding.

    `wordline_volts`  constant gate bias
    `drain_volts`     drain volts of the highest activation code
    `base_amps`       current at `drain_volts` of a cell at code 0
    `top_amps`        current at `drain_volts` of a cell at the highest weight code
    `weight_bits`, `activation_bits`  widths of the codes
    `dac_steps`       error of the DAC's volts for each code, in steps; empty for an ideal DAC
    """

    wordline_volts: float
    drain_volts: float
    base_amps: float
    top_amps: float
    weight_bits: int = 4
    activation_bits: int = 4
    dac_steps: tuple[float, ...] = ()

    name = "linear-pair"
    # All wordlines are biased.
    has_unselected_cells = False

    @property
    def lsb_amps(self) -> float:
        """Amperes of one weight code step under one activation code step, for a linear cell."""
        steps = (2**self.weight_bits - 1) * (2**self.activation_bits - 1)
        return (self.top_amps - self.base_amps) / float(steps)

    @property
    def level_amps(self) -> Floats:
        """`[levels]`: uniform in current at the full drain volts, so uniform in threshold for an ideal cell."""
        return np.linspace(self.base_amps, self.top_amps, 2**self.weight_bits)

    @property
    def verify_volts(self) -> tuple[float, float]:
        """The gate bias, and the full drain volts."""
        return self.wordline_volts, self.drain_volts

    @property
    def top_drive(self) -> int:
        """The highest activation code."""
        return int(2**self.activation_bits) - 1

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

    def capacity(self, wordlines: int, bitlines: int) -> tuple[int, int]:
        """Return one input per bitline, one output per pair of wordlines."""
        return bitlines, wordlines // 2

    def passes(self, input_bits: int) -> int:
        """Return 1: the whole activation code is applied at once."""
        return 1

    def cell_codes(self, weights: Codes, zero: int) -> Codes:
        """Convert `[inputs, outputs]` to `[2 outputs, inputs]`: q - z on the pair's first cell, z - q on its second."""
        signed = weights.astype(np.int16).T - zero
        both = np.stack([np.maximum(signed, 0), np.maximum(-signed, 0)], axis=1)
        return both.reshape(-1, weights.shape[0]).astype(np.uint8)

    def drives(self, codes: Codes) -> NDArray[np.generic]:
        """Add the DAC's errors to codes `[vectors, inputs]`: one resistor ladder drives all lines."""
        return (np.arange(self.top_drive + 1) + self.dac_steps)[codes] if self.dac_steps else codes

    def shares(self, drives: NDArray[np.generic], passes: int) -> NDArray[np.float32]:
        """Return the drives `[vectors, inputs]` as shares of the highest one: drain volts of the full drain volts."""
        return drives.astype(np.float32) / np.float32(self.top_drive)

    def drive(self, codes: Codes, outputs: int, input_bits: int) -> Stimulus:
        """Convert codes `[vectors, inputs]` to drain volts under a constant wordline bias."""
        volts = self.drives(codes).astype(np.float64) * (self.drain_volts / self.top_drive)
        bias = np.full((len(codes), 2 * outputs), self.wordline_volts)
        notes = ("Read k, counted from 0, is vector k, in one pass; activation codes are bitline volts.",)
        return Stimulus(bias, volts, driven="bitlines", full_volts=self.drain_volts, notes=notes)

    def sense(self, outputs: int) -> Sense:
        """Return the first source line of each pair minus the second."""
        return [[("source", 2 * j, 1), ("source", 2 * j + 1, -1)] for j in range(outputs)]

    def pass_values(self, codes: Codes, weights: Codes, zero: int, input_bits: int) -> Floats:
        """Return `[vectors, 1, outputs]`, sum_i (q_i - z) x_i."""
        values: Floats = codes.astype(np.float64) @ (weights.astype(np.float64) - zero)
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
        return [f"{name}, {sign}" for name in outputs for sign in ("plus", "minus")], inputs


class LinearPairSection(Section):
    """Keys of the encoding `linear-pair`: inputs are bitlines, outputs are pairs of wordlines.

    Outputs are read from source lines, so each row has its own.
    """

    wordline_bias: Volts
    """Gate voltage of every cell."""
    drain_full: Volts
    """Drain voltage of activation code 15."""
    base_level: Amperes
    """Cell current of weight code 0 at `drain_full`."""
    top_level: Amperes
    """Cell current of weight code 15 at `drain_full`."""
    wires: SensedWiresSection

    read_keys: ClassVar[tuple[str, str, str]] = ("wordline_bias", "drain_full", "top_level")
    # Wordlines are constant.
    wordline_rise: ClassVar[None] = None

    def encoding(self) -> LinearPair:
        """Return the encoding, in SI units."""
        return LinearPair(self.wordline_bias, self.drain_full, self.base_level, self.top_level)
