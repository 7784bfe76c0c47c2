"""The chip: cell, wires, tile, encoding and converters, in SI units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from norsim.array.cell import Cell
from norsim.array.draw import NOMINAL, Draw
from norsim.array.sectors.neighbours import NO_NEIGHBOURS, Neighbours
from norsim.array.sectors.program_pulses import ProgramPulses
from norsim.array.tile import Floats
from norsim.array.variation import PERFECT, Silicon
from norsim.array.wires import Wires
from norsim.chip.layer_keys import AdcRange, LayerKeys
from norsim.errors import ConfigurationError
from norsim.periphery.adc import IDEAL_CONVERTERS, Adc, ConverterSpread, Flaws
from norsim.periphery.circuits.energy import USUAL_COSTS, Costs
from norsim.periphery.encoding import Encoding
from norsim.periphery.sensing import IDEAL_SENSING, Sensing
from norsim.quantization.by_layer.patterns import first_matches


@dataclass(frozen=True)
class Calibration:
    """How the chip's periphery is calibrated on training images (never on test images).

    `images`        training images for the digital network, which supply each layer's inputs
    `reads`         reads per tile on the array, drawn from those inputs
    `column_fit`    whether each output of a tile has a digital gain and offset fitted to these reads
    `fresh`         whether to calibrate just after programming, at the temperature of programming, instead of at the
                    time of use
    """

    images: int
    reads: int
    column_fit: bool
    fresh: bool = False


@dataclass(frozen=True)
class EndOfLife:
    """The cell as its aged card describes it, at the temperature of reads, `seconds` after programming."""

    cell: Cell
    seconds: float


@dataclass(frozen=True)
class Chip:
    """The hardware; `norsim.chip.load.load_chip` loads one from a YAML file.

    `cell`       at the temperature of reads
    `wordlines`, `bitlines`  the size of a tile
    `wires`      the lines as the chosen encoding uses them
    `adc_bits`   resolution of each output's converter, and `converters` the errors of these
    `ratiometric`  whether the converters' reference follows the current of reference cells over temperature
    `dac_sigma`  standard deviation of the levels of the drain voltage DAC, in steps; its ends are exact
    `silicon`    cell non-idealities
    `programmed_kelvin`   temperature of programming; None for that of reading
    `tracking`   whether the read voltage of the wordlines tracks a reference cell, so that its current at the
                 temperature of reads is the programmed one
    `in_situ`    whether each cell is programmed to conduct its level in the array, under the usual IR drop, not alone
    `wordline_rise_seconds`   time from a step of the wordlines to the sample of the cells, by which gates lag behind
                 their drivers; None for no lag
    `row_order`  whether a tile's inputs are ordered so that its lines are loaded least
    `costs`      time and energy of a read
    `outputs_per_converter`   outputs of a tile that share a converter, which converts one after the other
    `draw`       which one of all chips of this design it is
    `adc_range`  range of each output's converter: `fitted` on training images, `full` for the full scale of the tile in
                 both directions, or the amperes of the lowest and the highest code
    `rows_used`  inputs of a layer on one tile, at most; None for as many as it holds
    `sensing`    amplifiers and what else is between summing lines and converters; its resistances are in `wires` too
    `end_of_life`   the cell at the end of its life; None without an aged card
    `pulses`     how cells are programmed; None: each has the threshold that program-verify aims at
    `neighbours` cells beside those of a tile on its bitlines
    `layers`     keys that differ between layers, by patterns of their names; see `for_layers`
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
    wordline_rise_seconds: float | None = None
    row_order: bool = False
    costs: Costs = USUAL_COSTS
    outputs_per_converter: int = 1
    ratiometric: bool = False
    draw: Draw = NOMINAL
    adc_range: AdcRange = "fitted"
    rows_used: int | None = None
    layers: tuple[LayerKeys, ...] = ()
    sensing: Sensing = IDEAL_SENSING
    end_of_life: EndOfLife | None = None
    pulses: ProgramPulses | None = None
    neighbours: Neighbours = NO_NEIGHBOURS

    def specimen(self, seed: int, number: int) -> Chip:
        """Return chip number `number` of those of this design that `seed` draws."""
        return replace(self, draw=Draw(seed, number))

    def for_layers(self, names: Sequence[str]) -> dict[str, Chip]:
        """Return the chip with the keys of each layer. Raises ConfigurationError for a pattern without effect."""
        try:
            found = first_matches([keys.pattern for keys in self.layers], names)
        except ConfigurationError as problem:
            raise ConfigurationError(f"the section `layers` of chip {self.name}: {problem}") from None
        own = {keys.pattern: self._with_keys(keys) for keys in self.layers}
        plain = self._with_keys(LayerKeys("*"))
        return {name: plain if pattern is None else own[pattern] for name, pattern in found.items()}

    def _with_keys(self, keys: LayerKeys) -> Chip:
        bits = self.adc_bits if keys.adc_bits is None else keys.adc_bits
        rows = self.rows_used if keys.rows_used is None else keys.rows_used
        return replace(
            self, adc_bits=bits, adc_range=keys.adc_range or self.adc_range, rows_used=rows, layers=()
        )  # fmt: skip

    def unfitted_adc(self, full_scale_amps: float) -> Adc:
        """Return the converter of a slice of a tile before its range is fitted: over the full scale in both directions,
        unless the range is fixed."""
        ends = (-full_scale_amps, full_scale_amps) if isinstance(self.adc_range, str) else self.adc_range
        return Adc(self.adc_bits, *ends)

    def fresh(self) -> Chip:
        """Return the same specimen just after programming, at the temperature of programming."""
        return replace(self, cell=self.verify_cell, silicon=self.silicon.fresh())

    def in_calibration(self) -> Chip:
        """Return the same specimen as its calibration reads it: the noise that a chip keeps has other draws then."""
        return replace(self, draw=replace(self.draw, calibrating=True)) if self.silicon.noise_of_chip() else self

    def when_fitted(self) -> Chip:
        """Return the same specimen in its state when converters are fitted: right after programming, or as it is, but
        for the noise that a chip keeps, whose draws are others then."""
        return self.fresh() if self.calibration.fresh else self.in_calibration()

    @property
    def verify_cell(self) -> Cell:
        """Return the cell as program-verify reads it."""
        kelvin = self.cell.temperature_kelvin if self.programmed_kelvin is None else self.programmed_kelvin
        return replace(self.cell, temperature_kelvin=kelvin)

    def converter_flaws(self, place: Draw, conversions: int) -> Flaws:
        """Return the errors of the converters of that many conversions of a tile, whose random numbers are those of
        `place`."""
        shared = self.outputs_per_converter
        return self.converters.with_thresholds(
            self.converters.draw(conversions, place.random("adc"), shared), self.adc_bits,
            lambda: place.random("adc thresholds"), lambda: self.draw.of_chip("adc ramp"), shared,
        )  # fmt: skip

    def amplifier_offsets(self, place: Draw, lines: int) -> Floats | None:
        """Return the input offsets `[lines]`, volts, of the amplifiers of the first bitlines of a tile, whose random
        numbers are those of `place`; None without offsets."""
        if not self.sensing.has_offset:
            return None
        offset, drift = (place.normal(f"amplifier {name}", (self.bitlines,))[:lines] for name in ("offset", "drift"))
        kelvin = self.cell.temperature_kelvin - self.verify_cell.temperature_kelvin
        return self.sensing.offsets(offset, drift, kelvin)

    def driven(self, wordline_volts: float) -> Encoding:
        """Return the encoding with this specimen's drivers and with `wordline_volts` on an active wordline."""
        return self.encoding.driven(wordline_volts, self.dac_sigma, lambda: self.draw.of_chip("dac"))
