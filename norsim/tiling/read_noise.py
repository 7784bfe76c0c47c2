"""Noise that is drawn at each read: of the cells' currents, added up on the lines, and of the converters.

Random numbers are counted: see norsim.random_streams. Their key is the seed, the purpose, the chip, the layer and the
tile; each image and call of a layer has a block of numbers, in the order of position, pass and line. So results depend
neither on batches, workers and an interruption nor on the backend.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numba import prange
from numpy.typing import NDArray

from norsim.array.compiled import njit
from norsim.array.read_noise import Places, deviations_given_lines, line_variance, places
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.backends.reference_cells import curves
from norsim.errors import ConfigurationError
from norsim.periphery.encoding import Codes, integrated, sense_matrix
from norsim.random_streams import Stream, block, block_key, generator
from norsim.solver.input_lines import Driven, driven
from norsim.tiling.program import ProgrammedTile
from norsim.tiling.tile import PlacedTile

Singles = NDArray[np.float32]
# The sources of noise of a tile, in the keys of their random numbers.
CELLS, CONVERTERS = 0, 1
# Points at which the curve of a cell is inverted.
CURVE_POINTS = 2000


@dataclass(frozen=True)
class ReadNoise:
    """What determines the noise of a call of a layer, besides the layer itself.

    `seed`, `stream`   of the random numbers
    `first_image`      number, in the run, of the first image of the call
    `images`           number of images; None if it is not known: the first axis of each layer's input counts images
    `call`             number of the layer's call for these images
    """

    seed: int
    stream: Stream = Stream.READ_NOISE
    first_image: int = 0
    images: int | None = None
    call: int = 0

    def of_call(self, images: int, call: int) -> ReadNoise:
        """Return the noise of another call, for that many images."""
        return replace(self, images=images, call=call)

    def of_tile(self, part: PlacedTile, array: ProgrammedTile, vectors: int) -> TileNoise:
        """Return the noise of a tile in the call, whose `vectors` are those of its images, image after image."""
        images = vectors if self.images is None else self.images
        reads = vectors // images * part.chip.encoding.passes(part.layer.input_bits)

        def normals(source: int, width: int) -> Normals:
            place = (part.chip.draw.chip, source, part.row, part.column, *part.layer.name.encode())
            return Normals(block_key(self.seed, self.stream, *place), self.first_image, self.call, reads, width)

        steps = part.chip.converters.noise
        on_outputs = normals(CONVERTERS, part.conversions) if steps else None
        if array.read_sigma is None:
            return TileNoise(array, steps, on_outputs)
        variance = line_variance(array.read_sigma, cell_places(array))
        return TileNoise(array, steps, on_outputs, normals(CELLS, variance.shape[1]), variance.astype(np.float32))


class Normals:
    """Standard normal numbers of consecutive reads, `width` per read, in one block for the `reads` of each image.

    The `key` `[2]` is that of norsim.random_streams.block.
    """

    def __init__(self, key: NDArray[np.uint64], first_image: int, call: int, reads: int, width: int) -> None:
        self.key, self.image, self.call, self.reads, self.width = key, first_image - 1, call, reads, width
        self.left = 0

    def take(self, reads: int) -> Singles:
        """Return the numbers of the next reads, `[reads, width]`."""
        found, done = np.empty((reads, self.width), dtype=np.float32), 0
        while done < reads:
            if not self.left:
                self.image, self.left = self.image + 1, self.reads
                self.random = block(self.key, self.image, self.call)
            many = min(self.left, reads - done)
            self.random.standard_normal(out=found[done : done + many], dtype=np.float32)
            self.left, done = self.left - many, done + many
        return found


@dataclass(frozen=True, eq=False)
class DrawnNoise:
    """The noise of some reads; None for no noise of a kind.

    `lines`   `[reads, lines]`, amperes: deviations of the lines' currents from noise of the cells
    `amps`    `[reads, conversions]`, amperes: what these add to the outputs' currents
    `steps`   `[reads, conversions]`: the converters' noise, in steps
    """

    lines: Singles | None
    amps: Singles | None
    steps: Singles | None

    def take(self, vectors: NDArray[np.int64], passes: int) -> DrawnNoise:
        """Return the noise of some vectors, of `passes` reads each."""
        reads = (vectors[:, None] * passes + np.arange(passes)).ravel()
        every = (self.lines, self.amps, self.steps)
        return DrawnNoise(*(None if values is None else values[reads] for values in every))

    def by_pass(self, passes: int) -> Singles | None:
        """Return `lines` as `[vectors, passes, lines]`."""
        return None if self.lines is None else self.lines.reshape(-1, passes, self.lines.shape[1])


@dataclass(frozen=True, eq=False)
class TileNoise:
    """The noise of the consecutive reads of one tile.

    `steps`      standard deviation of the converters' noise, in steps; `on_outputs` draws it, None for no noise
    `on_lines`   draws the noise of the cells, None for no noise; `variance` `[inputs, lines]`, amperes squared, is what
                 an input at full drive adds to that of a line
    """

    array: ProgrammedTile
    steps: float
    on_outputs: Normals | None
    on_lines: Normals | None = None
    variance: Singles | None = None

    def of_reads(self, codes: Codes) -> DrawnNoise:
        """Return the noise of the next reads, for the tile's `[vectors, inputs]` activation codes."""
        lines = self.of_lines(codes)
        steps = self.of_converters(len(codes) * self.array.encoding.passes(self.array.input_bits))
        return DrawnNoise(lines, None if lines is None else on_outputs(self.array, lines), steps)

    def of_lines(self, codes: Codes, reads: NDArray[np.int64] | slice = slice(None)) -> Singles | None:
        """Return the deviations of the lines' currents in the next reads, `[reads, lines]`, amperes; None for no noise.

        `codes` are the tile's `[vectors, inputs]` activation codes, and `reads` those reads of them that are made.
        """
        if self.on_lines is None or self.variance is None:
            return None
        encoding = self.array.encoding
        bits = self.array.input_bits
        slots = encoding.slots(bits)
        # The noise of a cell stays for all slots of a read.
        shares = integrated(encoding.shares(encoding.drives(codes), encoding.passes(bits) * slots), slots)[reads]
        found = self.on_lines.take(len(shares))
        _scale(np.square(shares), self.variance, found)
        return found

    def normals_of_lines(self, reads: int) -> Singles | None:
        """Return the standard normal numbers that `of_lines` scales, of the next reads, `[reads, lines]`; None for no
        noise."""
        return None if self.on_lines is None else self.on_lines.take(reads)

    def of_converters(self, reads: int) -> Singles | None:
        """Return the converters' noise in the next reads, `[reads, conversions]`, in steps; None for no noise."""
        return None if self.on_outputs is None else np.float32(self.steps) * self.on_outputs.take(reads)


