"""How tiles are read: the backend, the workers, and the observer of the reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from norsim.array.tile import Currents, Stimulus, Tile, join
from norsim.backends.backend import Backend
from norsim.backends.batch import read_all
from norsim.jobs.phases import Report, silent
from norsim.jobs.unit_store import UnitStore
from norsim.jobs.workers import HERE, Workers
from norsim.periphery.encoding import Codes, sense_matrix
from norsim.tiling.program import ProgrammedTile
from norsim.tiling.read_noise import ReadNoise, TileNoise, on_outputs
from norsim.tiling.tile import ObservedRead, PlacedTile, TileRead

# Line currents are processed in parts that fit into a core's cache, because the work on them is memory-bound.
AMPS_AT_ONCE = 2**19

# Codes `[vectors, inputs]` are in memory or, like the read, on a device.
Observer = Callable[[PlacedTile, ProgrammedTile, "Codes | torch.Tensor", ObservedRead], None]
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
    `observe`    called with (placed tile, its array, the layer's activation codes `[vectors, inputs]`, tile read) after
                 each read of a tile
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
        pairs = zip(tiles, arrays, strict=True)
        requests = [(array.tile, array.drive(part.codes(layer_codes))) for part, array in pairs]
        for place, (part, currents) in enumerate(zip(tiles, self.currents(requests, tiles[0].layer.name), strict=True)):
            noise = self._noise_of(part, arrays[place], len(layer_codes))
            yield place, 0, layer_codes, read_out(part, layer_codes, part.amps(currents), noise)

    def read_by_model(
        self, part: PlacedTile, array: ProgrammedTile, layer_codes: Codes
    ) -> Iterator[tuple[int, Codes, TileRead]]:
        """Yield reads of one tile through its model, for some `[vectors, inputs]` codes at a time: first vector, codes,
        read."""
        encoding = part.chip.encoding
        model = self.backend.model(array.tile, array.drive(part.codes(layer_codes[:1])))
        kind = "bitline" if model.drive.direction == "wordlines" else "source"
        passes = encoding.passes(part.layer.input_bits)
        sense = torch.from_numpy(sense_matrix(encoding.sense(len(part.outputs)), kind, model.summed)).float()
        vectors = max(AMPS_AT_ONCE // (model.summed * passes), 1)
        noise = self._noise_of(part, array, len(layer_codes))
        for start in range(0, len(layer_codes), vectors):
            some = layer_codes[start : start + vectors]
            lines = model.lines(array.encoding.drives(part.codes(some)), passes, encoding.top_drive)
            yield start, some, read_out(part, some, (torch.from_numpy(lines) @ sense).numpy(), noise)

    def _noise_of(self, part: PlacedTile, array: ProgrammedTile, vectors: int) -> TileNoise | None:
        return None if self.noise is None else self.noise.of_tile(part, array, vectors)


def read_out(
    part: PlacedTile, layer_codes: Codes, amps: NDArray[np.floating], noise: TileNoise | None
) -> TileRead:  # fmt: skip
    """Add the noise of the next reads to the outputs' `[reads, outputs]` amperes and convert them.

    `layer_codes` are the `[vectors, inputs]` codes that were read.
    """
    if noise is None:
        return part.read_out(layer_codes, amps)
    lines, converters = noise.of_lines(part.codes(layer_codes)), noise.of_converters(len(amps))
    if lines is None:
        return part.read_out(layer_codes, amps, converters)
    found = part.read_out(layer_codes, amps + on_outputs(noise.array, lines), converters)
    return replace(found, line_noise=lines.reshape(*found.amps.shape[:2], -1))
