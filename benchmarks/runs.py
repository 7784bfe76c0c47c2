"""Two workers of a Dask cluster against one, and the prediction of `--dry-run` against the run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distributed import LocalCluster

from benchmarks.measure import Measured, seconds, spread, worst

# A layer of four equal tiles, each solved by ngspice for a number of vectors.
LAYER = ("run-layer", "--network", "digits-cnn", "--layer", "conv2", "--set", "tile.wordlines=18", "--vectors")
FORETOLD = (
    ("eval-network", "--network", "digits-cnn"),
    ("eval-network", "--network", "digits-cnn", "--encoding", "linear-pair"),
    ("eval-network", "--network", "digits-cnn", "--images", "4", "--backend", "ngspice", "--set", "tile.wordlines=32"),
    ("eval-network", "--network", "digits-cnn", "--images", "50", "--backend", "nodal"),
    (*LAYER, "16"),
    ("attribute", "--network", "digits-cnn", "--encoding", "linear-pair"),
)


def two_workers_over_one(vectors: int, repeats: int) -> Measured:
    """Measure the whole command's time with two workers over that with one, in processes with one thread each."""
    ratios, times = [], []
    for _ in range(repeats):
        one, two = (_by_workers(count, vectors) for count in (1, 2))
        ratios.append(two / one)
        times.append(f"{one:.0f} and {two:.0f}")
    return spread(ratios, f"`norsim {' '.join(LAYER)} {vectors}` from start to end, seconds {'; '.join(times)}")


def _by_workers(count: int, vectors: int) -> float:
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
    ):
        words = [*LAYER, str(vectors), "--scheduler", cluster.scheduler_address]
        # A first run, in which the workers import their modules.
        norsim(Path(folder), [*LAYER, "1", *words[-2:]])
        return seconds(lambda: norsim(Path(folder), words))


def foretold(commands: Sequence[tuple[str, ...]]) -> Measured:
    """Measure the worst factor between the seconds that `--dry-run` predicts and those that the run takes."""
    factors, notes = [], []
    for words in commands:
        with tempfile.TemporaryDirectory() as folder:
            before = norsim(Path(folder), [*words, "--dry-run"])["seconds"]
            after = norsim(Path(folder), list(words))["seconds"]
        factors.append(max(before / after, after / before))
        notes.append(f"`{' '.join(words)}` {before:.1f} s predicted, {after:.1f} s taken")
    return worst(factors, "; ".join(notes))


def norsim(folder: Path, words: list[str]) -> dict[str, Any]:
    """Run a command in a separate process; return its JSON output."""
    program = "from norsim.commands import main; main()"
    common = ["--no-cache", "--overwrite", "--quiet", "--json", "--out", str(folder / "run")]
    ended = subprocess.run([sys.executable, "-c", program, *words, *common], stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found
