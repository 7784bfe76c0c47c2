"""Seconds per vector: nodal against ngspice, macro against a matrix product, and the growth of both."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numba
import numpy as np
import torch

from benchmarks.cases import Case
from benchmarks.measure import Measured, in_turns, seconds, slope, spread
from norsim.errors import SolveError
from norsim.solver import nodal
from norsim.spice.simulators import ngspice

LEAST_SECONDS = 0.2


def nodal_against_ngspice(case: Case, few: int, many: int, batch: int, repeats: int) -> Measured:
    """Measure the speed of nodal over ngspice, per vector; the note states the excluded times.

    ngspice's time per vector is the difference in time between `many` and `few` points of a sweep, per point, so that
    reading the deck and the first operating point do not count. nodal's is its time for `batch` vectors over `batch`.
    """
    start = time.perf_counter()
    prepared = case.prepared()
    characterised = time.perf_counter() - start
    stimulus = case.stimulus(batch)
    first = seconds(lambda: nodal.solve(prepared, stimulus.take(slice(0, 32))))
    points = [case.stimulus(many).take(slice(0, count)) for count in (few, many)]
    ratios, starts, vectors, ours = [], [], [], []
    for _ in range(repeats):
        nodal_seconds = seconds(lambda: nodal.solve(prepared, stimulus)) / batch
        short, long = (seconds(partial(ngspice.read, case.tile, part)) for part in points)
        vector = (long - short) / (many - few)
        ratios.append(vector / nodal_seconds)
        starts.append(short - few * vector)
        vectors.append(vector)
        ours.append(nodal_seconds)
    note = (
        f"ngspice {_text(np.median(vectors))} per vector on one core ({many} against {few} points of a sweep, without "
        f"its start of {_text(np.median(starts))}), nodal {_text(np.median(ours))}, {numba.get_num_threads()} threads, "
        f"batch {batch}. Not included for nodal, once: {_text(characterised)} to program, characterise (or load from "
        f"the cache) and factor, {_text(first)} for the first call, which compiles or loads the kernels"
    )
    return spread(ratios, note)


def macro_against_matmul(case: Case, batch: int, repeats: int) -> Measured:
    """Measure macro's time over that of a float32 matrix product of the same shape."""
    model, codes, top = case.model(), case.drives(case.stimulus(batch)), case.chip.encoding.top_drive
    x, matrix = torch.from_numpy(codes).float(), torch.rand(codes.shape[1], model.summed)
    with torch.inference_mode():
        pairs = in_turns(lambda: model.lines(codes, top=top), lambda: x @ matrix, repeats, LEAST_SECONDS)
    ours, plain = np.median(pairs, axis=0)
    note = (
        f"macro {_text(ours)}, matmul {_text(plain)}, batch {batch}, {x.shape[1]} inputs, {model.summed} lines, "
        f"{torch.get_num_threads()} threads; {model.model.blocks} blocks, {model.model.rounds} rounds, "
        f"{len(model.modes)} modes"
    )
    return spread([macro / matmul for macro, matmul in pairs], note)


@dataclass(frozen=True)
class Point:
    """Seconds per vector of both solvers at one size; `problem` is why there are none."""

    case: Case
    batch: int
    macro: float
    nodal: float
    problem: str = ""


def point(case: Case, batch: int, nodal_vectors: int, repeats: int) -> Point:
    """Measure medians over `repeats`; nodal gets `nodal_vectors` vectors, or is not measured if these are 0."""
    try:
        model, codes, top = case.model(), case.drives(case.stimulus(batch)), case.chip.encoding.top_drive
        model.lines(codes, top=top)
        ours = np.median([seconds(lambda: model.lines(codes, top=top), LEAST_SECONDS) for _ in range(repeats)]) / batch
        return Point(case, batch, float(ours), _nodal_seconds(case, nodal_vectors))
    except SolveError as problem:
        return Point(case, batch, np.nan, np.nan, str(problem))


def _nodal_seconds(case: Case, vectors: int) -> float:
    if not vectors:
        return np.nan
    prepared, stimulus = case.prepared(), case.stimulus(vectors)
    return seconds(lambda: nodal.solve(prepared, stimulus)) / vectors


def growth(points: Sequence[Point]) -> Measured:
    """Fit the exponent of macro's time over rows; its range is over the steps from one size to the next."""
    if any(np.isnan(found.macro) for found in points):
        refused = [str(found.case.wordlines) for found in points if np.isnan(found.macro)]
        return Measured(np.nan, np.nan, np.nan, f"macro fails with {' and '.join(refused)} rows, so there is no fit")
    rows, times = [found.case.wordlines for found in points], [found.macro for found in points]
    steps = [slope(rows[k : k + 2], times[k : k + 2]) for k in range(len(rows) - 1)]
    note = f"fit over {rows[0]} to {rows[-1]} rows; the range is over the steps between neighbouring sizes"
    return replace(spread(steps, note), value=slope(rows, times))


def _text(value: float) -> str:
    """Format seconds with a suitable unit."""
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e6:.3g} us"
