"""What a tile takes to be programmed, modelled, fitted and read, measured once for each size of tile, backend and kind
of read."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from numba import get_num_threads

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.backend import Backend
from norsim.errors import SolveError, SolveTimeoutError
from norsim.evaluation.proof.sampling import Quota, Sampler
from norsim.jobs.unit_store import currents_table, parquet
from norsim.jobs.workers import Threads
from norsim.periphery.code_vectors import CodeVectors
from norsim.periphery.encoding import Codes, runs
from norsim.spice.simulators.running import discard
from norsim.tiling.calibrate import CALIBRATION_VECTORS, fit_layer
from norsim.tiling.grid import TileGrid
from norsim.tiling.program import ProgrammedTile, program_tile
from norsim.tiling.read_noise import ReadNoise
from norsim.tiling.reader import Reader
from norsim.tiling.tile import PlacedTile

# Number of reads made to measure a rate.
MODEL_READS = 4096
# A probe that takes longer than the first is stopped, and the estimate is a lower bound. A probe shorter than the
# second is inaccurate, and is repeated with more reads.
LONGEST_PROBE_SECONDS = 120.0
SHORTEST_PROBE_SECONDS = 0.5
# Number of times that work of milliseconds is repeated.
SHORT_PROBES = 3
# Vectors on which the different drives of a read are counted.
FEW_VECTORS = 64
# Largest ratio of the numbers of cells of two tiles, one of whose rates stands for that of the other.
SIMILAR = 4.0


@dataclass(frozen=True)
class Rate:
    """The cost of one size of tile.

    `start`     seconds before the first read
    `read`      seconds per read
    `call`      seconds of reading the tile once for many vectors, besides those of its reads
    `program`   seconds to program the tile
    `fit`       seconds to fit its converters, with the reads of that
    `once`      seconds that only the first of all these takes: it characterises the cell, and loads kernels
    `bytes`     size of a stored read
    `at_least`  whether the seconds are only a lower bound
    `kept_bytes`  memory that the tile and its model take until the end of the run
    `scaled`    whether it is that of another size of tile, in proportion to the cells
    """

    start: float
    read: float
    bytes: float = 0.0
    at_least: bool = False
    kept_bytes: int = 0
    scaled: bool = False
    call: float = 0.0
    program: float = 0.0
    fit: float = 0.0
    once: float = 0.0


def near(
    rates: Mapping[tuple[str, bool, tuple[int, ...]], Rate], backend: Backend, alone: bool, shape: tuple[int, ...]
) -> Rate | None:
    """Return the rate of single reads by a simulator for tiles of `shape` (wordlines, bitlines), from a measured one of
    at most SIMILAR times as many or as few cells, in proportion; None if there is none.

    `rates` are those measured so far, by backend, whether reads are `alone`, and shape. A network has tiles of many
    sizes, and a simulator takes seconds for one read.
    """
    if backend.simulator is None or not alone:
        return None
    measured = {
        own: math.prod(shape) / math.prod(own)
        for (name, kind, own), rate in rates.items()
        if (name, kind) == (backend.name, alone) and not rate.scaled
    }
    own = min(measured, key=lambda one: abs(math.log(measured[one])), default=None)
    if own is None or not 1 / SIMILAR <= measured[own] <= SIMILAR:
        return None
    known, ratio = rates[backend.name, alone, own], measured[own]
    return Rate(ratio * known.start, ratio * known.read, ratio * known.bytes, known.at_least,
                round(ratio * known.kept_bytes), scaled=True)  # fmt: skip


def measured(part: PlacedTile, codes: Codes, backend: Backend, jobs: int, alone: bool) -> Rate:
    """Measure the rate of reading a tile, with activations like `codes` `[vectors, inputs]`; `alone`: one read at a
    time."""
    first, _ = timed(lambda: program_tile(part))
    program, array = timed(lambda: program_tile(part))
    if backend.by_model:
        found = _model_rate(part, array, codes, backend)
    else:
        try:
            found = _rate(array, part.codes(codes), backend, jobs, 1 if alone else backend.reads_to_probe)
        except SolveTimeoutError:
            found = Rate(0.0, LONGEST_PROBE_SECONDS, at_least=True)
    once = found.once + max(first - program, 0.0)
    return replace(found, program=program, once=once, kept_bytes=kept_bytes(array, backend))


def kept_bytes(array: ProgrammedTile, backend: Backend) -> int:
    """Return the bytes of the arrays of a programmed tile and, if `backend` has one, of its model."""
    cells = (array.tile.thresholds, array.tile.gains, array.read_sigma)
    kept = sum(values.nbytes for values in cells if values is not None)
    if backend.by_model:
        from norsim.solver.macro.stored import arrays_of

        kept += sum(values.nbytes for values in arrays_of(backend.model(*array.request())).values())
    return kept


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the duration of a call in seconds, and its result."""
    started = time.perf_counter()
    found = call()
    return time.perf_counter() - started, found