@njit(parallel=True)
def _scale(squares, variance, normals):  # type: ignore[no-untyped-def]
    """Scale normal numbers `[reads, lines]` in place to the deviation of each line, with the `[reads, inputs]` squares
    of the inputs' shares. The order of sums is that of the inputs, so that it does not depend on other reads."""
    for read in prange(len(squares)):
        total = np.zeros(variance.shape[1], dtype=np.float32)
        for i in range(squares.shape[1]):
            square = squares[read, i]
            if square > 0:
                for line in range(len(total)):
                    total[line] += square * variance[i, line]
        for line in range(len(total)):
            normals[read, line] *= np.sqrt(total[line])


def on_outputs(array: ProgrammedTile, lines: Singles) -> Singles:
    """Return what `[reads, lines]` deviations add to the outputs' currents, `[reads, conversions]`, amperes.

    Outputs that share a reference column share its deviation.
    """
    sense = array.encoding.sense(array.outputs)
    found: Singles = lines @ sense_matrix(sense, sense[0][0][0], lines.shape[1]).astype(np.float32)
    return found


def image_axis(shape: Sequence[int], images: int | None, layer: str) -> int:
    """Return the axis of a layer's input that counts images, given its shape without the axis of inputs.

    It is the first axis that is as long as there are images, or the first axis of all if its length is a multiple of
    that, such as for images cut into windows. Raises ConfigurationError if there is none.
    """
    if images is None or math.prod(shape) == 1:
        return 0
    if images in shape:
        return list(shape).index(images)
    if shape and shape[0] % images == 0:
        return 0
    raise ConfigurationError(
        f"layer {layer!r} has noise that is drawn for each image, but its input {[*shape, 'inputs']} has no axis for "
        f"the {images} images of the batch; keep images in an axis of their own, or set the noise to zero or per_chip"
    )


def _kind(array: ProgrammedTile) -> Driven:
    """Return how the inputs of a tile are driven."""
    return driven(array.drive(np.zeros((1, array.inputs), np.uint8)))


def cell_places(array: ProgrammedTile) -> Places:
    """Return the input and the summing line that each cell of a tile is on, both `[wordlines, bitlines]`."""
    return places(array.tile, _kind(array).direction, array.encoding.sense(array.outputs)[0][0][0])


def tile_of_read(part: PlacedTile, array: ProgrammedTile, stimulus: Stimulus, lines: Floats) -> Tile:
    """Return the tile with thresholds that give the deviations `lines` `[lines]`, amperes, of the one read of
    `stimulus`, with all its slots.

    Which cell contributes how much is drawn; the same `lines` always give the same tile.
    """
    if array.read_sigma is None:
        return array.tile
    number = int.from_bytes(hashlib.sha256(lines.astype(np.float64).tobytes()).digest()[:8], "big")
    random = generator(part.chip.draw.seed, Stream.PROOF_CELLS, number)
    shares = _kind(array).drives(stimulus).sum(axis=0)
    target, threshold_of = part.by_level(array.levels.target_amps, 0.0), curves(part.chip).read
    gain = 1.0 if array.tile.gains is None else array.tile.gains
    if part.chip.cell != part.chip.verify_cell:
        # At another temperature than that of program-verify, cells conduct other currents than targets.
        known = np.geomspace(1e-4, 4, CURVE_POINTS) * float(target.max())
        volts = threshold_of(known)[::-1]
        target = gain * np.interp(array.tile.thresholds, volts, known[::-1], left=known[-1], right=0.0)
    amps = target + deviations_given_lines(array.read_sigma, cell_places(array), shares, lines, target, random)
    shift = np.where(array.read_sigma > 0, threshold_of(amps / gain) - threshold_of(target / gain), 0.0)
    return replace(array.tile, thresholds=np.clip(array.tile.thresholds + shift, *part.chip.cell.limits))
