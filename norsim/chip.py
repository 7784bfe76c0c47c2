"""One chip: the cell, the wires, the tile, the encoding and the converters, in SI units."""

from __future__ import annotations

from dataclasses import dataclass

from norsim.array.cell import Cell
from norsim.array.wires import Wires
from norsim.periphery.bit_serial import BitSerial
from norsim.periphery.linear_pair import LinearPair


@dataclass(frozen=True)
class Calibration:
    """What the chip's periphery learns from training images, never from test images.

    `images`        training images that the digital network is run on to see each layer's inputs
    `reads`         of those inputs, the reads a tile that are made on the array
    `column_fit`    whether each output of a tile gets a digital gain and offset, fitted on these reads
    """

    images: int
    reads: int
    column_fit: bool


@dataclass(frozen=True)
class Chip:
    """Everything about the hardware; `norsim.config.load_chip` makes one from a YAML file.

    `wordlines`, `bitlines`  the size of a tile
    `wires`      the lines as the chosen encoding uses them
    `adc_bits`   resolution of each output's converter
    """

    name: str
    cell: Cell
    wires: Wires
    wordlines: int
    bitlines: int
    encoding: BitSerial | LinearPair
    adc_bits: int
    calibration: Calibration
