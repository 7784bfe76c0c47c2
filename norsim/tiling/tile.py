"""One tile of a quantized layer: what is programmed into it, how it is driven, and what its currents mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from norsim.array.settling import gate_shares
from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.array.variation import Draw
from norsim.backends.characterised import reduced
from norsim.backends.programming import aimed, curve, program, tracked_volts
from norsim.chip.model import Chip
from norsim.periphery.adc import Adc, Flaws, fit_range
from norsim.periphery.encoding import Codes, Encoding, decode, full_scale_amps, sense_matrix, sensed_amps, tile_notes
from norsim.periphery.energy import NO_ENERGY, ReadEnergy, read_energy
from norsim.periphery.programming import Levels
from norsim.periphery.readout import convert_and_add
from norsim.quantization.layer import QuantizedLayer

# Line currents are taken in parts small enough for a core's cache, because what is done to each is bound by memory.
AMPS_AT_ONCE = 2**19
# Of a placed tile, what a fit of its converters leaves as it is.
KEPT = ("_tile", "flaws", "reading", "order")


@dataclass(frozen=True, eq=False)
class TileRead:
    """What one tile gave for `[vectors, inputs]` activation codes.

    `amps`  `[vectors, passes, outputs]`, amperes, reference or pair subtracted
    `adc`   same shape, converter codes, whole numbers
    `sums`  `[vectors, outputs]`, the tile's share of sum (q - z) x, in units of one code step
    """

    amps: NDArray[np.floating]
    adc: NDArray[np.floating]
    sums: NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class PlacedTile:
    """One tile of a layer.

    `row`, `column`   its place in the grid
    `inputs`, `outputs`   the span of the layer's inputs and outputs it holds
    `adc`       the converter of all its outputs
    `gain`, `offset`   `[outputs]`: digital correction, value = amps / lsb * gain + offset
    `energy`    of a read, the mean over those that the calibration made
    """

    layer: QuantizedLayer
    chip: Chip
    row: int
    column: int
    inputs: range
    outputs: range
    adc: Adc
    gain: Floats
    offset: Floats
    energy: ReadEnergy = NO_ENERGY

    @property
    def name(self) -> str:
        """As messages and decks call it."""
        return f"{self.layer.name} tile {self.row},{self.column}"

    @property
    def weights(self) -> Codes:
        """`[inputs, outputs]` weight codes of this tile, its inputs in the order of its lines."""
        weights = self._weights
        return weights if self.order is None else weights[self.order]

    @property
    def weight_span(self) -> range:
        """Which of an output's weights the tile's inputs have: inputs are counted over all groups, weights in one."""
        before = self.outputs.start // (self.layer.outputs // self.layer.groups) * self.layer.inputs
        return range(self.inputs.start - before, self.inputs.stop - before)

    @property
    def _weights(self) -> Codes:
        span = self.weight_span
        return self.layer.weights[self.outputs.start : self.outputs.stop, span.start : span.stop].T

    @cached_property
    def order(self) -> NDArray[np.int64] | None:
        """`[inputs]`: which of the tile's inputs each of its lines carries; None where they are in their own order."""
        if not self.chip.row_order:
            return None
        return self.chip.encoding.order(self._weights.sum(axis=1, dtype=np.int64), self.chip.wires.rows_per_source_line)

    @property
    def full_scale_amps(self) -> float:
        """Current of an output whose cells are all at the top code under the strongest drive."""
        layer = self.layer
        return full_scale_amps(self.chip.encoding, len(self.inputs), layer.weight_bits, layer.input_bits)

    def levels(self) -> Levels:
        """The cell's programmed levels, found by ngspice when they are first needed."""
        return program(self.chip.verify_cell, self.chip.encoding)

    @property
    def draw(self) -> Draw:
        """Where this tile's random numbers come from."""
        return self.chip.draw.at((self.row, self.column, *self.layer.name.encode()))

    @cached_property
    def flaws(self) -> Flaws:
        """Its converters'."""
        return self.chip.converters.draw(len(self.outputs), self.draw.random("adc"))

    @cached_property
    def reading(self) -> Encoding:
        """The encoding as this chip's drivers do it."""
        chip = self.chip
        gate, drain = chip.encoding.verify_volts
        if chip.tracking and chip.cell != chip.verify_cell:
            levels = self.levels()
            # The reference cell is at the middle level.
            middle = len(levels.thresholds) // 2
            gate = tracked_volts(
                chip.cell, float(levels.thresholds[middle]), float(levels.achieved_amps[middle]), gate, drain
            )
        return chip.driven(gate)

    def tile(self) -> Tile:
        """The programmed array."""
        return self._tile

    @cached_property
    def _tile(self) -> Tile:
        codes = self.chip.encoding.cell_codes(self.weights, self.layer.weight_zero)
        carried = np.asarray(self.inputs) if self.order is None else np.asarray(self.inputs)[self.order]
        inputs = [input_note(self.layer, int(k)) for k in carried]
        outputs = [f"layer {self.layer.name}, output channel {k}" for k in self.outputs]
        wordlines, bitlines = self.chip.encoding.line_notes(inputs, outputs, self.layer.weight_zero)
        levels, chip = self.levels(), self.chip
        programmed = Tile(
            levels.thresholds[codes], chip.verify_cell, chip.wires, tuple(wordlines), tuple(bitlines),
            f"layer {self.layer.name}, tile {self.row},{self.column}: inputs {self.inputs.start} to "
            f"{self.inputs.stop - 1}, outputs {self.outputs.start} to {self.outputs.stop - 1}",
            self._notes(levels),
        )  # fmt: skip
        target = levels.target_amps[codes]
        if chip.in_situ:
            nothing = np.zeros((1, len(self.inputs)), np.uint8)
            kind = chip.encoding.drive(nothing, len(self.outputs), self.layer.input_bits)
            programmed = aimed(programmed, kind, target, np.random.default_rng(0))
        thresholds = chip.silicon.thresholds(
            programmed.thresholds,
            target,
            chip.cell,
            lambda amps: curve(chip.verify_cell, chip.encoding)(amps),
            self.draw,
        )
        if chip.settle_seconds is not None:
            # A gate that is not all the way up is one whose cell has so much more of a threshold.
            missing = 1 - gate_shares(chip.wires, programmed.bitlines, chip.settle_seconds)
            thresholds = np.minimum(thresholds + self.reading.wordline_volts * missing, chip.cell.limits[1])
        return replace(programmed, thresholds=thresholds, cell=chip.cell)

    def _notes(self, levels: Levels) -> tuple[str, ...]:
        names = [f"output channel {k}" for k in self.outputs]
        return (
            *tile_notes(self.chip.encoding, names, self.chip.cell.state, levels.thresholds),
            f"Weight code {self.layer.weight_zero} stands for 0. Beside a deck of norsim build-netlist, tile.npz has "
            "the activation codes and tile.json the weight codes.",
        )

    def codes(self, layer_codes: Codes) -> Codes:
        """This tile's columns of the layer's `[vectors, inputs]` activation codes, in the order of its lines."""
        codes = layer_codes[:, self.inputs.start : self.inputs.stop]
        return codes if self.order is None else codes[:, self.order]

    def drive(self, layer_codes: Codes) -> Stimulus:
        """Volts for the layer's `[vectors, inputs]` codes, passes innermost."""
        return self.reading.drive(self.codes(layer_codes), len(self.outputs), self.layer.input_bits)

    def amps(self, currents: Currents) -> Floats:
        """`[reads, outputs]` amperes."""
        return sensed_amps(currents, self.chip.encoding.sense(len(self.outputs)))

    def pass_values(self, layer_codes: Codes) -> Floats:
        """`[vectors, passes, outputs]`: the exact integers each pass should give."""
        layer = self.layer
        return self.chip.encoding.pass_values(
            self.codes(layer_codes), self.weights, layer.weight_zero, layer.input_bits
        )

    def convert(self, amps: Floats) -> Floats:
        """`[..., outputs]` amperes -> the codes of this tile's converters, without their noise."""
        return self.adc.convert(amps, self.flaws)

    def interpret(
        self, layer_codes: Codes, amps: NDArray[np.floating], random: np.random.Generator | None = None
    ) -> TileRead:
        """`[reads, outputs]` amperes -> converter codes -> the tile's sums, in the precision of `amps`.

        The converters' noise comes from `random`; without it there is none.
        """
        encoding, lsb = self.chip.encoding, self.chip.encoding.lsb_amps
        passes = encoding.passes(self.layer.input_bits)
        scale, shift = self.adc.step_amps / lsb * self.gain, self.adc.low_amps / lsb * self.gain + self.offset
        noise = None
        if random is not None and self.chip.converters.noise:
            noise = self.chip.converters.noise * random.standard_normal(amps.shape, dtype=np.float32)
        adc, sums = convert_and_add(amps, self.adc, self.flaws, noise, scale, shift, encoding.place_values(passes))
        digital = encoding.digital_part(self.codes(layer_codes), self.layer.weight_zero)
        if digital is not None:
            sums += digital[:, None]
        shape = (len(layer_codes), passes, len(self.outputs))
        return TileRead(amps.reshape(shape), adc.reshape(shape), sums)

    def read_reduced(
        self, layer_codes: Codes, random: np.random.Generator | None = None
    ) -> Iterator[tuple[int, Codes, TileRead]]:
        """The tile read by its reduced model, some of the layer's `[vectors, inputs]` codes at a time: from which
        vector on, which codes, and what they gave."""
        encoding, model = self.chip.encoding, reduced(self.tile(), self.drive(layer_codes[:1]))
        kind = "bitline" if model.drive.direction == "wordlines" else "source"
        passes = encoding.passes(self.layer.input_bits)
        sense = torch.from_numpy(sense_matrix(encoding.sense(len(self.outputs)), kind, model.summed)).float()
        vectors = max(AMPS_AT_ONCE // (model.summed * passes), 1)
        for start in range(0, len(layer_codes), vectors):
            some = layer_codes[start : start + vectors]
            amps = torch.from_numpy(model.lines(self.reading.drives(self.codes(some)), passes, encoding.top_drive))
            yield start, some, self.interpret(some, (amps @ sense).numpy(), random)

    def calibrated(
        self, layer_codes: Codes, reads: np.ndarray, stimulus: Stimulus, currents: Currents
    ) -> PlacedTile:  # fmt: skip
        """This tile with its converter's range, gain and offset fitted.

        `layer_codes` `[vectors, inputs]` are activations of training images; `stimulus` and `currents` are the tile's
        for the `reads` `[n]` among their drives. Per output, measured amperes are a line in the exact
        values; the range is that of the line over all of `layer_codes`.
        """
        exact = self.pass_values(layer_codes).reshape(-1, len(self.outputs))
        amps, lsb, chip = self.amps(currents), self.chip.encoding.lsb_amps, self.chip
        slope, intercept = fit_lines(exact[reads], amps, flat_slope=lsb)
        adc = fit_range(exact * slope + intercept, chip.adc_bits, least_amps=lsb)
        energy = read_energy(chip.costs, chip.wires, stimulus, currents, len(self.outputs), chip.adc_bits)
        gain, offset = self.gain, self.offset
        if chip.calibration.column_fit:
            seen = adc.amps(adc.convert(amps, self.flaws))
            gain, offset = fit_lines(seen / lsb, exact[reads], flat_slope=1.0)
        fitted = replace(self, adc=adc, gain=gain, offset=offset, energy=energy)
        # What does not depend on the fit need not be made again.
        fitted.__dict__.update({name: self.__dict__[name] for name in KEPT if name in self.__dict__})
        return fitted


def input_note(layer: QuantizedLayer, index: int) -> str:
    """Which input of the layer a line carries: for a convolution its channel and kernel position."""
    if layer.geometry is None:
        return f"input {index}"
    height, width = layer.geometry.kernel
    channel, place_in_kernel = divmod(index, height * width)
    return f"input {index}: channel {channel}, kernel ({place_in_kernel // width}, {place_in_kernel % width})"


def fit_lines(x: Floats, y: Floats, flat_slope: float) -> tuple[Floats, Floats]:
    """Slope and intercept `[columns]` of the least-squares lines of y `[n, columns]` over x `[n, columns]`.

    A column whose x never changes tells nothing of its slope and gets `flat_slope`.
    """
    centred = x - x.mean(axis=0)
    spread = np.square(centred).sum(axis=0)
    flat = spread <= 1e-12 * np.square(x).sum(axis=0)
    along = (centred * (y - y.mean(axis=0))).sum(axis=0)
    slope = np.where(flat, flat_slope, along / np.where(flat, 1.0, spread))
    return slope, y.mean(axis=0) - slope * x.mean(axis=0)


def result(part: PlacedTile, codes: Codes, currents: Currents | None) -> TileRead:
    """What the tile gave for the codes `[vectors, inputs]`; without currents, what exact cells would give."""
    if currents is not None:
        return part.interpret(codes, part.amps(currents))
    amps = part.pass_values(codes) * part.chip.encoding.lsb_amps
    return TileRead(amps, part.convert(amps), ideal_sums(part, codes))


def ideal_sums(part: PlacedTile, codes: Codes) -> Floats:
    """`[vectors, outputs]`: the tile's sums in integers."""
    return decode(part.chip.encoding, part.pass_values(codes), part.codes(codes), part.layer.weight_zero)
