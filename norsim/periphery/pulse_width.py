"""Pulse-width: an activation code is the time that its wordline is up, and a whole pass is one conversion.

A pass of b bits has 2^b - 1 slots of equal time. The wordline of code x is up in the first x of them, so each slot is a
binary drive of the same cells as in bit-serial. The currents of all slots are integrated on the line before the one
conversion:

    sum_i (q_i - z) x_i = sum_k  sum_i (q_i - z) [x_i > k],      k = 0 ... 2^b - 2.

After M. J. Marinella et al., "Multiscale co-design analysis of energy, latency, area, and accuracy of a ReRAM analog
neural training accelerator", IEEE JETCAS 8 (2018) 86, whose inputs are pulses of that many time steps. Amperes of an
output are sums over slots: the integrated charge, over the time of a slot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Floats, Stimulus
from norsim.periphery.bit_serial import BitSerial, BitSerialSection
from norsim.periphery.encoding import Codes


@dataclass(frozen=True)
class PulseWidth(BitSerial):
    """The pulse-width encoding: the array of `BitSerial`, its wordlines up for a number of slots."""

    name = "pulse-width"

    def passes(self, input_bits: int) -> int:
        """Return 1: all slots end in one conversion."""
        return 1

    def slots(self, input_bits: int) -> int:
        """Return the highest activation code."""
        return int(2**input_bits) - 1

    def drive(self, codes: Codes, outputs: int, input_bits: int) -> Stimulus:
        """Convert codes `[vectors, inputs]` to the wordline volts of each slot."""
        slots = self.slots(input_bits)
        notes = (
            f"Read k, counted from 0, is vector k // {slots}, slot k % {slots}; in slot s the wordlines of activation "
            "codes above s are up, and the currents of all slots are added up before one conversion.",
        )
        return self._stimulus(self.shares(codes, slots), outputs, notes)

    def shares(self, drives: NDArray[np.generic], count: int) -> NDArray[np.float32]:
        """Return 1 where a code is above the slot, `[vectors x slots, inputs]`, else 0."""
        codes: Codes = drives.astype(np.uint8, copy=False)
        up = codes[:, None, :] > np.arange(count)[:, None]
        return up.reshape(-1, codes.shape[1]).astype(np.float32)

    def pass_values(self, codes: Codes, weights: Codes, zero: int, input_bits: int) -> Floats:
        """Return `[vectors, 1, outputs x slices]`, sum_i (q_i - z) x_i of each slice, without z if it is digital."""
        values: Floats = codes.astype(np.float64) @ self._line_values(weights, zero).astype(np.float64)
        return values[:, None, :]

    def place_values(self, passes: int) -> Floats:
        """Return `[passes]`, all 1: the one pass is the sum."""
        return np.ones(passes)


class PulseWidthSection(BitSerialSection):
    """Keys of the encoding `pulse-width`: those of `bit-serial`, and `cost.sample` is the time of a slot."""

    kind: ClassVar[type[BitSerial]] = PulseWidth
