"""How long a read of a tile takes: measured on the tile, once for each size of it, backend and way of being read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from norsim.array.tile import Currents
from norsim.backends.characterised import macro_model
from norsim.backends.registry import BACKENDS, read
from norsim.errors import SolveError
from norsim.jobs.unit_store import currents_table, parquet
from norsim.jobs.workers import Threads
from norsim.periphery.encoding import Codes
from norsim.tiling.tile import PlacedTile

# Reads made to measure a rate.
MACRO_READS = 4096
# Longer than this no rate is waited for: the estimate then is a lower bound. Shorter than this a probe says little,
# and more reads are made.
LONGEST_PROBE_SECONDS = 120.0
SHORTEST_PROBE_SECONDS = 0.5


@dataclass(frozen=True)
class Rate:
    """Of one size of tile: `start` seconds before the first read, seconds a `read`, `bytes` that a read is kept in.

    `at_least`: a read took so long that it is longer than this.
    """

    start: float
    read: float
    bytes: float = 0.0
    at_least: bool = False


def measured(part: PlacedTile, codes: Codes, backend: str, jobs: int, alone: bool) -> Rate:
    """How fast a tile is read, with activations like `codes` `[vectors, inputs]`; `alone`: one read at a time."""
    if backend == "macro":
        return _macro_rate(part, codes)
    try:
        return _rate(part, codes, backend, jobs, 1 if alone else BACKENDS[backend].probed)
    except SlowError:
        return Rate(0.0, LONGEST_PROBE_SECONDS, at_least=True)


class SlowError(SolveError):
    """A read took longer than anybody waits for an estimate."""


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """The seconds that a call took, and what it gave."""
    started = time.perf_counter()
    found = call()
    return time.perf_counter() - started, found


def _rate(part: PlacedTile, codes: Codes, backend: str, jobs: int, reads: int) -> Rate:
    """Of a solver that takes reads one after the other: from one read, and from so many.

    So many decks of a simulator at a time as the run will have: what they cost each other is in the rate.
    """
    tile, (stimulus, _) = part.tile(), part.drive(codes).distinct()
    many, limited = min(stimulus.vectors, reads), BACKENDS[backend].limited

    def solve(reads: int) -> Currents:
        some = stimulus.take(slice(0, reads))
        if limited is None:
            return read(tile, some, backend)
        try:
            with Threads(jobs).executor() as pool:
                found = list(pool.map(lambda _: limited(tile, some, LONGEST_PROBE_SECONDS), range(jobs)))
                return found[0]
        except SolveError as problem:
            raise SlowError(str(problem)) if "did not finish" in str(problem) else problem from None

    if BACKENDS[backend].simulator is None:
        # The first read of all waits for the cell to be characterised.
        solve(1)
    one, currents = timed(lambda: solve(1))
    if one < SHORTEST_PROBE_SECONDS:
        # The first of all also waits for what later ones find in memory.
        one, currents = min((timed(lambda: solve(1)) for _ in range(2)), key=itemgetter(0))
    if many == 1:
        return Rate(0.0, one, parquet_bytes(currents_table(currents)))
    few, currents = timed(partial(solve, many))
    while few < SHORTEST_PROBE_SECONDS and many < stimulus.vectors and reads > 1:
        many = min(4 * many, stimulus.vectors)
        few, currents = timed(partial(solve, many))
    each = max((few - one) / (many - 1), 0.0)
    return Rate(max(one - each, 0.0), each, parquet_bytes(currents_table(currents)) / many)


def _macro_rate(part: PlacedTile, codes: Codes) -> Rate:
    """Of the reduced model: the time to build it, and that of many reads once it is there."""
    passes = part.chip.encoding.passes(part.layer.input_bits)
    # The first model of all waits for its kernels to be loaded, and for the cell to be characterised.
    list(part.read_reduced(codes[:1]))
    macro_model.cache_clear()
    build, _ = timed(lambda: list(part.read_reduced(codes[:1])))
    vectors = max(MACRO_READS // passes, 1)
    some = np.resize(codes, (vectors, codes.shape[1]))
    seconds, _ = timed(lambda: list(part.read_reduced(some)))
    return Rate(build, seconds / (vectors * passes))


def parquet_bytes(table: pa.Table) -> int:
    """What a unit of work is kept in, its line of checksum included."""
    return len(parquet(table)) + 140
