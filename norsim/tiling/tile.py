"""One tile of a quantized layer: its place in the grid, its inputs and outputs, and the conversion of its currents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from norsim.array.draw import Draw
from norsim.array.tile import Currents, Floats
from norsim.chip.model import Chip
from norsim.periphery.adc import Adc, Flaws, Ranges
from norsim.periphery.circuits.energy import NO_ENERGY, ReadEnergy
from norsim.periphery.encoding import (
    Codes,
    Encoding,
    decode,
    full_scale_amps,
    integrated,
    sensed_amps,
    sensed_parts,
    to_outputs,
)
from norsim.periphery.readout import conversion, convert_and_add
from norsim.quantization.layer import QuantizedLayer, blocks_of, span_weights

if TYPE_CHECKING:
    from norsim.solver.macro.reads import Readout


@dataclass(frozen=True, eq=False)
class TileRead:
    """The read of one tile for `[vectors, inputs]` activation codes.

    `amps`  `[vectors, passes, conversions]`, amperes, with the reference or the other line of the pair subtracted. Each
            slice of each output has a conversion, those of an output next to each other
    `adc`   same shape, converter codes, whole numbers
    `sums`  `[vectors, outputs]`, the tile's part of sum (q - z) x, in code steps
    `line_noise`  `[vectors, passes, lines]`, amperes: the deviations of the lines' currents that `amps` has from noise
                  of the cells that is drawn for each read; None without
    """

    amps: NDArray[np.floating]
    adc: NDArray[np.floating]
    sums: NDArray[np.floating]
    line_noise: NDArray[np.floating] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(vectors, passes, conversions)."""
        vectors, passes, conversions = self.amps.shape
        return vectors, passes, conversions

    def take(self, which: NDArray[np.int64]) -> TileRead:
        """Return the read of some vectors."""
        noise = None if self.line_noise is None else self.line_noise[which]
        return TileRead(self.amps[which], self.adc[which], self.sums[which], noise)

    def clipped(self, part: PlacedTile) -> tuple[int, int]:
        """Return the number of currents that the converters of its tile, `part`, clip at the low and high end."""
        return part.clipped(self.amps)

    def __str__(self) -> str:
        vectors, passes, conversions = self.shape
        return (
            f"{vectors} vectors in {passes} passes on {conversions} outputs: {self.amps.min():.3g} A to "
            f"{self.amps.max():.3g} A, codes {self.adc.min():.0f} to {self.adc.max():.0f}, sums {self.sums.min():.4g} "
            f"to {self.sums.max():.4g}"
        )


class ObservedRead(Protocol):
    """What an observer gets of a read of `[vectors, inputs]` codes: a TileRead, the Sums that are left of one, or a
    read on a device."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(vectors, passes, conversions)."""

    def take(self, which: NDArray[np.int64], /) -> TileRead:
        """Return the read of some vectors `[n]`, in memory."""

    def clipped(self, part: PlacedTile, /) -> tuple[int, int]:
        """Return the number of currents that the converters of its tile, `part`, clip at the low and high end."""


def joined(parts: Sequence[TileRead]) -> TileRead:
    """Join consecutive reads of one tile to one read of all their vectors."""
    if len(parts) == 1:
        return parts[0]
    amps, adc, sums = (np.concatenate([getattr(part, name) for part in parts]) for name in ("amps", "adc", "sums"))
    noise = [part.line_noise for part in parts if part.line_noise is not None]
    return TileRead(amps, adc, sums, np.concatenate(noise) if noise else None)


