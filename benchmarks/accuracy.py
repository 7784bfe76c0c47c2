"""Each rung against the one above: nodal against ngspice, macro against nodal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.cases import Case
from norsim.array.tile import Floats, Stimulus
from norsim.backends import read_all
from norsim.errors import SolveError
from norsim.solver import nodal


@dataclass(frozen=True)
class Deviation:
    """Largest and rms deviation of a case's outputs over `vectors`, of full scale; `problem` says why it is NaN."""

    case: Case
    vectors: int
    largest: float
    rms: float
    problem: str = ""


def by_nodal(case: Case, stimulus: Stimulus) -> Floats:
    """`[vectors, outputs]` of full scale, by nodal; not a number where it did not converge."""
    currents = nodal.solve(case.prepared(), stimulus)
    return np.where(currents.converged[:, None], case.outputs(currents), np.nan)


def by_macro(case: Case, stimulus: Stimulus) -> Floats:
    """`[vectors, outputs]` of full scale, by macro."""
    return case.outputs(case.of_lines(case.model().lines(case.drives(stimulus)).double().numpy()))


def deviation(case: Case, vectors: int, one: Callable[[], Floats], other: Callable[[], Floats]) -> Deviation:
    """How far `one` is from `other`. A solver that refuses is a result as well, and meets no bound."""
    try:
        difference = one() - other()
    except SolveError as problem:
        return Deviation(case, vectors, np.nan, np.nan, str(problem))
    return Deviation(case, vectors, float(np.abs(difference).max()), float(np.sqrt(np.mean(difference**2))))


def nodal_against_ngspice(wanted: Sequence[tuple[Case, int]], jobs: int) -> list[Deviation]:
    """So many reads of each case, the ngspice runs `jobs` at a time: nothing here is timed."""
    cases = [case for case, _ in wanted]
    stimuli = [case.stimulus(reads) for case, reads in wanted]
    requests = [(case.tile, stimulus) for case, stimulus in zip(cases, stimuli, strict=True)]
    trusted = read_all(requests, "ngspice", jobs)
    outputs = [case.outputs(exact) for case, exact in zip(cases, trusted, strict=True)]
    return [
        deviation(case, stimulus.vectors, partial(by_nodal, case, stimulus), partial(np.asarray, exact))
        for case, stimulus, exact in zip(cases, stimuli, outputs, strict=True)
    ]


def macro_against_nodal(cases: Sequence[Case], vectors: int) -> list[Deviation]:
    """Many reads of every case."""
    stimuli = [case.stimulus(vectors) for case in cases]
    return [
        deviation(case, vectors, partial(by_macro, case, stimulus), partial(by_nodal, case, stimulus))
        for case, stimulus in zip(cases, stimuli, strict=True)
    ]