def _rate(array: ProgrammedTile, codes: Codes, backend: Backend, jobs: int, reads: int) -> Rate:
    """Measure a solver that makes reads one after the other: one read, then `reads`; `codes` are `[vectors, inputs]`.

    As many decks of a simulator run at a time as in the real run, so the rate includes their mutual slowdown.
    """
    stimulus, _ = array.drive(codes).distinct()
    many = min(stimulus.vectors, reads)

    def solve(reads: int) -> Currents:
        some = stimulus.take(slice(0, reads))
        if not backend.own_process:
            return backend.read(array.tile, some)
        return _probed(backend, array.tile, some, jobs)

    first = 0.0
    if backend.simulator is None:
        # The very first read includes the characterisation of the cell.
        first, _ = timed(lambda: solve(1))
    one, currents = timed(lambda: solve(1))
    if one < SHORTEST_PROBE_SECONDS:
        # The very first read also fills caches that later ones use.
        one, currents = min((timed(lambda: solve(1)) for _ in range(2)), key=itemgetter(0))
    once = max(first - one, 0.0)
    if many == 1:
        return Rate(0.0, one, parquet_bytes(currents_table(currents)), once=once)
    few, currents = timed(partial(solve, many))
    while few < SHORTEST_PROBE_SECONDS and many < stimulus.vectors and reads > 1:
        many = min(4 * many, stimulus.vectors)
        few, currents = timed(partial(solve, many))
    each = max((few - one) / (many - 1), 0.0)
    return Rate(max(one - each, 0.0), each, parquet_bytes(currents_table(currents)) / many, once=once)


def _probed(backend: Backend, tile: Tile, stimulus: Stimulus, jobs: int) -> Currents:
    """Make the same read `jobs` times at the same time.

    Raises the first error, and keeps no folder of the others, or of a time-out, which is only a lower bound.
    """
    with Threads(jobs).executor() as pool:
        probes = [pool.submit(backend.solve_within, tile, stimulus, LONGEST_PROBE_SECONDS) for _ in range(jobs)]
        problems = [problem for probe in probes if (problem := probe.exception()) is not None]
    for place, problem in enumerate(problems):
        if isinstance(problem, SolveTimeoutError) or (place and isinstance(problem, SolveError)):
            discard(problem)
    if problems:
        raise problems[0]
    return probes[0].result()


def _model_rate(part: PlacedTile, array: ProgrammedTile, codes: Codes, backend: Backend) -> Rate:
    """Measure a backend with models as a run uses it: the time to build one, to fit the converters of its tile, and to
    read it for few vectors and for many, whose sums are added and of which some reads are kept."""
    layer, passes = part.layer, part.chip.encoding.passes(part.layer.input_bits)
    reader, quota = Reader(backend, noise=ReadNoise(0)), Quota()

    def read(vectors: int) -> float:
        """Return the seconds of reading the tile for that many vectors."""
        some = CodeVectors.of_rows(np.resize(codes, (vectors, codes.shape[1])))
        sums = np.zeros((layer.outputs, vectors))

        def whole() -> None:
            sampler = Sampler(quota, 0)
            for own, found in reader.sum_by_model(part, array, some, sums):
                sampler.observe(part, array, own, found)

        return timed(whole)[0]

    build, once = backend.times_to_build(*array.request())
    vectors = max(MODEL_READS // passes, 2)
    # The very first read includes loading its kernels. The least of several times, because other work only adds to it.
    first = read(1)
    one, many = (min(read(count) for _ in range(SHORT_PROBES)) for count in (1, vectors))
    each = max((many - one) / (vectors - 1), 0.0)
    fit, first_fit = times_to_fit(part, array, np.resize(codes, (CALIBRATION_VECTORS, codes.shape[1])), backend)
    once += max(first - one, 0.0) + first_fit
    return Rate(build, each / passes, call=max(one - each, 0.0), fit=fit, once=once)


def times_to_fit(part: PlacedTile, array: ProgrammedTile, codes: Codes, backend: Backend) -> tuple[float, float]:
    """Return the seconds to fit the converters of each of many tiles like this one to `[vectors, inputs]` codes, in
    threads, and those that the first takes besides."""
    grid, times = TileGrid(part.layer, part.chip, (part,), (array,)), []
    for _ in range(1 + SHORT_PROBES):
        seconds, _ = timed(lambda: fit_layer(grid, codes, Reader(backend), 0))
        times.append(seconds)
    least = min(times[1:])
    return least / get_num_threads(), max(times[0] - least, 0.0)


def parquet_bytes(table: pa.Table) -> int:
    """Return the size of a stored unit of work in bytes, including its checksum line."""
    return len(parquet(table)) + 140


def models_to_build(part: PlacedTile, backend: Backend, chips: float) -> float:
    """Return how many of the models of a tile, one for each of as many chips, are not kept on disk.

    Only those of the first two chips are looked up: if the second is not kept, no later one counts as kept.
    """

    def is_kept(one: PlacedTile) -> bool:
        return backend.is_stored(*program_tile(one).request())

    if not is_kept(part):
        return chips
    draw = part.chip.draw
    following = replace(part, chip=replace(part.chip, draw=replace(draw, chip=draw.chip + 1)))
    return 0.0 if chips <= 1 or is_kept(following) else chips - 1


def drives_per_read(part: PlacedTile, codes: Codes, backend: Backend) -> float:
    """Return the solves that a read of a tile takes, a mean over the layer's `[vectors, inputs]` codes: one for each
    different drive of its slots. For a model, a read counts as one."""
    if backend.by_model or part.slots == 1:
        return 1.0
    some, encoding = part.codes(codes[:FEW_VECTORS]), part.encoding
    count = encoding.passes(part.layer.input_bits) * part.slots
    different, _, first = runs(encoding.shares(encoding.drives(some), count), part.slots)
    return len(different) / len(first)
