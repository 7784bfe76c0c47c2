"""What `--dry-run` says, against what the run then does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from norsim.evaluation import rates
from norsim.experiments.factors import FACTORS
from tests.commands.test_resume import EVALUATE, FAST, READ

Run = Callable[..., Any]

# On a machine that does other things as well, one measurement may be spoilt by them; benchmarks/runs.py has the ratio.
TRIES = 3


def unit_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".npz")


@pytest.mark.parametrize(
    "command",
    [EVALUATE, READ, FAST, (*FAST[:-1], "--encoding", "linear-pair"), ("attribute", "--network", "digits-cnn")],
    ids=["ngspice", "run-layer", "macro", "linear-pair", "attribute"],
)
def test_seconds_and_bytes_are_within_a_factor_of_two(norsim: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    words = (*command, "--quiet", "--json", "--no-cache", "--jobs", 2, "--out", tmp_path / "run")
    factors = []
    for _ in range(TRIES):
        said = norsim(*words, "--dry-run").json
        assert not (tmp_path / "run").exists() or factors
        run = norsim(*words).json
        factors.append(max(said["seconds"] / run["seconds"], run["seconds"] / said["seconds"]))
        if factors[-1] < 2:
            break
    assert min(factors) < 2, factors
    assert said["dry_run"] is True and not said["at_least"]
    assert 0.5 < said["disk_bytes"] / unit_bytes(tmp_path / "run") < 2
    assert 2e8 < said["memory_bytes"] < 1e11 and said["core_hours"] > 0


def test_a_training_is_foretold_within_a_factor_of_two(norsim: Run, tmp_path: Path) -> None:
    words = ("train", "--network", "digits-cnn", "--recipe", "float_epochs=12", "--recipe", "quantized_epochs=8",
             "--jobs", 1, "--quiet", "--json", "--out", tmp_path / "run")  # fmt: skip
    factors = []
    for _ in range(TRIES):
        said = norsim(*words, "--dry-run").json
        assert not (tmp_path / "run").exists() or factors
        started = time.monotonic()
        assert norsim(*words).code == 0
        taken = time.monotonic() - started
        factors.append(max(said["seconds"] / taken, taken / said["seconds"]))
        if factors[-1] < 2:
            break
    assert min(factors) < 2, factors
    assert said["tiles"] == said["solves"] == 0 and said["core_hours"] > 0
    assert 0.5 < said["disk_bytes"] / (tmp_path / "run" / "checkpoint.pt").stat().st_size < 2


def test_what_is_counted_is_what_is_done(norsim: Run, tmp_path: Path) -> None:
    said = norsim(*READ, "--dry-run", "--json").json
    run = norsim(*READ, "--json", "--out", tmp_path / "run").json
    assert said["tiles"] == len(run["tiles"]) and said["decks"] == 2 * said["tiles"]
    said = norsim(*FAST, "--dry-run", "--json").json
    run = norsim(*FAST, "--json", "--out", tmp_path / "run").json
    reads = sum(layer["reads"] for layer in run["layers"])
    assert said["tiles"] == sum(layer["tiles"] for layer in run["layers"])
    # And 64 of each tile for the fit, 3 for the proof.
    assert said["solves"] == reads + 64 * said["tiles"] + 3
    times = 2 * len(FACTORS["causes"]) + 2
    said = norsim("attribute", "--network", "digits-cnn", "--dry-run", "--json").json
    assert said["solves"] == times * (reads + 64 * said["tiles"])


def test_shared_work_takes_twice_the_disk_and_words_say_it(norsim: Run) -> None:
    one, two = (norsim(*FAST, "--dry-run", "--json", *more).json for more in (["--no-cache"], []))
    assert two["disk_bytes"] == pytest.approx(2 * one["disk_bytes"], rel=0.01)
    text = norsim(*FAST, "--dry-run").out
    assert f"{one['tiles']} tiles, {one['solves']:,} solves" in text and "core-hours" in text and "MiB on disk" in text
    assert norsim(*READ, "--backend", "ideal", "--dry-run", "--json").json["solves"] == 0


def test_a_read_that_nobody_waits_for_gives_a_lower_bound(norsim: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "LONGEST_PROBE_SECONDS", 0.002)
    said = norsim(*READ, "--dry-run", "--json").json
    assert said["at_least"] and said["seconds"] > 0.002 * said["solves"] / 4
    assert "at least" in norsim(*READ, "--dry-run").out
