"""A quantized layer on a grid of tiles: placement, programming, calibration, multiplication."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numba import get_num_threads
from numpy.typing import NDArray
from torch import Tensor

from norsim.array.clipped import Clipped
from norsim.array.tile import Stimulus
from norsim.backends.backend import Backend, Progress, uncounted
from norsim.backends.reference_cells import reference_ratio
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError, PlacementError
from norsim.periphery.code_vectors import CodeVectors
from norsim.periphery.encoding import Codes, Encoding
from norsim.quantization.exempt import refused
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.fit import at_reference, fitted, line_energy, on_chip
from norsim.tiling.program import ProgrammedTile, program_tile, warn_of_cells
from norsim.tiling.read_noise import on_outputs
from norsim.tiling.reader import Read, Reader
from norsim.tiling.tile import PlacedTile, TileRead, joined, placed_tile

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TileGrid:
    """All tiles of one layer.

    `tiles`       the place and the digital side of each tile
    `arrays`      their programmed arrays, in the same order; empty before `program`
    `calibrated`  whether converters and column corrections were fitted
    """

    layer: QuantizedLayer = field(repr=False)
    chip: Chip = field(repr=False)
    tiles: tuple[PlacedTile, ...]
    arrays: tuple[ProgrammedTile, ...] = ()
    calibrated: bool = False

    @property
    def noisy(self) -> bool:
        """Whether its reads have noise that is drawn for each read, of cells or of converters."""
        return self.chip.converters.noise > 0 or any(array.read_sigma is not None for array in self.arrays)

    @property
    def clipped(self) -> Clipped:
        """How many of its cells cannot reach their state."""
        return sum((array.clipped for array in self.arrays), Clipped())

    def check(self, backend: Backend) -> None:
        """Raise ConfigurationError if `backend` cannot read tiles with this encoding and these source lines."""
        backend.check_encoding(self.chip.encoding)
        wires = self.chip.wires
        if backend.most_rows is not None:
            rows = max(len(part.cell_codes()) for part in self.tiles)
            wires = replace(wires, rows_per_source_line=min(wires.rows_per_source_line, rows))
        backend.check_wires(wires)

    def program(self, backend: Backend | None = None, progress: Progress | None = None) -> TileGrid:
        """Return the grid with all tiles programmed and `backend` prepared; `progress(done, total)` counts tiles."""
        if backend is not None:
            self.check(backend)
        arrays = []
        for part in self.tiles:
            arrays.append(program_tile(part))
            if progress and backend is None:
                progress(len(arrays), len(self.tiles))
        programmed = replace(self, arrays=tuple(arrays))
        warn_of_cells(f"layer {self.layer.name}", programmed.clipped)
        if backend is not None:
            programmed.prepare(backend, progress or uncounted)
            programmed._warn(backend)
        return programmed

    def _warn(self, backend: Backend) -> None:
        """Warn of the tile that `backend` models worst, if that is worse than it claims."""
        if not backend.by_model or backend.claimed_error is None:
            return
        errors = [backend.model(*array.request()).error for array in self.arrays]
        worst = int(np.argmax(errors))
        if errors[worst] > backend.claimed_error:
            LOG.warning(
                "warning: the wires of layer %s drop more volts than the backend %s is made for: on %s it deviates by "
                "%.1e of full scale from nodal, more than %g. Compare with the nodal backend, or lower the resistance "
                "of the wires",
                self.layer.name, backend.name, self.tiles[worst].name, errors[worst], backend.claimed_error,
            )  # fmt: skip

    def characterise(self, backend: Backend, progress: Progress) -> None:
        """Sweep the cells that `backend` needs for every programmed tile; `progress(done, total)` counts tiles."""
        for done, array in enumerate(self.arrays, 1):
            backend.characterise(*array.request())
            progress(done, len(self.arrays))

    def prepare(self, backend: Backend, progress: Progress) -> None:
        """Do the one-time work of `backend` for every programmed tile; `progress(done, total)` counts tiles."""
        backend.prepare([array.request() for array in self.arrays], progress)

    def read(self, codes: Codes, reader: Reader) -> Iterator[Read]:
        """Read every tile for `[vectors, inputs]` activation codes; yield index of the tile, first vector, codes, read.

        A backend of integers returns the values of exact cells. Raises ConfigurationError before `program`.
        """
        if reader.backend.gives_integers:
            yield from ((place, 0, codes, part.ideal_read(codes)) for place, part in enumerate(self.tiles))
            return
        self.programmed()
        for place, first, some, result in reader.read(self.tiles, self.arrays, codes):
            reader.observe(self.tiles[place], self.arrays[place], some, result)
            yield place, first, some, result

    def multiply(self, codes: Codes | CodeVectors, reader: Reader) -> NDArray[np.floating]:
        """Return the sums `[vectors, outputs]` of (q - z) x over `[vectors, inputs]` activation codes."""
        if reader.backend.gives_integers:
            # All tiles at once: the sum over tiles is the same.
            return exact_sums(self.layer, codes[:])
        sums = np.zeros((self.layer.outputs, len(codes)))
        if reader.backend.by_model:
            vectors = codes if isinstance(codes, CodeVectors) else CodeVectors.of_rows(codes)
            for place, (part, array) in enumerate(self.programmed()):
                for own, found in reader.sum_by_model(part, array, vectors, sums):
                    reader.observe(part, array, own, found)
                reader.report(f"{reader.phase} {self.layer.name}", place + 1, len(self.tiles))
            return sums.T
        for place, first, some, result in self.read(codes[:], reader):
            outputs = self.tiles[place].outputs
            sums[outputs.start : outputs.stop, first : first + len(some)] += result.sums.T
        return sums.T

    def programmed(self) -> list[tuple[PlacedTile, ProgrammedTile]]:
        """Return each tile with its array. Raises ConfigurationError before `program`."""
        if len(self.arrays) != len(self.tiles):
            raise ConfigurationError(
                f"layer {self.layer.name!r} is not programmed; call norsim.program(network) or "
                "norsim.calibrate(network, training_data)"
            )
        return list(zip(self.tiles, self.arrays, strict=True))

    def read_whole(self, codes: Codes, reader: Reader) -> list[TileRead]:
        """Return the read of each tile for all of the `[vectors, inputs]` codes."""
        parts: list[list[TileRead]] = [[] for _ in self.tiles]
        for place, _, _, result in self.read(codes, reader):
            parts[place].append(result)
        return [joined(results) for results in parts]

    def fit(self, codes: Codes, reader: Reader, random: np.random.Generator) -> TileGrid:
        """Return the grid with converters and column corrections fitted to training codes `[vectors, inputs]`.

        `random` chooses the reads. Noise is that of the reader, for one image, drawn read after read.
        """
        passes = self.chip.encoding.passes(self.layer.input_bits)
        total = len(codes) * passes
        # All tiles of the layer are fitted on the same reads, so omitting tiles does not change the others.
        reads = np.sort(random.choice(total, min(self.chip.calibration.reads, total), replace=False))
        seen = self._when_fitted(reader.backend)
        vectors, place = np.unique(reads // passes, return_inverse=True)

        def driven(part: PlacedTile, array: ProgrammedTile) -> tuple[Stimulus, float]:
            own = part.codes(codes)
            each = (place * passes + reads % passes)[:, None] * part.slots + np.arange(part.slots)
            stimulus = array.drive(own[vectors]).take(each.ravel())
            return stimulus, line_energy(array, self.chip, own, passes, part.slots, stimulus)

        ratio = reference_ratio(self.chip)

        def fit(part: PlacedTile, *measured: Any) -> PlacedTile:
            return on_chip(at_reference(fitted(part, codes, reads, *measured), ratio), self.chip)

        # What takes one thread each is done for several tiles at a time; kernels that use all threads are called here.
        with ThreadPoolExecutor(get_num_threads()) as pool:
            drives = list(pool.map(driven, seen.tiles, seen.arrays))
            requests = [(array.tile, stimulus) for array, (stimulus, _) in zip(seen.arrays, drives, strict=True)]
            found, waiting = reader.currents(requests, self.layer.name), []
            for part, array, (stimulus, joules), currents in zip(seen.tiles, seen.arrays, drives, found, strict=True):
                lines = converters = None
                if reader.noise is not None:
                    noise = reader.noise.of_call(1, 0).of_tile(part, array, len(codes))
                    lines, converters = noise.of_lines(part.codes(codes), reads), noise.of_converters(len(reads))
                amps = part.amps(currents) if lines is None else part.amps(currents) + on_outputs(array, lines)
                waiting.append(pool.submit(fit, part, amps, converters, stimulus, currents, joules))
            tiles = tuple(future.result() for future in waiting)
        return replace(self, tiles=tiles, calibrated=True)

    def _when_fitted(self, backend: Backend) -> TileGrid:
        """Return the grid in its state when converters are fitted."""
        chip = self.chip.when_fitted()
        if chip == self.chip:
            return self
        return replace(self, chip=chip, tiles=tuple(on_chip(part, chip) for part in self.tiles)).program(backend)

    def at(self, row: int, column: int) -> PlacedTile:
        """Return the tile at a place in the grid. Raises PlacementError, with the valid places, for another."""
        for part in self.tiles:
            if (part.row, part.column) == (row, column):
                return part
        last = self.tiles[-1]
        raise PlacementError(
            f"layer {self.layer.name!r} has no tile {row},{column}: rows 0 to {last.row}, columns 0 to {last.column}"
        )


def place(layer: QuantizedLayer, chip: Chip) -> TileGrid:
    """Distribute the layer's inputs over rows of tiles and its outputs over columns of tiles.

    As many groups of a convolution as fit share a tile, as blocks along its diagonal; the cells between blocks are off.
    A group that does not fit a tile beside another one has its own columns of tiles.

    Converters span the full scale until they are calibrated. Raises PlacementError for a layer that the chip cannot
    hold.
    """
    _check(layer, chip)
    inputs, outputs = _encoding(layer, chip).capacity(chip.wordlines, chip.bitlines)
    if inputs < 1 or outputs < 1:
        raise refused(
            layer.name,
            f"layer {layer.name!r}: a tile of {chip.wordlines} x {chip.bitlines} is too small for one output of a "
            f"{chip.encoding.name} layer; increase tile.wordlines or tile.bitlines",
        )
    each = layer.outputs // layer.groups
    if chip.rows_used is not None:
        if chip.rows_used > inputs:
            raise refused(
                layer.name,
                f"layer {layer.name!r}: tile.rows_used is {chip.rows_used}, but a tile of {chip.wordlines} x "
                f"{chip.bitlines} takes at most {inputs} inputs in {chip.encoding.name}; lower it, or leave it out",
            )
        inputs = chip.rows_used
    packed = min(_encoding(layer, chip).blocks_on(chip.wordlines, chip.bitlines, layer.inputs, each), layer.groups)
    if chip.rows_used is not None:
        packed = min(packed, chip.rows_used // layer.inputs)
    if packed > 1:
        return TileGrid(layer, chip, _packed(layer, chip, packed))
    columns = [(group, span) for group in range(layer.groups) for span in _spans(group * each, each, outputs)]
    tiles = []
    for row in range(-(-layer.inputs // inputs)):
        for column, (group, span) in enumerate(columns):
            rows = _spans(group * layer.inputs, layer.inputs, inputs)[row]
            tiles.append(on_chip(placed_tile(layer, chip, row, column, rows, span), chip))
    return TileGrid(layer, chip, tuple(tiles))


def _packed(layer: QuantizedLayer, chip: Chip, groups: int) -> tuple[PlacedTile, ...]:
    """Return the tiles of a convolution, each with that many of its groups or the last ones."""
    each, tiles = layer.outputs // layer.groups, []
    for column, span in enumerate(_spans(0, layer.groups, groups)):
        rows = range(layer.inputs * span.start, layer.inputs * span.stop)
        outputs = range(each * span.start, each * span.stop)
        tiles.append(on_chip(placed_tile(layer, chip, 0, column, rows, outputs), chip))
    return tuple(tiles)


def _encoding(layer: QuantizedLayer, chip: Chip) -> Encoding:
    """Return the chip's encoding for the weights of a layer. Raises PlacementError if they cannot be sliced."""
    try:
        return chip.encoding.for_weights(layer.weight_bits)
    except ConfigurationError as problem:
        raise refused(layer.name, f"layer {layer.name!r}: {problem}") from None


