"""A quantized layer on a grid of tiles: placed, calibrated, multiplied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from norsim.chip.model import Chip
from norsim.errors import PlacementError
from norsim.periphery.adc import Adc
from norsim.periphery.encoding import Codes, full_scale_amps
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.reader import Reader
from norsim.tiling.tile import PlacedTile, TileRead


@dataclass(frozen=True, eq=False)
class TileGrid:
    """All tiles of one layer."""

    layer: QuantizedLayer
    chip: Chip
    tiles: tuple[PlacedTile, ...]

    def multiply(self, codes: Codes, reader: Reader) -> NDArray[np.floating]:
        """`[vectors, inputs]` activation codes -> `[vectors, outputs]` sum_i (q - z) x, by the array.

        The reader named `ideal` takes no array and no converter: integer arithmetic.
        """
        if reader.backend == "ideal":
            return exact_sums(self.layer, codes)
        sums = np.zeros((len(codes), self.layer.outputs))
        for part, first, some, result in self._reads(codes, reader):
            reader.observe(part, some, result)
            sums[first : first + len(some), part.outputs.start : part.outputs.stop] += result.sums
        return sums

    def _reads(self, codes: Codes, reader: Reader) -> Iterator[tuple[PlacedTile, int, Codes, TileRead]]:
        """Each tile's reads: which tile, from which vector on, of which codes, and what they gave."""
        if reader.backend == "macro":
            # A matrix product over all reads costs less than finding those that are equal.
            for part in self.tiles:
                yield from ((part, *read) for read in part.read_reduced(codes, reader.random))
            return
        requests = [(part.tile(), part.drive(codes)) for part in self.tiles]
        for part, currents in zip(self.tiles, reader.read(requests), strict=True):
            yield part, 0, codes, part.interpret(codes, part.amps(currents), reader.random)

    def calibrate(self, codes: Codes, reader: Reader, random: np.random.Generator) -> TileGrid:
        """The grid with every tile's converter and column fit set by training codes `[vectors, inputs]`."""
        total = len(codes) * self.chip.encoding.passes(self.layer.input_bits)
        # All tiles of the layer are fitted on the same reads, so that leaving some out changes nothing.
        reads = np.sort(random.choice(total, min(self.chip.calibration.reads, total), replace=False))
        fresh = self.chip.calibration.fresh
        seen = [replace(part, chip=self.chip.fresh()) for part in self.tiles] if fresh else self.tiles
        requests = [(part.tile(), part.drive(codes).take(reads)) for part in seen]
        fitted = [
            part.calibrated(codes, reads, stimulus, currents)
            for part, (_, stimulus), currents in zip(seen, requests, reader.read(requests), strict=True)
        ]
        return replace(self, tiles=tuple(replace(part, chip=self.chip) for part in fitted) if fresh else tuple(fitted))

    def at(self, row: int, column: int) -> PlacedTile:
        """The tile at a place in the grid; PlacementError names the places there are."""
        for part in self.tiles:
            if (part.row, part.column) == (row, column):
                return part
        last = self.tiles[-1]
        raise PlacementError(
            f"layer {self.layer.name!r} has no tile {row},{column}: rows 0 to {last.row}, columns 0 to {last.column}"
        )


def place(layer: QuantizedLayer, chip: Chip) -> TileGrid:
    """The layer's inputs over rows of tiles and its outputs over columns of tiles.

    Each group of a convolution has columns of tiles of its own, one group after the other: on lines that two groups
    shared, cells of one under the inputs of the other would hold nothing.

    Converters span the full scale until they are calibrated. Raises PlacementError for a layer that the
    chip cannot hold.
    """
    _check(layer, chip)
    inputs, outputs = chip.encoding.capacity(chip.wordlines, chip.bitlines)
    if inputs < 1 or outputs < 1:
        raise PlacementError(
            f"a tile of {chip.wordlines} x {chip.bitlines} holds no output of a {chip.encoding.name} layer"
        )
    each = layer.outputs // layer.groups
    columns = [(group, span) for group in range(layer.groups) for span in _spans(group * each, each, outputs)]
    tiles = []
    for row in range(-(-layer.inputs // inputs)):
        for column, (group, span) in enumerate(columns):
            rows = _spans(group * layer.inputs, layer.inputs, inputs)[row]
            full = full_scale_amps(chip.encoding, len(rows), layer.weight_bits, layer.input_bits)
            ones, zeros = np.ones(len(span)), np.zeros(len(span))
            adc = Adc(chip.adc_bits, -full, full)
            tiles.append(PlacedTile(layer, chip, row, column, rows, span, adc, ones, zeros))
    return TileGrid(layer, chip, tuple(tiles))


def _check(layer: QuantizedLayer, chip: Chip) -> None:
    levels = len(chip.encoding.level_amps)
    if 2**layer.weight_bits > levels:
        raise PlacementError(
            f"layer {layer.name!r}: {layer.weight_bits}-bit weights need {2**layer.weight_bits} levels, "
            f"the cell has {levels}"
        )
    most = chip.encoding.activation_bits
    if layer.input_bits > most:
        raise PlacementError(
            f"layer {layer.name!r}: {layer.input_bits}-bit activations do not fit {chip.encoding.name}, which takes "
            f"{most} bits"
        )


def _spans(first: int, length: int, size: int) -> list[range]:
    return [range(start, min(start + size, first + length)) for start in range(first, first + length, size)]


def signed_weights(layer: QuantizedLayer) -> Tensor:
    """`[outputs, inputs]` weights q - z, in a float that holds every sum of the layer, and of its parts, exactly."""
    largest = layer.inputs * 2 ** (layer.weight_bits + layer.input_bits)
    return torch.tensor(layer.weights, dtype=torch.float32 if largest < 2**24 else torch.float64) - layer.weight_zero


def exact_sums(layer: QuantizedLayer, codes: Codes) -> NDArray[np.floating]:
    """`[vectors, outputs]`: sum_i (q - z) x in integers, as floats of a precision that holds them exactly."""
    weights = signed_weights(layer).view(layer.groups, -1, layer.inputs)
    vectors = torch.from_numpy(codes).to(weights).view(len(codes), layer.groups, layer.inputs)
    by_group = vectors.transpose(0, 1) @ weights.transpose(1, 2)
    sums: NDArray[np.floating] = by_group.transpose(0, 1).reshape(len(codes), layer.outputs).numpy()
    return sums
