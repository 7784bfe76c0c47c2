"""`python -m benchmarks.vacask`: VACASK, ngspice and nodal on the same tiles, with a time limit for each solve.

It writes `benchmarks/vacask.json`, from which the page of `python -m benchmarks` has a section, and ends with 1 if two
of them differ by more than 1e-8 of full scale, or if VACASK does not finish. ngspice has VACASK's tolerances here: with
its usual ones it is the outlier on wires of ten times the resistance.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import numpy as np

from benchmarks.accuracy import by_nodal
from benchmarks.cases import ENCODINGS, Case
from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.errors import SolveTimeoutError
from norsim.files import write_text
from norsim.jobs.machine import processor
from norsim.spice.deck import OPTIONS, deck
from norsim.spice.elements import ammeters
from norsim.spice.simulators import ngspice, vacask
from norsim.spice.simulators.running import LARGEST_BYTES, discard, own_folder
from norsim.spice.single_cells import CLOSE

RESULTS = Path(__file__).with_name("vacask.json")
SIZES, RESISTANCES, READS = ((64, 32), (128, 64), (256, 128)), (1.0, 10.0), 2
BOUND, LIMIT_SECONDS = 1e-8, 600.0


@dataclass(frozen=True)
class Row:
    """One tile: processor seconds of `reads` reads together with the start, None for a simulator that passed the limit
    or was not run, and the largest differences in units of full scale."""

    tile: str
    reads: int
    vacask_seconds: float | None
    vacask_to_nodal: float | None
    ngspice_run: bool = False
    ngspice_seconds: float | None = None
    ngspice_to_nodal: float | None = None
    vacask_to_ngspice: float | None = None

    @property
    def met(self) -> bool:
        """Whether VACASK finished, and all that finished agree."""
        found = (self.vacask_to_nodal, self.ngspice_to_nodal, self.vacask_to_ngspice)
        return self.vacask_seconds is not None and all(one is None or one <= BOUND for one in found)


def ngspice_read(tile: Tile, stimulus: Stimulus, seconds: float) -> Currents:
    """Read a tile by ngspice with VACASK's tolerances."""
    with own_folder() as folder:
        (folder / "tile.cir").write_text(deck(tile, stimulus).replace(OPTIONS, CLOSE, 1))
        most = LARGEST_BYTES + 16 * stimulus.vectors * len(ammeters(tile))
        ngspice.run_deck(tile.cell, folder, seconds, most)
        return ngspice.collect(tile, stimulus, folder)


def timed(case: Case, stimulus: Stimulus, limit: float, read: Callable[..., Currents]) -> tuple[Floats | None, float]:
    """Return the outputs `[vectors, outputs]` by a simulator, None if it passes the limit, and its processor seconds,
    which other work on the machine changes little."""
    before = getrusage(RUSAGE_CHILDREN)
    try:
        currents = read(case.tile, stimulus, limit)
    except SolveTimeoutError as problem:
        discard(problem)
        return None, limit
    after = getrusage(RUSAGE_CHILDREN)
    return case.outputs(currents), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def apart(left: Floats | None, right: Floats | None) -> float | None:
    """Return the largest difference of outputs `[vectors, outputs]`; None if one of them is not there."""
    return None if left is None or right is None else float(np.abs(left - right).max())


def by_vacask(case: Case, reads: int, limit: float) -> tuple[Row, Floats | None, Floats]:
    """Solve reads of a case by VACASK and nodal; return the outputs `[vectors, outputs]` of both too."""
    stimulus = case.stimulus(reads)
    exact = by_nodal(case, stimulus)
    found, seconds = timed(case, stimulus, limit, vacask.read)
    return Row(case.name, reads, None if found is None else seconds, apart(found, exact)), found, exact


def with_ngspice(case: Case, row: Row, found: Floats | None, exact: Floats, limit: float) -> Row:
    """Return a row with what ngspice adds, compared with VACASK's and nodal's outputs `[vectors, outputs]`."""
    other, seconds = timed(case, case.stimulus(row.reads), limit, ngspice_read)
    return replace(
        row, ngspice_run=True, ngspice_seconds=None if other is None else seconds,
        ngspice_to_nodal=apart(other, exact), vacask_to_ngspice=apart(found, other),
    )  # fmt: skip


def run(sizes: Sequence[tuple[int, int]], reads: int, limit: float, out: Path) -> list[Row]:
    """Measure all cases, first by VACASK, then by ngspice, the slower; write the results after each, so that an
    interrupted run has those before."""
    cases = [Case(*size, kind, ohms) for size in sizes for kind in ENCODINGS for ohms in RESISTANCES]
    rows: list[Row] = []
    solved: list[tuple[Floats | None, Floats]] = []

    def keep(row: Row) -> None:
        print(f"{time.strftime('%H:%M:%S')} {row}", file=sys.stderr, flush=True)
        kept = {
            "machine": processor(), "date": time.strftime("%Y-%m-%d"), "vacask": vacask.identity(),
            "ngspice": ngspice.identity(), "limit_seconds": limit, "rows": [asdict(row) for row in rows],
        }  # fmt: skip
        write_text(out, json.dumps(kept, indent=1) + "\n")

    for case in cases:
        row, found, exact = by_vacask(case, reads, limit)
        rows.append(row)
        solved.append((found, exact))
        keep(row)
    for place, case in enumerate(cases):
        rows[place] = with_ngspice(case, rows[place], *solved[place], limit)
        keep(rows[place])
    return rows


def main() -> int:
    """Run the benchmark; return 0 if all agree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vacask", description="VACASK, ngspice and nodal.")
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="seconds for each solve of a simulator")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of the results")
    given = parser.parse_args()
    apart = [row.tile for row in run(SIZES, READS, given.limit, given.out) if not row.met]
    for name in apart:
        print(f"not met: {name}", file=sys.stderr)
    return 1 if apart else 0


if __name__ == "__main__":
    sys.exit(main())
