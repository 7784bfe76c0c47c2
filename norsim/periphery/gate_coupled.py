"""Gate-coupled: an input current sets a wordline through a peripheral cell, so that the ratio of two cells multiplies.

The peripheral cell of a wordline is of the same type as the array's cells. A feedback raises its gate, which is the
wordline, until it conducts the input current I_in. In subthreshold a cell conducts I = I_0(T) exp((V_G - V_T) / n U_T),
so a cell of the array on that wordline conducts

    I_out = w I_in,      w = exp((V_T,peripheral - V_T) / n U_T),

whatever I_0(T) is: the temperature is left in w alone, w(T) = w(T_0)^(T_0 / T). After X. Guo et al.,
"Temperature-insensitive analog vector-by-matrix multiplier based on 55 nm NOR flash memory cells", CICC 2017, arXiv
1611.03379. A weight is the difference of two cells, on two bitlines. To first order that difference does not depend on
T if both ratios are near 1/e, because the change of a ratio, d w / d ln T = -w ln w, has its maximum there.

An activation code x is the input current x I_full / (2^b - 1), all bits in one read:

    I_plus - I_minus = (w_plus - w_minus) I_full x / (2^b - 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from norsim.array.tile import Floats, Stimulus
from norsim.configuration.quantities import Amperes, Volts
from norsim.configuration.section import Section
from norsim.configuration.wires import WiresSection
from norsim.errors import ConfigurationError
from norsim.periphery.bit_serial import BitSerial
from norsim.periphery.columns import same_block
from norsim.periphery.encoding import Codes
from norsim.periphery.mapping import MappingSection


@dataclass(frozen=True)
class GateCoupled(BitSerial):
    """The gate-coupled encoding: the array of `BitSerial` with differential weights, its wordlines at 2^b levels.

    `wordline_volts`  volts of the wordline of the highest activation code, when cells are programmed
    `base_amps`       cell current of code 0 at these volts, `top_amps` that of the highest cell code
    `full_amps`       input current of the highest activation code, which the peripheral cell conducts at these volts
    `activation_bits` width of activation codes
    `is_coupled`      whether peripheral cells set the wordlines in reads; else they keep their volts of programming
    `gate_volts`      `[2^b]`: volts of a wordline for each activation code; empty until cells are read
    """

    base_amps: float = 0.0
    full_amps: float = 0.0
    activation_bits: int = 4
    is_coupled: bool = True
    gate_volts: tuple[float, ...] = ()

    name = "gate-coupled"
    activation_key = "gate_coupled.dac_bits"

    @property
    def lsb_amps(self) -> float:
        """Amperes of one weight code step under one activation code step."""
        return (self.top_amps - self.base_amps) / float((2**self.cell_bits - 1) * self.top_drive)

    @property
    def level_amps(self) -> Floats:
        """`[levels]`: uniform in current under the largest input, so uniform in the ratio w."""
        return np.linspace(self.base_amps, self.top_amps, 2**self.cell_bits)

    @property
    def top_drive(self) -> int:
        """The highest activation code."""
        return int(2**self.activation_bits) - 1

    @property
    def input_amps(self) -> Floats:
        """`[codes]`: the current of the peripheral cell for each of the 2^b activation codes."""
        return np.linspace(0.0, self.full_amps, 2**self.activation_bits)

    def with_gate_volts(self, volts: Floats) -> GateCoupled:
        """Return this encoding with the volts `[codes]` of a wordline for each of the 2^b activation codes."""
        return replace(self, gate_volts=tuple(volts.tolist()))

    def driven(self, wordline_volts: float, dac_sigma: float, random: Callable[[], np.random.Generator]) -> GateCoupled:
        """Return this encoding: peripheral cells set its wordlines, and input currents are exact."""
        return self

    def off_cells(self, inputs: int, outputs: int) -> NDArray[np.bool_] | None:
        """Return the cells `[inputs, bitlines]` between blocks and on bitlines of no output: code 0 may conduct."""
        plus, minus, bitlines = self.columns.places(outputs)
        off = np.ones((inputs, bitlines), dtype=np.bool_)
        between = np.repeat(~same_block(inputs, outputs, self.blocks), self.slices, axis=1)
        off[:, plus], off[:, minus] = between, between
        return off if off.any() else None

    def passes(self, input_bits: int) -> int:
        """Return 1: the whole activation code is applied at once."""
        return 1

    def shares(self, drives: NDArray[np.generic], count: int) -> NDArray[np.float32]:
        """Return the codes `[vectors, inputs]` as shares of the highest one: of the largest input current."""
        return drives.astype(np.float32) / np.float32(self.top_drive)

    def drive(self, codes: Codes, outputs: int, input_bits: int) -> Stimulus:
        """Convert codes `[vectors, inputs]` to wordline volts. Raises ConfigurationError before these are known."""
        if not self.gate_volts:
            raise ConfigurationError(
                "the wordline volts of the encoding gate-coupled follow from peripheral cells, which were not read: "
                "use the encoding of a programmed tile (norsim.backends.reference_cells.coupled)"
            )
        volts = np.full((len(codes), self.columns.places(outputs)[2]), self.bitline_volts)
        notes = (
            "Read k, counted from 0, is vector k, in one pass; wordline volts are those at which a peripheral cell "
            "conducts the input current of the activation code.",
        )
        return Stimulus(
            np.array(self.gate_volts)[codes], volts, driven="wordlines", full_volts=self.gate_volts[-1], notes=notes,
            levels=self.gate_volts,
        )  # fmt: skip

    def pass_values(self, codes: Codes, weights: Codes, zero: int, input_bits: int) -> Floats:
        """Return `[vectors, 1, outputs x slices]`, sum_i (q_i - z) x_i of each slice."""
        values: Floats = codes.astype(np.float64) @ self._line_values(weights, zero).astype(np.float64)
        return values[:, None, :]

    def place_values(self, passes: int) -> Floats:
        """Return `[passes]`, all 1: the one pass is the sum."""
        return np.ones(passes)


class GateCoupledSection(Section):
    """Keys of the encoding `gate-coupled`: inputs are currents into peripheral cells, which set the wordlines; outputs
    are pairs of bitlines.

    Peripheral cells are of the type of `cell`, one for each wordline, exact, and without wires.
    """

    wordline_full: Volts
    """Wordline voltage of the highest activation code when cells are programmed. The peripheral cell is programmed to
    conduct `input_full` there."""
    bitline_read: Volts
    """Voltage of every bitline, and of the drain of peripheral cells."""
    input_full: Amperes
    """Input current of the highest activation code, 15 for `dac_bits` of 4."""
    dac_bits: Annotated[int, Field(ge=1, le=4)] = 4
    """Bits of the input currents, and of the widest activation codes."""
    base_level: Amperes
    """Cell current of cell code 0 at `wordline_full`."""
    top_level: Amperes
    """Cell current of the highest cell code, 15 for `mapping.cell_bits` of 4, at `wordline_full`."""
    coupled: bool = True
    """Whether peripheral cells set the wordlines at the temperature of reads; false: wordlines keep the volts at which
    they did at `silicon.programmed_at`."""
    wires: WiresSection

    read_keys: ClassVar[tuple[str, str, str]] = ("wordline_full", "bitline_read", "top_level")
    # The feedback of the peripheral cell sets the wordline, not a step of a driver.
    wordline_rise: ClassVar[None] = None

    def encoding(self, mapping: MappingSection) -> GateCoupled:
        """Return the encoding, in SI units; whatever `mapping.scheme`, weights are differential."""
        return GateCoupled(
            self.wordline_full, self.bitline_read, self.top_level, "differential", 2, mapping.cell_bits,
            strap_every=self.wires.strap_every, base_amps=self.base_level, full_amps=self.input_full,
            activation_bits=self.dac_bits, is_coupled=self.coupled,
        )  # fmt: skip
