"""One chip: the cell, the wires, the tile, the encoding and the converters, in SI units."""

from __future__ import annotations

from dataclasses import dataclass, replace

from norsim.array.cell import Cell
from norsim.array.variation import NOMINAL, PERFECT, Draw, Silicon
from norsim.array.wires import Wires
from norsim.periphery.adc import IDEAL_CONVERTERS, ConverterSpread
from norsim.periphery.encoding import Encoding
from norsim.periphery.energy import USUAL_COSTS, Costs


@dataclass(frozen=True)
class Calibration:
    """What the chip's periphery learns from training images, never from test images.

    `images`        training images that the digital network is run on to see each layer's inputs
    `reads`         of those inputs, the reads a tile that are made on the array
    `column_fit`    whether each output of a tile gets a digital gain and offset, fitted on these reads
    `fresh`         whether all this happens just after programming, at the temperature of programming, rather than
                    when the chip is used
    """

    images: int
    reads: int
    column_fit: bool
    fresh: bool = False


@dataclass(frozen=True)
class Chip:
    """Everything about the hardware; `norsim.chip.load.load_chip` makes one from a YAML file.

    `cell`       at the temperature at which the chip is read
    `wordlines`, `bitlines`  the size of a tile
    `wires`      the lines as the chosen encoding uses them
    `adc_bits`   resolution of each output's converter, and `converters` how far these are from ideal ones
    `dac_sigma`  the same for the levels of the drain volts' DAC, in steps; its ends are exact
    `silicon`    how far cells are from what they were programmed to
    `programmed_kelvin`   temperature of programming; None for that of reading
    `tracking`   whether the read's wordline volts follow a reference cell, so that it conducts at the temperature of
                 reading what it did when it was programmed
    `in_situ`    whether cells are programmed to conduct in their places what others are to conduct alone
    `settle_seconds`   how long after its wordlines step a read is sampled; None for long enough
    `row_order`  whether a tile's inputs are put in the order that loads its lines least, rather than as they come
    `costs`      what a read takes in time and energy
    `draw`       which one of all chips of this kind it is
    """

    name: str
    cell: Cell
    wires: Wires
    wordlines: int
    bitlines: int
    encoding: Encoding
    adc_bits: int
    calibration: Calibration
    converters: ConverterSpread = IDEAL_CONVERTERS
    dac_sigma: float = 0.0
    silicon: Silicon = PERFECT
    programmed_kelvin: float | None = None
    tracking: bool = False
    in_situ: bool = False
    settle_seconds: float | None = None
    row_order: bool = False
    costs: Costs = USUAL_COSTS
    draw: Draw = NOMINAL

    def specimen(self, seed: int, number: int) -> Chip:
        """One chip of this kind: of those that `seed` draws, that of this number."""
        return replace(self, draw=Draw(seed, number))

    def fresh(self) -> Chip:
        """The same specimen just after programming, at the temperature of that."""
        return replace(self, cell=self.verify_cell, silicon=self.silicon.fresh())

    @property
    def verify_cell(self) -> Cell:
        """The cell as program-verify reads it."""
        kelvin = self.cell.temperature_kelvin if self.programmed_kelvin is None else self.programmed_kelvin
        return replace(self.cell, temperature_kelvin=kelvin)

    def driven(self, wordline_volts: float) -> Encoding:
        """The encoding as this specimen's drivers do it, with these volts on a wordline that is up."""
        return self.encoding.driven(wordline_volts, self.dac_sigma, lambda: self.draw.of_chip("dac"))
