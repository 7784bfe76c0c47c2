"""The plan of a run with its sizes, and the run of everything that the page reports."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from benchmarks import accuracy, memory, resistors, runs, speed
from benchmarks import growth as growth_of
from benchmarks.accuracy import Deviation
from benchmarks.cases import ENCODINGS, Case
from benchmarks.measure import Measured, worst
from benchmarks.speed import Point

THREADS = 2


@dataclass(frozen=True)
class Plan:
    """Sizes as (wordlines, bitlines), and the amount of each measurement.

    `serial_reads`, `pair_reads`: reads that ngspice solves at each of `sizes`, bit-serial and linear-pair; 0 for
    none if its sparse solver takes many minutes. `large_pairs`: wire resistances at which such a tile is solved by
    VACASK instead, or checked cell by cell without it.
    `grown`: the arguments of benchmarks.growth.reads.
    """

    sizes: tuple[tuple[int, int], ...]
    serial_reads: tuple[int, ...]
    pair_reads: tuple[int, ...]
    macro_vectors: int
    raced: tuple[int, int]
    race_points: tuple[int, int]
    race_batch: int
    full: tuple[int, int]
    large_pairs: tuple[float, ...]
    batch: int
    peer_batch: int
    peer_repeats: int
    repeats: int
    memory_repeats: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    batches: tuple[int, ...]
    growth_batch: int
    nodal_vectors: int
    worker_vectors: int
    foretold: tuple[tuple[str, ...], ...]
    grown: tuple[int, tuple[float, ...], tuple[int, ...], tuple[int, int], int]
    grown_images: int


FULL = Plan(
    sizes=((64, 32), (128, 64), (256, 128)), serial_reads=(8, 6, 3), pair_reads=(8, 6, 0), macro_vectors=256,
    raced=(128, 64), race_points=(2, 6), race_batch=1024,
    full=(256, 128), large_pairs=(10.0,), batch=4096, peer_batch=64, peer_repeats=3, repeats=9, memory_repeats=2,
    rows=(64, 128, 256, 512, 1024), columns=(16, 32, 64, 128, 256), batches=(1, 16, 256, 4096),
    growth_batch=512, nodal_vectors=32, worker_vectors=1000, foretold=runs.FORETOLD,
    grown=(4, (0.25, 0.5, 2.0), (1024, 4096, 16384), (256, 128), 5), grown_images=4,
)  # fmt: skip
# The plan of `python -m benchmarks --long`: ngspice on every tile, however long that takes.
LONG = replace(FULL, pair_reads=(8, 6, 2), large_pairs=(1.0, 10.0))
TINY = Plan(
    sizes=((8, 16),), serial_reads=(2,), pair_reads=(2,), macro_vectors=8,
    raced=(8, 16), race_points=(2, 4), race_batch=32,
    full=(8, 16), large_pairs=(1.0,), batch=16, peer_batch=2, peer_repeats=1, repeats=2, memory_repeats=1,
    rows=(4, 8), columns=(8, 16), batches=(1, 4), growth_batch=16, nodal_vectors=0, worker_vectors=8,
    foretold=runs.FORETOLD[:1], grown=(1, (2.0,), (16, 32), (8, 16), 1), grown_images=1,
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """All measurements: by claim, and for the tables below the claims."""

    claims: dict[str, Measured]
    rungs: dict[str, list[Deviation]]
    growth: dict[str, list[Point]]
    seconds: float


def run(plan: Plan) -> Found:
    """Run all measurements; nothing else runs during timings."""
    torch.set_num_threads(THREADS)
    start = time.perf_counter()
    claims: dict[str, Measured] = {}
    rungs = _accuracy(plan)
    for key, prefix in (("nodal", "nodal against ngspice"), ("macro", "macro against nodal")):
        for suffix, resistance in (("", 1.0), ("-x10", 10.0)):
            claims[f"{key}-error{suffix}"] = _worst([d for d in rungs[prefix] if d.case.resistance == resistance])
    witness = accuracy.large_tile_witness()
    _say(f"nodal against {witness}")
    rungs[f"nodal against {witness}"] = [
        accuracy.nodal_on_large_tile(Case(*plan.full, "linear-pair", resistance)) for resistance in plan.large_pairs
    ]
    claims["nodal-cells"] = _worst(rungs[f"nodal against {witness}"])
    _say("nodal against ngspice, speed")
    claims["nodal-speed"] = speed.nodal_against_ngspice(
        Case(*plan.raced, "bit-serial"), *plan.race_points, plan.race_batch, min(plan.repeats, 3)
    )
    for encoding in ENCODINGS:
        _say(f"macro against a matmul and its memory, {encoding}")
        case = Case(*plan.full, encoding)
        claims[f"macro-cost-{encoding}"] = speed.macro_against_matmul(case, plan.batch, plan.repeats)
        claims[f"memory-{encoding}"] = memory.peak(case, plan.batch, plan.memory_repeats)
    claims.update(_peer(plan))
    growth = _growth(plan)
    for encoding in ENCODINGS:
        claims[f"growth-{encoding}"] = speed.growth(growth[f"rows, {encoding}"])
    _say("two workers against one")
    claims["two-workers"] = runs.two_workers_over_one(plan.worker_vectors, min(plan.repeats, 2))
    _say("dry runs")
    claims["dry-run"] = runs.foretold(plan.foretold)
    _say("growth of whole networks")
    claims["read-growth"] = growth_of.reads(*plan.grown)
    claims.update(growth_of.commands(growth_of.NETWORKS, plan.grown_images))
    return Found(claims, rungs, growth, time.perf_counter() - start)


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def _accuracy(plan: Plan) -> dict[str, list[Deviation]]:
    sizes = list(zip(plan.sizes, plan.serial_reads, plan.pair_reads, strict=True))
    cases = [(Case(*size, encoding, resistance), reads) for size, *both in sizes
             for encoding, reads in zip(ENCODINGS, both, strict=True) for resistance in (1.0, 10.0)]  # fmt: skip
    solved = [(case, reads) for case, reads in cases if reads]
    _say("nodal against ngspice")
    below = accuracy.nodal_against_ngspice(solved, THREADS)
    _say("macro against nodal")
    return {
        "nodal against ngspice": below,
        "macro against nodal": accuracy.macro_against_nodal([case for case, _ in cases], plan.macro_vectors),
    }


def _worst(deviations: Sequence[Deviation]) -> Measured:
    problems = [d.problem for d in deviations if d.problem]
    if problems:
        return Measured(float("nan"), float("nan"), float("nan"), f"failed: {problems[0]}")
    largest = max(deviations, key=lambda d: d.largest)
    return worst([d.largest for d in deviations], f"worst is {largest.case.name}; range over tiles and encodings")


def _peer(plan: Plan) -> dict[str, Measured]:
    _say("badcrossbar")
    with resistors.badcrossbar() as module:
        ohms = Case(*plan.full, "linear-pair").chip.wires.bitline_ohms
        of = resistors.network(*plan.full, ohms)
        return resistors.against(module, of, plan.peer_batch, plan.batch, plan.peer_repeats)


def _growth(plan: Plan) -> dict[str, list[Point]]:
    rows, columns = plan.full
    found: dict[str, list[Point]] = {}
    for encoding in ENCODINGS:
        _say(f"growth, {encoding}")
        usual = (plan.growth_batch, plan.nodal_vectors, min(plan.repeats, 3))
        found[f"rows, {encoding}"] = [speed.point(Case(n, columns, encoding), *usual) for n in plan.rows]
        found[f"columns, {encoding}"] = [speed.point(Case(rows, n, encoding), *usual) for n in plan.columns]
        found[f"batch, {encoding}"] = [
            speed.point(Case(rows, columns, encoding), n, min(n, 2 * plan.nodal_vectors), usual[2])
            for n in plan.batches
        ]
    return found
