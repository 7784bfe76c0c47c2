"""The estimates of `--dry-run`, compared with the actual runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from norsim.backends.backend import Backend
from norsim.chip.load import choose_chip
from norsim.evaluation.dry_run import rates, work
from norsim.experiments.factors import factors_of
from norsim.periphery.encoding import Codes
from norsim.tiling.tile import PlacedTile
from tests.commands.test_resume import EVALUATE, READ

Run = Callable[..., Any]

FAST = (
    "eval-network", "--network", "digits-cnn", "--backend", "macro", "--spice-sample", "3", "--proof-images", "0",
    "--quiet",
)  # fmt: skip

# On a busy machine, a single measurement may be off; benchmarks/runs.py records the ratio.
TRIES = 3
# As many decks as jobs are solved to measure a rate.
ALONE = ("--jobs", 1)


def unit_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".npz")


@pytest.fixture
def short_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure each rate once, on few reads: for tests of what does not depend on them."""
    monkeypatch.setattr(rates, "SHORTEST_PROBE_SECONDS", 0.0)
    monkeypatch.setattr(rates, "MODEL_READS", 64)
    known: dict[object, rates.Rate] = {}

    def measured(part: PlacedTile, codes: Codes, backend: Backend, jobs: int, alone: bool) -> rates.Rate:
        key = part.layer.name, part.cell_codes().shape, len(codes), backend.name, jobs, alone
        if key not in known:
            known[key] = rates.measured(part, codes, backend, jobs, alone)
        return known[key]

    monkeypatch.setattr(work, "measured", measured)


# Seconds are those of an idle machine, which `make test` does not leave idle.
@pytest.mark.soak
@pytest.mark.parametrize(
    "command",
    [EVALUATE, READ, FAST, (*FAST[:-1], "--encoding", "linear-pair"), ("attribute", "--network", "digits-cnn")],
    ids=["ngspice", "run-layer", "macro", "linear-pair", "attribute"],
)
def test_seconds_and_bytes_are_within_a_factor_of_two(norsim: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    words = (*command, "--quiet", "--json", "--no-cache", "--jobs", 2, "--out", tmp_path / "run")
    factors = []
    for _ in range(TRIES):
        estimate = norsim(*words, "--dry-run").json
        assert not (tmp_path / "run").exists() or factors
        run = norsim(*words).json
        factors.append(max(estimate["seconds"] / run["seconds"], run["seconds"] / estimate["seconds"]))
        if factors[-1] < 2:
            break
    assert min(factors) < 2, factors
    assert_bytes(estimate, tmp_path / "run")


def assert_bytes(estimate: dict[str, Any], run: Path) -> None:
    """Compare an estimate with a run without shared work."""
    assert estimate["dry_run"] is True and not estimate["at_least"]
    assert 0.5 < estimate["disk_bytes"] / unit_bytes(run) < 2
    assert 2e8 < estimate["memory_bytes"] < 1e11 and estimate["core_hours"] > 0


@pytest.mark.soak
def test_the_estimate_of_a_training_is_within_a_factor_of_two(norsim: Run, tmp_path: Path) -> None:
    words = ("train", "--network", "digits-cnn", "--recipe", "float_epochs=12", "--recipe", "quantized_epochs=8",
             "--jobs", 1, "--quiet", "--json", "--out", tmp_path / "run")  # fmt: skip
    factors = []
    for _ in range(TRIES):
        estimate = norsim(*words, "--dry-run").json
        assert not (tmp_path / "run").exists() or factors
        started = time.monotonic()
        assert norsim(*words).code == 0
        taken = time.monotonic() - started
        factors.append(max(estimate["seconds"] / taken, taken / estimate["seconds"]))
        if factors[-1] < 2:
            break
    assert min(factors) < 2, factors
    assert_training(estimate, tmp_path / "run")


def assert_training(estimate: dict[str, Any], run: Path) -> None:
    """Compare an estimate with a training."""
    assert estimate["tiles"] == estimate["solves"] == 0 and estimate["core_hours"] > 0
    assert 0.5 < estimate["disk_bytes"] / (run / "checkpoint.pt").stat().st_size < 2


def test_bytes_of_a_training_are_within_a_factor_of_two(norsim: Run, tmp_path: Path) -> None:
    words = ("train", "--network", "digits-cnn", "--recipe", "float_epochs=1", "--recipe", "quantized_epochs=1",
             "--jobs", 1, "--quiet", "--json", "--out", tmp_path / "run")  # fmt: skip
    estimate = norsim(*words, "--dry-run").json
    assert not (tmp_path / "run").exists() and norsim(*words).code == 0
    assert_training(estimate, tmp_path / "run")


@pytest.mark.slow
def test_estimated_counts_are_exact(norsim: Run, tmp_path: Path, short_probes: None) -> None:
    estimate = norsim(*READ, "--no-cache", "--dry-run", *ALONE, "--json").json
    run = norsim(*READ, "--no-cache", "--json", "--out", tmp_path / "read").json
    assert estimate["tiles"] == len(run["tiles"]) and estimate["decks"] == 2 * estimate["tiles"]
    assert_bytes(estimate, tmp_path / "read")
    estimate = norsim(*FAST, "--no-cache", "--dry-run", *ALONE, "--json").json
    run = norsim(*FAST, "--no-cache", "--json", "--out", tmp_path / "run").json
    reads = sum(layer["reads"] for layer in run["layers"])
    assert estimate["tiles"] == sum(layer["tiles"] for layer in run["layers"])
    assert_bytes(estimate, tmp_path / "run")
    # Plus 64 of each tile for the calibration; for the verification 4 of each tile, 4 of each of 3 layers, and 3.
    assert estimate["solves"] == reads + (64 + 4) * estimate["tiles"] + 4 * 3 + 3
    # Every set of causes is needed for the exact Shapley values.
    times = 2 ** len(factors_of("causes", choose_chip("etox65", ()).chip))
    estimate = norsim("attribute", "--network", "digits-cnn", "--dry-run", *ALONE, "--json").json
    assert estimate["solves"] == times * (reads + 64 * estimate["tiles"])


def test_shared_work_takes_twice_the_disk_space(norsim: Run, short_probes: None) -> None:
    one, two = (norsim(*FAST, "--dry-run", *ALONE, "--json", *more).json for more in (["--no-cache"], []))
    assert two["disk_bytes"] == pytest.approx(2 * one["disk_bytes"], rel=0.01)
    text = norsim(*FAST, "--dry-run", *ALONE).out
    assert f"{one['tiles']} tiles, {one['solves']:,} solves" in text and "core-hours" in text and "MiB on disk" in text
    assert norsim(*READ, "--backend", "ideal", "--dry-run", *ALONE, "--json").json["solves"] == 0


def test_a_slow_read_gives_a_lower_bound(norsim: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "LONGEST_PROBE_SECONDS", 0.002)
    estimate = norsim(*READ, "--dry-run", "--json").json
    assert estimate["at_least"] and estimate["seconds"] > 0.002 * estimate["solves"] / 4
    assert "at least" in norsim(*READ, "--dry-run").out
