"""Peak memory of a macro run: a separate process builds the model and evaluates a batch.

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
    """Measure the peak memory in GiB, including imports and building the model."""
    words = [str(case.wordlines), str(case.bitlines), case.encoding, str(batch)]
    found = []
    for _ in range(repeats):
        ended = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory", *words], cwd=ROOT, capture_output=True, text=True, check=True
        )
        found.append(float(ended.stdout))
    return spread(found, f"{case.name}, whole process, including imports and building the model")


def main(wordlines: str, bitlines: str, encoding: str, batch: str) -> None:
    """Do the work of the separate process."""
    case = Case(int(wordlines), int(bitlines), encoding)
    case.lines(case.drives(case.stimulus(int(batch))))
    # Linux reports kibibytes.
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


if __name__ == "__main__":
    main(*sys.argv[1:])
