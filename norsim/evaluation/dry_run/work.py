"""The work of a run: reads, and what is done for each tile, times measured rates; and the estimate that it gives."""

from __future__ import annotations

import resource
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from norsim.backends.backend import Backend
from norsim.evaluation.dry_run.rates import Rate, measured, models_to_build, near
from norsim.periphery.encoding import Codes
from norsim.tiling.tile import PlacedTile


@dataclass(frozen=True)
class Estimate:
    """The estimated cost of a run.

    `tiles`     number of arrays that it reads
    `decks`     number of decks for a simulator
    `solves`    number of reads of a tile that are solved, including those of the calibration and verification
    `seconds`   on this machine, with its number of jobs, and `core_hours` of work in them
    `memory_bytes`  peak memory, including simulators
    `disk_bytes`    in the run's folder and in the cache shared by runs
    `at_least`  whether a read took so long that the estimate is only a lower bound
    """

    tiles: int
    decks: int
    solves: int
    seconds: float
    core_hours: float
    memory_bytes: int
    disk_bytes: int
    at_least: bool

    def summary(self) -> dict[str, Any]:
        """Return the JSON content of a dry run."""
        return {"dry_run": True, **asdict(self)}


@dataclass
class Work:
    """A sum of work: seconds of this process, of simulators and of waiting for them, decks, solves and bytes.

    `kept_bytes` is the memory of all tiles, `batch_bytes` that of a layer's results on a batch of images.
    """

    jobs: int
    own: float = 0.0
    simulators: float = 0.0
    waiting: float = 0.0
    decks: float = 0.0
    solves: float = 0.0
    disk_bytes: float = 0.0
    kept_bytes: float = 0.0
    batch_bytes: float = 0.0
    at_least: bool = False
    rates: dict[tuple[str, bool, tuple[int, ...]], Rate] = field(default_factory=dict)

    def add(
        self, part: PlacedTile, codes: Codes, backend: Backend, reads: float, starts: float, together: float, *,
        programs: float = 0.0, fits: float = 0.0, calls: float = 0.0,
    ) -> None:  # fmt: skip
        """Add `reads` reads of a tile with activation codes like `codes` `[vectors, inputs]`, in `starts` decks.

        `together` decks are independent of each other and can be solved at the same time. A model that is kept on disk
        need not be built. The tile is programmed, its converters are fitted, and a model is called for many of these
        reads, as many times as the other numbers say.
        """
        if starts and backend.by_model:
            starts = models_to_build(part, backend, starts)
        rate = self.rate(part, codes, backend, alone=0 < reads <= starts)
        seconds = starts * rate.start + reads * rate.read + calls * rate.call
        self.solves += reads
        self.own += programs * rate.program + fits * rate.fit
        if backend.simulator is not None:
            # A library solves in this process, one deck at a time.
            at_a_time = min(self.jobs, max(together, 1)) if backend.own_process else 1
            self.simulators += seconds
            self.waiting += seconds / at_a_time
            self.decks += starts
            self.disk_bytes += reads * rate.bytes
        else:
            self.own += seconds

    def rate(self, part: PlacedTile, codes: Codes, backend: Backend, alone: bool) -> Rate:
        """Return the rate of reading tiles of that size, measured on the first one; `alone`: one read at a time.

        `codes` are `[vectors, inputs]`. What only the first of these reads takes is added to the work.
        """
        key = (backend.name, alone, part.cell_codes().shape)
        if key not in self.rates:
            found = near(self.rates, backend, *key[1:]) or measured(part, codes, backend, self.jobs, alone)
            self.rates[key] = found
            self.at_least |= found.at_least
            self.own += found.once
        return self.rates[key]

    def kept(self, part: PlacedTile, backend: Backend) -> int:
        """Return the bytes that a tile whose reads were added keeps in memory."""
        own = backend.name, part.cell_codes().shape
        return next(rate.kept_bytes for (name, _, shape), rate in self.rates.items() if (name, shape) == own)

    def estimate(self, tiles: int) -> Estimate:
        """Return the sum. Memory is the peak of this process so far, what a run keeps besides, its tiles and a layer's
        results, and that of a simulator for each job.

        A child counts the memory of this process until it runs its own program, so a simulator's memory is known, and
        counted, only where it is larger.
        """
        unit = 1 if sys.platform == "darwin" else 1024
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        own, simulator = (unit * resource.getrusage(kind).ru_maxrss for kind in kinds)
        simulator = simulator if simulator > own else 0
        return Estimate(
            tiles, round(self.decks), round(self.solves),
            self.own + self.waiting,
            (self.own * torch.get_num_threads() + self.simulators) / 3600,
            round(own + self.jobs * simulator + self.kept_bytes + self.batch_bytes), round(self.disk_bytes),
            self.at_least,
        )  # fmt: skip
