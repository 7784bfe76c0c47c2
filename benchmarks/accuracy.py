"""Each rung against the one above: nodal against ngspice, macro against nodal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.cases import Case
from norsim.array.tile import Currents, Floats, Stimulus
from norsim.backends.batch import read_all
from norsim.backends.simulators.ngspice import Ngspice
from norsim.backends.simulators.vacask import Vacask
from norsim.errors import SimulatorError, SolveError
from norsim.jobs.workers import Threads
from norsim.solver import nodal
from norsim.spice.simulators.ngspice import drain_amps
from norsim.spice.simulators.vacask import identity


@dataclass(frozen=True)
class Deviation:
    """Largest and rms deviation of a case's outputs over `vectors`, relative to full scale.

    `problem` is why they are NaN.
    """

    case: Case
    vectors: int
    largest: float
    rms: float
    problem: str = ""


def by_nodal(case: Case, stimulus: Stimulus) -> Floats:
    """Return `[vectors, outputs]`, relative to full scale, by nodal; NaN for reads that did not converge."""
    currents = nodal.solve(case.prepared(), stimulus)
    return np.where(currents.converged[:, None], case.outputs(currents), np.nan)


def by_macro(case: Case, stimulus: Stimulus) -> Floats:
    """Return `[vectors, outputs]`, relative to full scale, by macro."""
    return case.outputs(case.of_lines(case.lines(case.drives(stimulus))))


def deviation(case: Case, vectors: int, one: Callable[[], Floats], other: Callable[[], Floats]) -> Deviation:
    """Measure how far `one` is from `other`. A solver's error is a result as well, and meets no bound."""
    try:
        difference = one() - other()
    except SolveError as problem:
        return Deviation(case, vectors, np.nan, np.nan, str(problem))
    return Deviation(case, vectors, float(np.abs(difference).max()), float(np.sqrt(np.mean(difference**2))))


def nodal_against_ngspice(wanted: Sequence[tuple[Case, int]], jobs: int) -> list[Deviation]:
    """Compare the given number of reads of each case, with `jobs` ngspice runs at a time, since nothing is timed."""
    cases = [case for case, _ in wanted]
    stimuli = [case.stimulus(reads) for case, reads in wanted]
    requests = [(case.tile, stimulus) for case, stimulus in zip(cases, stimuli, strict=True)]
    trusted = read_all(requests, Ngspice(), Threads(jobs))
    outputs = [case.outputs(exact) for case, exact in zip(cases, trusted, strict=True)]
    return [
        deviation(case, stimulus.vectors, partial(by_nodal, case, stimulus), partial(np.asarray, exact))
        for case, stimulus, exact in zip(cases, stimuli, outputs, strict=True)
    ]


def has_vacask() -> bool:
    """Return whether VACASK is installed."""
    try:
        identity()
    except SimulatorError:
        return False
    return True


def large_tile_witness() -> str:
    """Return what solves tiles that are too large for ngspice's sparse solver."""
    return "VACASK" if has_vacask() else "ngspice, cell by cell"


def nodal_on_large_tile(case: Case) -> Deviation:
    """Check a tile without straps that is too large for ngspice's sparse solver: three reads by VACASK, if it is
    installed, else one cell by cell."""
    if not has_vacask():
        return nodal_cell_by_cell(case)
    stimulus = case.stimulus(3)
    return deviation(
        case, stimulus.vectors, partial(by_nodal, case, stimulus),
        lambda: case.outputs(Vacask().read(case.tile, stimulus)),
    )  # fmt: skip


def nodal_cell_by_cell(case: Case) -> Deviation:
    """Check one random read of a tile without straps, for tiles too large for ngspice's sparse solver.

    ngspice solves the current of every single cell at the volts found by nodal. From these currents, Kirchhoff's
    current law along the wires determines new volts, at which ngspice solves the currents again. The deviation is that
    of nodal's outputs from the sums of the second currents.
    """
    prepared, stimulus = case.prepared(), case.stimulus(3).take(slice(2, 3))
    tile, wires = case.tile, case.tile.wires
    if wires.strap_every is not None or wires.rows_per_source_line != 1:
        raise SolveError(f"{case.name}: cell by cell needs one source line per row, sensed at its end")
    gates = np.searchsorted(prepared.table.gates, stimulus.wordline_volts).T
    shape = (*tile.thresholds.shape, 1)
    _, drop, rise = nodal.relax(prepared, gates, stimulus.bitline_volts.T, np.zeros(shape), np.zeros(shape), "both")
    gate = np.repeat(stimulus.wordline_volts[0], tile.bitlines)
    for _ in range(2):
        drain = (stimulus.bitline_volts - drop[:, :, 0]).ravel()
        amps = drain_amps(tile.cell, gate, drain, rise[:, :, 0].ravel(), tile.thresholds.ravel())
        amps = amps.reshape(tile.thresholds.shape)
        drop = ladder_volts(amps, wires.bitline_ohms, wires.bitline_end_ohms)[:, :, None]
        rise = ladder_volts(amps.T, wires.source_ohms, wires.source_end_ohms).T[:, :, None]
    converged, nothing = np.ones(1, dtype=np.bool_), np.zeros(1)
    witness = case.outputs(Currents(amps.sum(axis=0)[None], amps.sum(axis=1)[None], converged, nothing, "ngspice"))
    return deviation(case, 1, partial(by_nodal, case, stimulus), lambda: witness)


def ladder_volts(amps: Floats, ohms: float, end_ohms: float) -> Floats:
    """Return volts `[places, lines]` between a line's end and each place, where cells draw `amps` `[places, lines]`."""
    beyond = np.cumsum(amps[::-1], axis=0)[::-1]
    return end_ohms * beyond[:1] + ohms * (np.cumsum(beyond, axis=0) - beyond[:1])


def macro_against_nodal(cases: Sequence[Case], vectors: int) -> list[Deviation]:
    """Compare `vectors` reads of every case."""
    stimuli = [case.stimulus(vectors) for case in cases]
    return [
        deviation(case, vectors, partial(by_macro, case, stimulus), partial(by_nodal, case, stimulus))
        for case, stimulus in zip(cases, stimuli, strict=True)
    ]
