"""An encoding for tests, as it would be in norsim/periphery: bit-serial with the highest bit first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from norsim.array.tile import Floats, Stimulus
from norsim.periphery.bit_serial import BitSerial, BitSerialSection
from norsim.periphery.encoding import Codes


@dataclass(frozen=True)
class HighBitFirst(BitSerial):
    """Bit-serial with its passes in the reverse order."""

    name = "high-bit-first"

    def drive(self, codes: Codes, outputs: int, input_bits: int) -> Stimulus:
        reads = np.arange(len(codes) * input_bits).reshape(-1, input_bits)
        return super().drive(codes, outputs, input_bits).take(reads[:, ::-1].ravel())

    def pass_values(self, codes: Codes, weights: Codes, zero: int, input_bits: int) -> Floats:
        return super().pass_values(codes, weights, zero, input_bits)[:, ::-1]

    def place_values(self, passes: int) -> Floats:
        return super().place_values(passes)[::-1]


class HighBitFirstSection(BitSerialSection):
    """Keys of the encoding `high-bit-first`: those of `bit-serial`."""

    kind = HighBitFirst
