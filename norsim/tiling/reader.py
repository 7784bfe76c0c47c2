"""How tiles are read: the backend, the workers, and the observer of the reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from norsim.array.tile import Currents, Stimulus, Tile, join
from norsim.backends.backend import Backend, Progress
from norsim.backends.batch import read_all
from norsim.jobs.unit_store import UnitStore
from norsim.jobs.workers import HERE, Workers
from norsim.periphery.encoding import Codes, sense_matrix
from norsim.tiling.program import ProgrammedTile
from norsim.tiling.tile import PlacedTile, TileRead

# Line currents are processed in parts that fit into a core's cache, because the work on them is memory-bound.
AMPS_AT_ONCE = 2**19

Observer = Callable[[PlacedTile, ProgrammedTile, Codes, TileRead], None]
# A read of a tile: the tile's index in the list, its first vector, the codes, and the result.
Read = tuple[int, int, Codes, TileRead]


def unobserved(*_: Any) -> None:
    """Ignore a read: the default observer."""


@dataclass(frozen=True)
class Reader:
    """How tiles are read.

    `backend`    computes the reads
    `workers`    solve the decks
    `progress`   called with (decks done, all decks) while a layer is read
    `observe`    called with (placed tile, its array, the layer's activation codes, tile read) after each read of a tile
    `store`      store of finished reads of simulators
    `random`     generator of the converters' noise; None for no noise
    """

    backend: Backend
    workers: Workers = HERE
    progress: Progress | None = None
    observe: Observer = field(default=unobserved)
    store: UnitStore | None = None
    random: np.random.Generator | None = None

    def currents(self, requests: Sequence[tuple[Tile, Stimulus]]) -> list[Currents]:
        """Return the currents of each request, in order; equal reads of a tile are solved once.

        The result does not depend on `workers`.
        """
        if self.backend.by_model:
            # Looking up all reads costs less than finding equal ones.
            return read_all(requests, self.backend, self.workers if self.workers.elsewhere else HERE, self.progress)
        distinct = [(tile, *stimulus.distinct()) for tile, stimulus in requests]
        pieces = [
            (place, tile, stimulus.take(slice(start, start + size)))
            for place, (tile, stimulus, _) in enumerate(distinct)
            for size in [self.backend.reads_per_deck or stimulus.vectors]
            for start in range(0, stimulus.vectors, size)
        ]
        decks = [(tile, stimulus) for _, tile, stimulus in pieces]
        parts: list[list[Currents]] = [[] for _ in requests]
        found = read_all(decks, self.backend, self.workers, self.progress, self.store)
        for (place, _, _), currents in zip(pieces, found, strict=True):
            parts[place].append(currents)
        return [join(part).take(inverse) for part, (_, _, inverse) in zip(parts, distinct, strict=True)]

    def read(self, tiles: Sequence[PlacedTile], arrays: Sequence[ProgrammedTile], layer_codes: Codes) -> Iterator[Read]:
        """Yield reads of the tiles of one layer, with their arrays, for the layer's `[vectors, inputs]` codes."""
        if self.backend.by_model:
            for place, (part, array) in enumerate(zip(tiles, arrays, strict=True)):
                for first, some, result in self.read_by_model(part, array, layer_codes):
                    yield place, first, some, result
            return
        pairs = zip(tiles, arrays, strict=True)
        requests = [(array.tile, array.drive(part.codes(layer_codes))) for part, array in pairs]
        for place, (part, currents) in enumerate(zip(tiles, self.currents(requests), strict=True)):
            yield place, 0, layer_codes, part.read_out(layer_codes, part.amps(currents), self.random)

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
        for start in range(0, len(layer_codes), vectors):
            some = layer_codes[start : start + vectors]
            lines = model.lines(array.encoding.drives(part.codes(some)), passes, encoding.top_drive)
            yield start, some, part.read_out(some, (torch.from_numpy(lines) @ sense).numpy(), self.random)
