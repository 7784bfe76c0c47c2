"""How a converted network reads its tiles: by which backend, by whom, watched by whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from norsim.array.tile import Currents, Stimulus, Tile, join
from norsim.backends.batch import read_all
from norsim.backends.registry import BACKENDS, Progress, together
from norsim.errors import ConfigurationError
from norsim.jobs.unit_store import UnitStore
from norsim.jobs.workers import HERE, Workers
from norsim.periphery.encoding import Codes

Observer = Callable[[Any, Codes, Any], None]


def _unwatched(*_: Any) -> None:
    """No observer."""


@dataclass(frozen=True)
class Reader:
    """`backend`   `ideal`, or the name of a solver
    `workers`    who solves the decks
    `progress`   called with (decks done, decks in all) while a layer is read
    `observe`    called with (placed tile, layer's activation codes, tile read) after each tile's read
    `store`      where finished reads of ngspice are kept
    `random`     where the converters' noise comes from; None for no noise

    Raises ConfigurationError for an unknown backend.
    """

    backend: str = "ngspice"
    workers: Workers = HERE
    progress: Progress | None = None
    observe: Observer = field(default=_unwatched)
    store: UnitStore | None = None
    random: np.random.Generator | None = None

    def __post_init__(self) -> None:
        if self.backend != "ideal" and self.backend not in BACKENDS:
            raise ConfigurationError(f"no backend {self.backend!r}; there are {', '.join(['ideal', *BACKENDS])}")

    def read(self, requests: Sequence[tuple[Tile, Stimulus]]) -> list[Currents]:
        """The currents of each request, in order; equal reads of a tile are solved once.

        What comes back does not depend on `workers`.
        """
        if self.backend == "macro":
            # A matrix product over all reads costs less than finding those that are equal.
            return read_all(requests, self.backend, self.workers if self.workers.elsewhere else HERE, self.progress)
        distinct = [(tile, *stimulus.distinct()) for tile, stimulus in requests]
        pieces = [
            (place, tile, stimulus.take(slice(start, start + size)))
            for place, (tile, stimulus, _) in enumerate(distinct)
            for size in [together(self.backend, stimulus.vectors)]
            for start in range(0, stimulus.vectors, size)
        ]
        decks = [(tile, stimulus) for _, tile, stimulus in pieces]
        parts: list[list[Currents]] = [[] for _ in requests]
        for (place, _, _), currents in zip(
            pieces, read_all(decks, self.backend, self.workers, self.progress, self.store), strict=True
        ):
            parts[place].append(currents)
        return [join(part).take(inverse) for part, (_, _, inverse) in zip(parts, distinct, strict=True)]