@dataclass(frozen=True, eq=False)
class PlacedTile:
    """One tile of a layer: its place in the grid, and its digital side. norsim.tiling.program programs its cells.

    `row`, `column`   its place in the grid
    `inputs`, `outputs`   the ranges of the layer's inputs and outputs that it holds
    `order`     `[inputs]`: the input carried by each of its lines; None for the layer's order
    `adcs`      the converter of each slice, for all outputs; `flaws`: the deviations of each conversion's from it
    `gain`, `offset`   `[conversions]`: digital correction, value = amps / lsb * gain + offset
    `energy`    of a read, the mean over the reads of the calibration
    """

    layer: QuantizedLayer = field(repr=False)
    chip: Chip = field(repr=False)
    row: int
    column: int
    inputs: range
    outputs: range
    order: NDArray[np.int64] | None = field(repr=False)
    adcs: tuple[Adc, ...]
    flaws: Flaws = field(repr=False)
    gain: Floats = field(repr=False)
    offset: Floats = field(repr=False)
    energy: ReadEnergy = NO_ENERGY

    @property
    def name(self) -> str:
        """Its name in messages and decks."""
        return f"{self.layer.name} tile {self.row},{self.column}"

    @property
    def blocks(self) -> int:
        """Groups of a convolution that it holds, each with its own inputs and outputs."""
        return blocks_of(self.layer, self.outputs)

    @property
    def encoding(self) -> Encoding:
        """The chip's encoding for weights of the layer's width, in the blocks of this tile."""
        return self.chip.encoding.for_weights(self.layer.weight_bits).for_blocks(self.blocks)

    @property
    def conversions(self) -> int:
        """Conversions per read: one for each slice of each output."""
        return len(self.outputs) * len(self.adcs)

    @property
    def slots(self) -> int:
        """Drives of a read, whose currents are integrated before its conversion."""
        return self.encoding.slots(self.layer.input_bits)

    @property
    def ranges(self) -> Ranges:
        """The ranges of all conversions."""
        return Ranges.of(self.adcs, len(self.outputs))

    @property
    def weights(self) -> Codes:
        """`[inputs, outputs]` weight codes of this tile, its inputs in the order of its lines; between blocks, where
        cells are off, the code of weight 0."""
        return self.weights_in_layer_order if self.order is None else self.weights_in_layer_order[self.order]

    @property
    def weights_in_layer_order(self) -> Codes:
        """The same with the inputs in the layer's order."""
        return span_weights(self.layer, self.inputs, self.outputs, self.layer.weight_zero)

    @property
    def full_scale_amps(self) -> float:
        """The current of a slice of an output whose cells all have the top code, under the largest drive."""
        layer, inputs = self.layer, len(self.inputs) // self.blocks
        return full_scale_amps(self.chip.encoding, inputs, layer.weight_bits, layer.input_bits)

    @property
    def draw(self) -> Draw:
        """The source of this tile's random numbers."""
        return draw_at(self.chip, self.layer, self.row, self.column)

    def cell_codes(self) -> Codes:
        """Return the level `[wordlines, bitlines]` of each cell."""
        return self._on_lines(self.encoding.cell_codes(self.weights_in_layer_order, self.layer.weight_zero))

    def by_level(self, values: Floats, off: float) -> Floats:
        """Return the value `[wordlines, bitlines]` of each cell, given those of levels, `[levels]`, and that of a cell
        that is programmed off."""
        found: Floats = values[self.cell_codes()]
        cells = self.encoding.off_cells(len(self.inputs), len(self.outputs))
        return found if cells is None else np.where(self._on_lines(cells), off, found)

    def _on_lines(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Return values of cells `[wordlines, bitlines]`, for inputs in the layer's order, in that of its lines."""
        if self.order is None:
            return cells
        return cells[self.order] if self.encoding.inputs_on == "wordlines" else cells[:, self.order]

    def own_codes(self, layer_codes: Codes) -> Codes:
        """Return this tile's columns of the layer's `[vectors, inputs]` activation codes, in the layer's order."""
        return layer_codes[:, self.inputs.start : self.inputs.stop]

    def codes(self, layer_codes: Codes) -> Codes:
        """Return the same in the order of the tile's lines."""
        codes = self.own_codes(layer_codes)
        return codes if self.order is None else codes[:, self.order]

    def in_layer_order(self, lines: NDArray[Any]) -> NDArray[Any]:
        """Return values `[n, inputs]` of the lines of the inputs in the layer's order."""
        return lines if self.order is None else lines[:, np.argsort(self.order)]

    def amps(self, currents: Currents) -> Floats:
        """Return the amperes that are converted, `[reads, conversions]`, of the currents of all slots of the reads."""
        return integrated(sensed_amps(currents, self.encoding.sense(len(self.outputs))), self.slots)

    def pass_values(self, layer_codes: Codes) -> Floats:
        """Return the exact integers of each pass and slice, `[vectors, passes, conversions]`."""
        layer, codes = self.layer, self.own_codes(layer_codes)
        return self.encoding.pass_values(codes, self.weights_in_layer_order, layer.weight_zero, layer.input_bits)

    def ideal_sums(self, layer_codes: Codes) -> Floats:
        """Return the tile's integer sums `[vectors, outputs]` for the layer's `[vectors, inputs]` codes."""
        codes = self.own_codes(layer_codes)
        return decode(self.encoding, self.pass_values(layer_codes), codes, self.layer.weight_zero)

    def ideal_read(self, layer_codes: Codes) -> TileRead:
        """Return the read of exact cells on lossless wires, for the layer's `[vectors, inputs]` codes."""
        amps = self.pass_values(layer_codes) * self.encoding.lsb_amps
        return TileRead(amps, self.convert(amps), self.ideal_sums(layer_codes))

    def digital_part(self, layer_codes: Codes) -> Floats | None:
        """Return the term `[vectors, outputs]` of the sums that is computed from the layer's codes, or None."""
        found = self.encoding.digital_part(self.own_codes(layer_codes), self.layer.weight_zero)
        return None if found is None else to_outputs(found, len(self.outputs))

    def convert(self, amps: Floats) -> Floats:
        """Return the noise-free codes of this tile's converters for amperes `[..., conversions]`."""
        return self.flaws.convert(amps, self.ranges)

    def clipped(self, amps: NDArray[np.floating]) -> tuple[int, int]:
        """Return the number of currents `[..., conversions]`, amperes, that the converters clip at the low and the high
        end: those that exceed the lowest or the highest code by more than half a step."""
        low, high = (edge.astype(amps.dtype) for edge in self.flaws.edges(self.ranges))
        return int(np.count_nonzero(amps < low)), int(np.count_nonzero(amps > high))

    def readout(self, kind: str) -> Readout:
        """Return the arguments of the kernel of `macro` that sense lines of a kind, `bitline` or `source`, convert
        their currents, and add the codes."""
        single, encoding, ranges = np.float32, self.encoding, self.ranges
        return (
            *sensed_parts(encoding, len(self.outputs), kind), self._place_values.astype(single), len(self.adcs),
            *conversion(ranges, self.flaws, *self.of_code, single),
            *(edge.astype(single) for edge in self.flaws.edges(ranges)),
        )  # fmt: skip

    @property
    def _place_values(self) -> Floats:
        """The weight of each pass in the sums."""
        return self.encoding.place_values(self.encoding.passes(self.layer.input_bits))

    @property
    def of_code(self) -> tuple[Floats, Floats]:
        """What a step of a code stands for, and code 0, each `[conversions]`, in units of the sums."""
        encoding, ranges = self.encoding, self.ranges
        lsb = encoding.lsb_amps
        step, least = ranges.step_amps / lsb * self.gain, ranges.low_amps / lsb * self.gain + self.offset
        values = np.tile(encoding.slice_values, len(self.outputs))
        return step * values, least * values

    def read_out(
        self, layer_codes: Codes, amps: NDArray[np.floating], noise: NDArray[np.floating] | None = None
    ) -> TileRead:
        """Convert `[reads, conversions]` amperes to converter codes and to the tile's sums, in the precision of `amps`.

        `layer_codes` are the `[vectors, inputs]` codes that were read. `noise` is that of the converters, in steps, of
        the shape of `amps`; None for no noise.
        """
        adc, sums = convert_and_add(
            amps, self.ranges, self.flaws, noise, *self.of_code, self._place_values, len(self.adcs)
        )  # fmt: skip
        digital = self.digital_part(layer_codes)
        if digital is not None:
            sums += digital
        shape = (len(layer_codes), len(self._place_values), self.conversions)
        return TileRead(amps.reshape(shape), adc.reshape(shape), sums)


def placed_tile(layer: QuantizedLayer, chip: Chip, row: int, column: int, inputs: range, outputs: range) -> PlacedTile:
    """Return the tile of a layer at a place, with those inputs and outputs; its converters are not fitted."""
    order, encoding, blocks = None, chip.encoding.for_weights(layer.weight_bits), blocks_of(layer, outputs)
    if chip.row_order:
        loads = encoding.slice_codes(span_weights(layer, inputs, outputs, 0)).sum(axis=(1, 2), dtype=np.int64)
        order = encoding.order(loads, chip.wires.rows_per_source_line)
    full = full_scale_amps(encoding, len(inputs) // blocks, layer.weight_bits, layer.input_bits)
    conversions = len(outputs) * encoding.slices
    flaws = chip.converter_flaws(draw_at(chip, layer, row, column), conversions)
    ones, zeros, adcs = np.ones(conversions), np.zeros(conversions), (chip.unfitted_adc(full),)
    return PlacedTile(
        layer, chip, row, column, inputs, outputs, order, adcs * encoding.slices, flaws, ones, zeros
    )  # fmt: skip


def draw_at(chip: Chip, layer: QuantizedLayer, row: int, column: int) -> Draw:
    """Return the source of random numbers of a tile of that layer."""
    return chip.draw.at((row, column, *layer.name.encode()))
