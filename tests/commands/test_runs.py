"""`norsim runs`: finished, interrupted and damaged runs, and removed files."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from norsim.caches.arrays import FITS, IMAGES, MODELS, QUANTIZATIONS, key_of
from norsim.commands import main
from norsim.experiments.run_folder import RunFolder
from norsim.folders.output import OutputFolder
from norsim.jobs.unit_store import UnitStore

Run = Callable[..., Any]

FAST = (
    "eval-network", "--network", "digits-cnn", "--layers", "fc", "--images", "5", "--spice-sample", "2",
    "--proof-images", "0", "--quiet",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `runs`, of which one is finished and one interrupted, and their shared `units`."""
    place = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("norsim.experiments.run_folder.shared_units", lambda: place / "units")
        for name in ("done", "deeper/cut"):
            patch.setattr("sys.argv", ["norsim", *FAST, "--out", str(place / "runs" / name)])
            main()
    (place / "runs" / "deeper" / "cut" / "summary.json").unlink()
    return place


@pytest.fixture
def runs(made: Path, tmp_path: Path, shared_units: Path) -> Path:
    """Return a copy of the folder with a finished and an interrupted run."""
    shutil.copytree(made / "units", shared_units, dirs_exist_ok=True)
    return Path(shutil.copytree(made / "runs", tmp_path / "runs"))


def test_runs_are_listed_with_their_state(norsim: Run, runs: Path) -> None:
    found = {run["run"]: run for run in norsim("runs", "ls", runs, "--json").json["runs"]}
    assert set(found) == {str(runs / "done"), str(runs / "deeper" / "cut")}
    done, cut = found[str(runs / "done")], found[str(runs / "deeper" / "cut")]
    assert (done["state"], cut["state"]) == ("finished", "interrupted")
    assert done["command"] == "eval-network" and done["network"] == cut["network"] == "digits-cnn"
    assert 0 <= done["accuracy"] <= 1 and cut["accuracy"] is None
    assert done["units"] == 2 and done["bytes"] > 5000
    ended = norsim("runs", "ls", runs)
    assert ended.code == 0 and "finished" in ended.out and "interrupted" in ended.out


def test_an_open_run_is_running(norsim: Run, tmp_path: Path) -> None:
    """Only as long as its folder is open in a process."""
    folder = RunFolder(OutputFolder(tmp_path / "run", "run"), {}, tmp_path / "chip.yaml", 0)
    assert norsim("runs", "ls", tmp_path, "--json").json["runs"][0]["state"] == "running"
    ended = norsim("runs", "verify", tmp_path / "run")
    assert ended.code == 0 and "is running and has no results yet" in ended.out
    del folder
    assert norsim("runs", "ls", tmp_path, "--json").json["runs"][0]["state"] == "interrupted"


def test_a_run_of_a_program_without_arguments_is_listed(
    norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["mine.py"])
    RunFolder(OutputFolder(tmp_path / "run", "run"), {}, tmp_path / "chip.yaml", 0).finish({"seconds": 1.0})
    (run,) = norsim("runs", "ls", tmp_path, "--json").json["runs"]
    assert (run["command"], run["state"]) == ("", "finished")


def test_a_deck_is_a_finished_run(norsim: Run, tmp_path: Path) -> None:
    deck = ("build-netlist", "--network", "digits-cnn", "--layer", "conv1", "--vectors", "1", "--quiet")
    assert norsim(*deck, "--out", tmp_path / "deck").code == 0
    (run,) = norsim("runs", "ls", tmp_path, "--json").json["runs"]
    assert (run["state"], run["network"]) == ("finished", "digits-cnn")
    assert norsim("runs", "verify", tmp_path / "deck").code == 0
    (tmp_path / "deck" / "tile.cir").write_text("* another\n")
    assert norsim("runs", "verify", tmp_path / "deck").code == 5


def test_a_run_is_shown(norsim: Run, runs: Path) -> None:
    found = norsim("runs", "show", runs / "done", "--json").json
    assert found["summary"]["images"] == 5 and found["timing"]["seconds"] > 0
    assert found["manifest"]["options"]["images"] == "5"
    ended = norsim("runs", "show", runs / "deeper" / "cut")
    assert ended.code == 0 and '"state": "interrupted"' in ended.out


@pytest.mark.parametrize("name", ["summary.json", "results.csv", "samples.npz", "config.resolved.yaml", "unit"])
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_file_is_detected(norsim: Run, runs: Path, name: str, damage: str) -> None:
    run = runs / "done"
    assert norsim("runs", "verify", run).code == 0
    path = next(run.glob("units/*/*.parquet")) if name == "unit" else run / name
    if damage == "changed":
        path.write_bytes(path.read_bytes() + b" ")
    elif name == "unit":
        path.with_suffix(".sha256").unlink()
    else:
        path.unlink()
    ended = norsim("runs", "verify", run, "--json")
    assert ended.code == 5 and ended.json["damaged"] == [str(path)] and "with --resume" in ended.err


def test_checksums_agree_with_sha256sum(runs: Path) -> None:
    checked = subprocess.run(
        ["sha256sum", "-c", "checksums.sha256"], cwd=runs / "done", check=False, capture_output=True
    )
    assert checked.returncode == 0 and checked.stdout.count(b": OK") == 5


def test_units_of_finished_runs_and_old_shared_ones_are_removed(norsim: Run, runs: Path, shared_units: Path) -> None:
    (old,) = shared_units.glob("*/*-samples.parquet")
    os.utime(old, (time.time() - 40 * 24 * 3600,) * 2)
    before = norsim("runs", "gc", runs, "--dry-run", "--json").json
    assert before["files"] == 5 and not before["removed"] and old.exists()
    assert norsim("runs", "gc", runs).out.startswith("5 files")
    assert not old.exists() and len(list(shared_units.glob("*/*.parquet"))) == 1
    assert not (runs / "done" / "units").exists() and (runs / "deeper" / "cut" / "units").exists()
    assert norsim("runs", "verify", runs / "done").code == 0


def test_old_arrays_are_removed_and_others_are_kept(norsim: Run, tmp_path: Path, own_arrays: Path) -> None:
    (tmp_path / "runs").mkdir()
    for number, cache in enumerate((MODELS, MODELS, IMAGES, FITS, QUANTIZATIONS)):
        cache.put(key_of(number), {"values": np.zeros(100)})
    unused = zip((MODELS, IMAGES, FITS, QUANTIZATIONS), (0, 2, 3, 4), strict=True)
    old = [path for cache, number in unused if (path := cache.path(key_of(number)))]
    notes = old[0].with_name("notes.txt")
    for path in (*old, notes):
        path.touch()
        os.utime(path, (time.time() - 40 * 24 * 3600,) * 2)
    assert norsim("runs", "gc", tmp_path / "runs", "--dry-run", "--json").json["files"] == 4 and old[0].exists()
    assert norsim("runs", "gc", tmp_path / "runs").out.startswith("4 files")
    assert not any(path.exists() for path in old) and notes.exists() and MODELS.has(key_of(1))


def test_a_folder_without_a_run_ends_in_2(norsim: Run, tmp_path: Path) -> None:
    for name in ("show", "verify"):
        ended = norsim("runs", name, tmp_path)
        assert ended.code == 2 and "is not a run folder" in ended.err
    assert norsim("runs", "ls", tmp_path, "--json").json == {"runs": []}
    assert UnitStore((tmp_path / "nothing",)).get("ab12") is None
