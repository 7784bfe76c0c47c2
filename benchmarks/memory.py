"""Peak memory of a macro run: a process of its own builds the model and evaluates a batch.

`python -m benchmarks.memory WORDLINES BITLINES ENCODING BATCH` prints the process's peak in GiB.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.cases import Case
from benchmarks.measure import Measured, spread

ROOT = Path(__file__).resolve().parents[1]


def peak(case: Case, batch: int, repeats: int) -> Measured:
    """GiB at the highest, imports and the building of the model with it."""
    words = [str(case.wordlines), str(case.bitlines), case.encoding, str(batch)]
    found = []
    for _ in range(repeats):
        ended = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory", *words], cwd=ROOT, capture_output=True, text=True, check=True
        )
        found.append(float(ended.stdout))
    return spread(found, f"{case.name}, whole process, imports and the building of the model with it")


def main(wordlines: str, bitlines: str, encoding: str, batch: str) -> None:
    """What the process of its own does."""
    case = Case(int(wordlines), int(bitlines), encoding)
    case.lines(case.drives(case.stimulus(int(batch))))
    # Linux counts kibibytes.
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


if __name__ == "__main__":
    main(*sys.argv[1:])
