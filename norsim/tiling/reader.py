"""How tiles are read: the backend, the workers, and the observer of the reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Currents, Floats, Stimulus, Tile, join
from norsim.backends.backend import Backend
from norsim.backends.batch import read_all
from norsim.errors import ConfigurationError
from norsim.jobs.phases import Report, silent
from norsim.jobs.unit_store import UnitStore
from norsim.jobs.workers import HERE, Workers
from norsim.periphery.code_vectors import CodeVectors, LayerCodes
from norsim.periphery.encoding import Codes, runs, sense_matrix
from norsim.tiling.program import ProgrammedTile
from norsim.tiling.read_noise import DrawnNoise, ReadNoise, TileNoise
from norsim.tiling.tile import ObservedRead, PlacedTile, TileRead

if TYPE_CHECKING:
    from norsim.solver.macro.reads import Wanted
    from norsim.solver.macro.tables import Tabulated

# Currents, codes and noise of a tile are kept for parts of this size, because the work on them is memory-bound.
AMPS_AT_ONCE = 2**19
# Volts of the lines of a layer's tiles in reads of several slots are kept for parts of this size.
VOLTS_AT_ONCE = 2**25

# The codes are in memory or, like the read, on a device.
Observer = Callable[[PlacedTile, ProgrammedTile, LayerCodes, ObservedRead], None]
# A read of a tile: the tile's index in the list, its first vector, the codes, and the result.
Read = tuple[int, int, Codes, TileRead]


def unobserved(*_: Any) -> None:
    """Ignore a read: the default observer."""


@dataclass(frozen=True)
class Reader:
    """How tiles are read.

    `backend`    computes the reads
    `workers`    solve the decks
    `report`     called with ("PHASE LAYER", done, total) while a layer is read: decks, or tiles that models read
    `phase`      the phase that its reads belong to
    `observe`    called with (placed tile, its array, the layer's activation codes `[vectors, inputs]`, read) after each
                 read of a tile
    `store`      store of finished reads of simulators
    `noise`      determines the noise of cells and converters that is drawn for each read; None for no noise
    `in_torch`   whether layers compute in torch on a CPU too, as they do on other devices
    """

    backend: Backend
    workers: Workers = HERE
    report: Report = field(default=silent)
    phase: str = "read"
    observe: Observer = field(default=unobserved)
    store: UnitStore | None = None
    noise: ReadNoise | None = None
    in_torch: bool = False

    def on(self, device: str) -> Reader:
        """Return the reader whose backend computes on a torch device, such as `cuda:0`, if it can."""
        return replace(self, backend=self.backend.on(device))

    def currents(self, requests: Sequence[tuple[Tile, Stimulus]], layer: str = "") -> list[Currents]:
        """Return the currents of each request for tiles of `layer`, in order; equal reads of a tile are solved once.

        The result does not depend on `workers`.
        """
        progress = partial(self.report, f"{self.phase} {layer}".rstrip())
        if self.backend.by_model:
            # Looking up all reads costs less than finding equal ones.
            return read_all(requests, self.backend, self.workers if self.workers.elsewhere else HERE, progress)
        distinct = [(tile, *stimulus.distinct()) for tile, stimulus in requests]
        pieces = [
            (place, tile, stimulus.take(slice(start, start + size)))
            for place, (tile, stimulus, _) in enumerate(distinct)
            for size in [self.backend.reads_per_deck or stimulus.vectors]
            for start in range(0, stimulus.vectors, size)
        ]
        decks = [(tile, stimulus) for _, tile, stimulus in pieces]
        parts: list[list[Currents]] = [[] for _ in requests]
        found = read_all(decks, self.backend, self.workers, progress, self.store)
        for (place, _, _), currents in zip(pieces, found, strict=True):
            parts[place].append(currents)
        return [join(part).take(inverse) for part, (_, _, inverse) in zip(parts, distinct, strict=True)]

    def read(self, tiles: Sequence[PlacedTile], arrays: Sequence[ProgrammedTile], layer_codes: Codes) -> Iterator[Read]:
        """Yield reads of the tiles of one layer, with their arrays, for the layer's `[vectors, inputs]` codes."""
        if self.backend.by_model:
            for place, (part, array) in enumerate(zip(tiles, arrays, strict=True)):
                for first, some, result in self.read_by_model(part, array, layer_codes):
                    yield place, first, some, result
                self.report(f"{self.phase} {part.layer.name}", place + 1, len(tiles))
            return
        pairs = list(zip(tiles, arrays, strict=True))
        noises = [self._noise_of(part, array, len(layer_codes)) for part, array in pairs]
        vectors = _vectors_at_once(tiles, arrays, len(layer_codes))
        for start in range(0, len(layer_codes), vectors):
            some = layer_codes[start : start + vectors]
            requests = [(array.tile, array.drive(part.codes(some))) for part, array in pairs]
            found = self.currents(requests, tiles[0].layer.name)
            for place, (part, currents, noise) in enumerate(zip(tiles, found, noises, strict=True)):
                yield place, start, some, read_out(part, some, part.amps(currents), noise)

    def read_by_model(
        self, part: PlacedTile, array: ProgrammedTile, layer_codes: Codes
    ) -> Iterator[tuple[int, Codes, TileRead]]:
        """Yield reads of one tile through its model, for some `[vectors, inputs]` codes at a time: first vector, codes,
        read."""
        tile = self._tile_model(part, array)
        vectors = tile.vectors_at_once
        noise = self._noise_of(part, array, len(layer_codes))
        for start in range(0, len(layer_codes), vectors):
            some = layer_codes[start : start + vectors]
            drawn = None if noise is None else noise.of_reads(part.codes(some))
            yield start, some, tile.read(CodeVectors.of_rows(some), drawn)

    def sum_by_model(
        self, part: PlacedTile, array: ProgrammedTile, vectors: CodeVectors, sums: Floats
    ) -> Iterator[tuple[CodeVectors, Sums]]:
        """Add the sums of one tile to those of its layer, `sums` `[outputs, vectors]`, through its model; yield some of
        the layer's `vectors` and what is known of their reads."""
        tile = self._tile_model(part, array)
        noise = self._noise_of(part, array, len(vectors))
        whole = noise is None and part.slots == 1
        at_once = len(vectors) if whole else tile.vectors_at_once
        for start in range(0, len(vectors), at_once):
            some = vectors.take(slice(start, start + at_once))
            drawn = None if noise is None else noise.of_reads(part.codes(some[:]))
            yield some, tile.add_sums(some, drawn, sums, start)

    def _tile_model(self, part: PlacedTile, array: ProgrammedTile) -> TileModel:
        nothing = np.zeros((1, array.inputs), np.uint8)
        return TileModel(part, array, self.backend.model(array.tile, array.drive(nothing)))

    def _noise_of(self, part: PlacedTile, array: ProgrammedTile, vectors: int) -> TileNoise | None:
        return None if self.noise is None else self.noise.of_tile(part, array, vectors)


def _vectors_at_once(tiles: Sequence[PlacedTile], arrays: Sequence[ProgrammedTile], vectors: int) -> int:
    """Return the vectors, of a layer's `vectors`, that its tiles are read for at a time without a model.

    With one slot these are all of them, so that equal reads are solved once; many slots would take too much memory.
    """
    slots = tiles[0].slots
    if slots == 1:
        return max(vectors, 1)
    lines = sum(sum(array.tile.thresholds.shape) for array in arrays)
    return max(VOLTS_AT_ONCE // (lines * slots * tiles[0].encoding.passes(tiles[0].layer.input_bits)), 1)


def read_out(
    part: PlacedTile, layer_codes: Codes, amps: NDArray[np.floating], noise: TileNoise | None
) -> TileRead:  # fmt: skip
    """Add the noise of the next reads to the outputs' `[reads, conversions]` amperes and convert them.

    `layer_codes` are the `[vectors, inputs]` codes that were read.
    """
    if noise is None:
        return part.read_out(layer_codes, amps)
    drawn = noise.of_reads(part.codes(layer_codes))
    found = part.read_out(layer_codes, amps if drawn.amps is None else amps + drawn.amps, drawn.steps)
    return replace(found, line_noise=drawn.by_pass(found.shape[1]))


@dataclass(frozen=True, eq=False)
class Sums:
    """What is left of the read of one tile whose currents and codes nobody asked for: its sums were added to those of
    its layer.

    `shape`   (vectors, passes, conversions)
    `clips`   numbers of currents that the converters clipped at the low and high end
    `take`    reads some vectors again, given by their indices, and returns their `TileRead`
    """

    shape: tuple[int, int, int]
    clips: tuple[int, int]
    take: Callable[[NDArray[np.int64]], TileRead] = field(repr=False)

    def clipped(self, part: PlacedTile) -> tuple[int, int]:
        """Return `clips`, whatever its tile, as TileRead does."""
        return self.clips


@dataclass(frozen=True, eq=False)
class TileModel:
    """A tile with the model that it is read through."""

    part: PlacedTile
    array: ProgrammedTile
    model: Tabulated

    @property
    def passes(self) -> int:
        """Number of reads of a vector."""
        return self.part.chip.encoding.passes(self.part.layer.input_bits)

    @property
    def vectors_at_once(self) -> int:
        """Number of vectors whose currents, codes and noise are kept at a time."""
        return max(AMPS_AT_ONCE // (self.model.summed * self.passes * self.part.slots), 1)

    def shape(self, vectors: CodeVectors) -> tuple[int, int, int]:
        """Return (vectors, passes, conversions)."""
        return len(vectors), self.passes, self.part.conversions

    def read(self, vectors: CodeVectors, noise: DrawnNoise | None) -> TileRead:
        """Read the layer's `vectors`, with the noise of these reads if there is any."""
        shape = self.shape(vectors)
        amps, adc = np.empty((2, shape[0] * shape[1], shape[2]), dtype=np.float32)
        sums = np.zeros((len(self.part.outputs), shape[0]))
        self._fill(vectors, noise, amps=amps, adc=adc, sums=sums)
        lines = None if noise is None else noise.by_pass(self.passes)
        return TileRead(amps.reshape(shape), adc.reshape(shape), sums.T.astype(np.float32), lines)

    def add_sums(self, vectors: CodeVectors, noise: DrawnNoise | None, sums: Floats, first: int) -> Sums:
        """Add the sums of some of the layer's vectors, from the `first` on, to `sums` `[outputs, vectors]` of all."""
        clips = self._fill(vectors, noise, sums=sums, first_output=self.part.outputs.start, first_vector=first)

        def again(which: NDArray[np.int64]) -> TileRead:
            drawn = None if noise is None else noise.take(which, self.passes)
            return self.read(vectors.take(which), drawn)

        return Sums(self.shape(vectors), clips, again)

    def _fill(self, vectors: CodeVectors, noise: DrawnNoise | None, **results: Any) -> tuple[int, int]:
        """Read, and fill the arrays of `norsim.solver.macro.reads.Wanted`; return the numbers of clipped currents.

        Raises ConfigurationError for codes of lines under volts that are above those of the layer.
        """
        from norsim.solver.macro.reads import NO_DRIVES, NOTHING, Wanted

        wanted = Wanted(**results)
        part, encoding = self.part, self.array.encoding
        if part.slots > 1 or part.flaws.thresholds is not None:
            return self._integrate(vectors, noise, wanted)
        own = vectors.of_inputs(slice(part.inputs.start, part.inputs.stop), part.order)
        if self.model.drive.direction == "wordlines":
            codes, drives, kind = encoding.drives(own.codes).astype(np.uint8, copy=False), NO_DRIVES, "bitline"
        else:
            every = np.arange(2**part.layer.input_bits, dtype=np.uint8)
            codes, kind = own.codes, "source"
            if codes.max(initial=0) >= len(every):
                # The kernel does not check its indices.
                raise ConfigurationError(
                    f"layer {part.layer.name!r}: activation code {codes.max()}; expected codes up to {len(every) - 1}"
                )
            drives = (encoding.drives(every).astype(np.float64) * np.float32(1 / encoding.top_drive)).astype(np.float32)
        amps, steps = (None, None) if noise is None else (noise.amps, noise.steps)
        drawn = (NOTHING if amps is None else amps, NOTHING if steps is None else steps)
        clips = self.model.read(
            (codes, own.begins, own.offsets), drives, self.passes, wanted, part.readout(kind), drawn
        )  # fmt: skip
        # Codes are copied only for an encoding that computes a part from them.
        if part.digital_part(np.empty((0, part.layer.vector_length), np.uint8)) is not None:
            output, vector = wanted.sums[wanted.first_output :], wanted.first_vector
            digital = part.digital_part(vectors[:])
            output[: len(part.outputs), vector : vector + len(vectors)] += 0.0 if digital is None else digital.T
        return clips

    def _integrate(self, vectors: CodeVectors, noise: DrawnNoise | None, wanted: Wanted) -> tuple[int, int]:
        """Do the same for reads of several slots, and for converters with thresholds of their own: each different drive
        of a vector is read once, and its currents count for the slots that it lasts."""
        part, encoding = self.part, self.array.encoding
        codes = vectors[:]
        shares = encoding.shares(encoding.drives(part.codes(codes)), self.passes * part.slots)
        drives, lasts, first = runs(shares, part.slots)
        lines = np.add.reduceat(self.model.lines(drives) * lasts[:, None], first, axis=0, dtype=np.float64)
        sense = encoding.sense(self.array.outputs)
        amps = (lines @ sense_matrix(sense, sense[0][0][0], self.model.summed)).astype(np.float32)
        if noise is not None and noise.amps is not None:
            amps += noise.amps
        found = part.read_out(codes, amps, None if noise is None else noise.steps)
        if len(wanted.amps):
            wanted.amps[:], wanted.adc[:] = amps, found.adc.reshape(amps.shape)
        outputs = slice(wanted.first_output, wanted.first_output + len(part.outputs))
        wanted.sums[outputs, wanted.first_vector : wanted.first_vector + len(codes)] += found.sums.T
        return part.clipped(amps)
