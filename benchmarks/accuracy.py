"""Each rung against the one above: nodal against ngspice, macro against nodal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.cases import Case
from norsim.backends import read_all
from norsim.errors import SolveError
from norsim.solver import nodal


@dataclass(frozen=True)
class Deviation:
    """Largest and rms deviation of a case's outputs over `vectors`, of full scale; or why there is none."""

    case: Case
    vectors: int
    largest: float
    rms: float
    problem: str = ""


def nodal_against_ngspice(cases: Sequence[Case], vectors: Sequence[int], jobs: int) -> list[Deviation]:
    """`vectors[k]` reads of `cases[k]`, the ngspice runs `jobs` at a time: nothing here is timed."""
    stimuli = [case.stimulus(count) for case, count in zip(cases, vectors, strict=True)]
    requests = [(case.tile, stimulus) for case, stimulus in zip(cases, stimuli, strict=True)]
    exact = read_all(requests, "ngspice", jobs)
    found = []
    for case, stimulus, currents in zip(cases, stimuli, exact, strict=True):
        solve = partial(nodal.solve, stimulus=stimulus)
        found.append(_deviation(case, stimulus.vectors, lambda c=case, s=solve: c.outputs(s(c.prepared())),
                                case.outputs(currents)))
    return found


def macro_against_nodal(cases: Sequence[Case], vectors: int) -> list[Deviation]:
    """Many reads of every case."""
    found = []
    for case in cases:
        stimulus = case.stimulus(vectors)
        try:
            exact = case.outputs(nodal.solve(case.prepared(), stimulus))
        except SolveError as problem:
            found.append(Deviation(case, vectors, np.nan, np.nan, str(problem)))
            continue
        found.append(_deviation(case, vectors, lambda c=case, s=stimulus: _macro(c, s), exact))
    return found