def _check(layer: QuantizedLayer, chip: Chip) -> None:
    most, key = chip.encoding.activation_bits, chip.encoding.activation_key
    if layer.input_bits > most:
        raise refused(
            layer.name,
            f"layer {layer.name!r} has {layer.input_bits}-bit activations, but {chip.encoding.name} takes at most "
            f"{most} bits{f': set {key} to {layer.input_bits}' if key else ''}, or quantize its activations to {most}",
        )


def _spans(first: int, length: int, size: int) -> list[range]:
    return [range(start, min(start + size, first + length)) for start in range(first, first + length, size)]


def signed_weights(layer: QuantizedLayer) -> Tensor:
    """Return weights q - z `[outputs, inputs]`, in a float type exact for all sums of the layer and of its parts."""
    largest = layer.inputs * 2 ** (layer.weight_bits + layer.input_bits)
    return torch.tensor(layer.weights, dtype=torch.float32 if largest < 2**24 else torch.float64) - layer.weight_zero


def exact_sums(layer: QuantizedLayer, codes: Codes) -> NDArray[np.floating]:
    """Return the integer sums `[vectors, outputs]` of (q - z) x, in a float type that represents them exactly."""
    weights = signed_weights(layer).view(layer.groups, -1, layer.inputs)
    vectors = torch.from_numpy(codes).to(weights).view(len(codes), layer.groups, layer.inputs)
    by_group = vectors.transpose(0, 1) @ weights.transpose(1, 2)
    sums: NDArray[np.floating] = by_group.transpose(0, 1).reshape(len(codes), layer.outputs).numpy()
    return sums
