"""A quantized layer on a grid of tiles: placed, programmed, calibrated, multiplied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from norsim.backends.backend import Backend, Progress
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError, PlacementError
from norsim.periphery.encoding import Codes
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.fit import fitted
from norsim.tiling.program import ProgrammedTile, program_tile
from norsim.tiling.reader import Read, Reader
from norsim.tiling.tile import PlacedTile, TileRead, joined, placed_tile


@dataclass(frozen=True, eq=False)
class TileGrid:
    """All tiles of one layer.

    `tiles`       where each is, and its digital side
    `arrays`      their programmed arrays, in the same order; empty before `program`
    `calibrated`  whether converters and column corrections were fitted
    """

    layer: QuantizedLayer = field(repr=False)
    chip: Chip = field(repr=False)
    tiles: tuple[PlacedTile, ...]
    arrays: tuple[ProgrammedTile, ...] = ()
    calibrated: bool = False

    def program(self, backend: Backend | None = None, progress: Progress | None = None) -> TileGrid:
        """The grid with every tile programmed, and `backend` prepared to read it; `progress(done, total)` tiles."""
        if backend is not None:
            backend.check_encoding(self.chip.encoding.name)
        arrays = []
        for part in self.tiles:
            arrays.append(program_tile(part, backend))
            if progress:
                progress(len(arrays), len(self.tiles))
        return replace(self, arrays=tuple(arrays))

    def read(self, codes: Codes, reader: Reader) -> Iterator[Read]:
        """Read every tile for `[vectors, inputs]` activation codes: which tile, first vector, codes, what it returned.

        A backend of integers returns what exact cells would. Raises ConfigurationError before `program`.
        """
        if reader.backend.gives_integers:
            yield from ((place, 0, codes, part.ideal_read(codes)) for place, part in enumerate(self.tiles))
            return
        if len(self.arrays) != len(self.tiles):
            raise ConfigurationError(
                f"layer {self.layer.name!r} is not programmed; norsim.program(network) programs its tiles, as "
                "norsim.calibrate does"
            )
        for place, first, some, result in reader.read(self.tiles, self.arrays, codes):
            reader.observe(self.tiles[place], self.arrays[place], some, result)
            yield place, first, some, result

    def multiply(self, codes: Codes, reader: Reader) -> NDArray[np.floating]:
        """`[vectors, inputs]` activation codes -> `[vectors, outputs]` sum_i (q - z) x."""
        if reader.backend.gives_integers:
            # All at once, which is what the sum over tiles amounts to.
            return exact_sums(self.layer, codes)
        sums = np.zeros((len(codes), self.layer.outputs))
        for place, first, some, result in self.read(codes, reader):
            outputs = self.tiles[place].outputs
            sums[first : first + len(some), outputs.start : outputs.stop] += result.sums
        return sums

    def read_whole(self, codes: Codes, reader: Reader) -> list[TileRead]:
        """What each tile returned for all of the `[vectors, inputs]` codes."""
        parts: list[list[TileRead]] = [[] for _ in self.tiles]
        for place, _, _, result in self.read(codes, reader):
            parts[place].append(result)
        return [joined(results) for results in parts]

    def fit(self, codes: Codes, reader: Reader, random: np.random.Generator) -> TileGrid:
        """The programmed grid with converters and column corrections fitted to training codes `[vectors, inputs]`."""
        total = len(codes) * self.chip.encoding.passes(self.layer.input_bits)
        # All tiles of the layer are fitted on the same reads, so that leaving some out changes nothing.
        reads = np.sort(random.choice(total, min(self.chip.calibration.reads, total), replace=False))
        seen = self._when_fitted(reader.backend)
        requests = [
            (array.tile, array.drive(part.codes(codes)).take(reads))
            for part, array in zip(seen.tiles, seen.arrays, strict=True)
        ]
        tiles = tuple(
            replace(fitted(part, codes, reads, stimulus, currents), chip=self.chip)
            for part, (_, stimulus), currents in zip(seen.tiles, requests, reader.currents(requests), strict=True)
        )
        return replace(self, tiles=tiles, calibrated=True)

    def _when_fitted(self, backend: Backend) -> TileGrid:
        """The grid as it is when converters are fitted: now, or just after programming."""
        if not self.chip.calibration.fresh:
            return self
        fresh = self.chip.fresh()
        return replace(self, chip=fresh, tiles=tuple(replace(part, chip=fresh) for part in self.tiles)).program(backend)

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
            tiles.append(placed_tile(layer, chip, row, column, rows, span))
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
