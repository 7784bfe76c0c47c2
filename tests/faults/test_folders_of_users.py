"""Folders with files of the user: no command writes there, and clean-up deletes only what norsim recorded."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import norsim as package
from norsim.errors import ConfigurationError
from norsim.experiments.run_folder import RunFolder
from norsim.files import write_text
from norsim.folders.output import OutputFolder
from norsim.folders.record import RECORD, announce, append_line, delete, half_written, written
from tests.conftest import contents

Run = Callable[..., Any]

PROJECT = {
    ".spiceinit": "set ngbehavior=hsa", ".pre-commit-config.yaml": "repos: []", ".results.csv.17": "mine",
    "results.csv": "id,measured", "units/ab/ab12.parquet": "mine", "figures/chip.svg": "<svg/>",
    "report.html": "<h1>mine</h1>", "tile.cir": "* my deck", "weights.safetensors": "mine", "network.pt": "mine",
}  # fmt: skip
NETWORK = ("--network", "digits-cnn", "--quiet")
COMMANDS = {
    "run-layer": (*NETWORK, "--layer", "fc", "--tile", "0,0", "--vectors", "1", "--backend", "ideal"),
    "build-netlist": (*NETWORK, "--layer", "conv1", "--vectors", "1"),
    "eval-network": (*NETWORK, "--images", "2", "--backend", "ideal"),
    "sweep": (*NETWORK, "--vary", "adc.bits=4,5"),
    "attribute": NETWORK,
    "finetune": (*NETWORK, "--steps", "1"),
    "train": NETWORK,
    "cell check": ("--quiet",),
}


def fill(folder: Path, names: dict[str, str]) -> dict[str, bytes]:
    """Write files of the user; return the content of the folder."""
    for name, text in names.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return contents(folder)


@pytest.mark.parametrize("given", [(), ("--overwrite",)], ids=["plain", "overwrite"])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_writes_to_a_folder_with_other_files(
    norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, given: tuple[str, ...]
) -> None:
    before = fill(tmp_path, PROJECT)
    monkeypatch.chdir(tmp_path)
    ended = norsim(*command.split(), *COMMANDS[command], "--out", ".", *given)
    assert ended.code == 2 and "--out . is not empty and was not written by norsim" in ended.err
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", [".hidden", "manifest.json", "card.json", "config.resolved.yaml", RECORD])
def test_a_file_with_a_name_of_norsims_does_not_make_a_folder_norsims(norsim: Run, tmp_path: Path, name: str) -> None:
    before = fill(tmp_path, {name: "{}"})
    for given in ("--overwrite", "--resume"):
        ended = norsim("run-layer", *COMMANDS["run-layer"], "--out", tmp_path, given)
        assert ended.code == 2 and "was not written by norsim" in ended.err and contents(tmp_path) == before


def test_files_added_to_a_run_survive_its_repetition(norsim: Run, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("run-layer", *COMMANDS["run-layer"], "--out", run)
    assert norsim(*words).code == 0
    first = contents(run)
    mine = {"notes.md": "mine", "units/notes.txt": "mine", "netlists/mine.cir": "mine", ".currents.npz.99": "mine"}
    added = fill(run, mine).keys() - first.keys()
    ended = norsim(*words)
    assert ended.code == 2 and "--overwrite replaces it" in ended.err
    assert norsim(*words, "--overwrite").code == 0 and norsim(*words, "--resume").code == 0
    after = contents(run)
    assert {name: after[name] for name in added} == {name: text.encode() for name, text in mine.items()}
    assert after.keys() == first.keys() | added
    listed = (run / "checksums.sha256").read_text()
    assert "currents.npz" in listed and "notes.md" not in listed
    assert norsim("runs", "gc", tmp_path).code == 0 and (run / "units" / "notes.txt").read_text() == "mine"


def test_a_run_is_not_replaced_by_another_command(norsim: Run, tmp_path: Path) -> None:
    assert norsim("run-layer", *COMMANDS["run-layer"], "--out", tmp_path).code == 0
    before = contents(tmp_path)
    for command in ("build-netlist", "train", "eval-network"):
        ended = norsim(command, *COMMANDS[command], "--out", tmp_path, "--overwrite")
        assert ended.code == 2 and f"holds the result of run-layer, not of {command}" in ended.err
    assert contents(tmp_path) == before


def test_a_run_without_a_record_is_neither_replaced_nor_resumed(norsim: Run, tmp_path: Path) -> None:
    words = ("run-layer", *COMMANDS["run-layer"], "--out", tmp_path)
    assert norsim(*words).code == 0
    (tmp_path / RECORD).unlink()
    before = contents(tmp_path)
    for given in ("--overwrite", "--resume"):
        ended = norsim(*words, given)
        assert ended.code == 2 and "no record of its files" in ended.err and contents(tmp_path) == before


def test_a_report_is_not_written_to_another_folder(norsim: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    before = fill(tmp_path / "mine", PROJECT)
    for given in ((), ("--overwrite",)):
        ended = norsim("report", tmp_path / "run", "--out", tmp_path / "mine", *given)
        assert ended.code == 2 and "is not empty and was not written by norsim" in ended.err
    assert contents(tmp_path / "mine") == before


def test_a_failed_command_leaves_no_folder(norsim: Run, tmp_path: Path) -> None:
    ended = norsim("run-layer", "--network", "digits-cnn", "--layer", "none", "--quiet", "--out", tmp_path / "new")
    assert ended.code == 2 and not (tmp_path / "new").exists()
    with OutputFolder(tmp_path / "new", "run"):
        assert (tmp_path / "new").is_dir()
    assert not (tmp_path / "new").exists()


def test_links_are_deleted_and_never_followed(tmp_path: Path) -> None:
    run, away = tmp_path / "run", tmp_path / "away"
    away.mkdir()
    names = ("summary.json", "linked.csv", "units/ab/ab12.parquet", "figures/a.svg", "dir.json")
    with OutputFolder(run, "run"):
        for name in names:
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            write_text(run / name, "norsim's")
    # The user moved the units and a result elsewhere, and replaced a result by a folder.
    (run / "units").rename(away / "units")
    (run / "units").symlink_to(away / "units")
    (run / "linked.csv").rename(away / "linked.csv")
    (run / "linked.csv").symlink_to(away / "linked.csv")
    (run / "dir.json").unlink()
    (run / "dir.json").mkdir()
    (run / "dir.json" / "mine").write_text("mine")
    kept = contents(away)
    delete(run)
    assert contents(away) == kept and (run / "units").is_symlink() and not os.path.lexists(run / "linked.csv")
    assert not (run / "summary.json").exists() and not (run / "figures").exists()
    assert (run / "dir.json" / "mine").read_text() == "mine"
    assert "units/ab/ab12.parquet" in written(run) and "summary.json" not in written(run)


@pytest.mark.parametrize("name", ["../mine.txt", "/etc/hostname-of-nobody", "a/../../mine.txt", "", ".."])
def test_a_record_names_no_file_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with OutputFolder(tmp_path / "run", "run"):
        append_line(tmp_path / "run" / RECORD, {"file": name, "pid": 1})
        delete(tmp_path / "run")
        assert written(tmp_path / "run") == [] and (tmp_path / "mine.txt").read_text() == "mine"


def test_a_file_of_the_user_in_a_run_is_not_replaced(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "run", "run") as output:
        (output.path / "report.html").write_text("mine")
        with pytest.raises(ConfigurationError, match=r"report\.html exists and was not written by norsim"):
            write_text(output.path / "report.html", "norsim's")
        assert (output.path / "report.html").read_text() == "mine"
        write_text(output.path / "other.html", "norsim's")
        write_text(output.path / "other.html", "again")


def test_what_a_killed_process_wrote_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a record whose last line was cut."""
    with OutputFolder(tmp_path, "run"):
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: 17)
            announce(tmp_path / "results.csv")
        (tmp_path / ".results.csv.17").write_text("half")
        with open(tmp_path / RECORD, "a") as record:
            record.write('{"file": "note')
        (tmp_path / "note").write_text("mine")
        write_text(tmp_path / "after.csv", "whole")
    assert half_written(tmp_path) == [".results.csv.17"]
    again = OutputFolder(tmp_path, "run", overwrite=True)
    again.clear()
    assert contents(tmp_path).keys() == {RECORD, ".norsim.lock", "note"}
    again.release()


def test_files_of_a_deleted_name_belong_to_the_user_again(tmp_path: Path) -> None:
    with OutputFolder(tmp_path, "run") as output:
        write_text(tmp_path / "best.yaml", "norsim's")
        write_text(tmp_path / "other.yaml", "norsim's")
        output.clear(lambda name: name == "best.yaml")
        (tmp_path / "best.yaml").write_text("mine")
        output.clear()
    assert (tmp_path / "best.yaml").read_text() == "mine"


def test_a_run_in_a_run_keeps_its_own_record(tmp_path: Path) -> None:
    outer = RunFolder(OutputFolder(tmp_path / "a", "run"), {}, tmp_path / "chip.yaml", 0)
    inner = RunFolder(OutputFolder(tmp_path / "a" / "b", "run"), {}, tmp_path / "chip.yaml", 0)
    for run in (inner, outer):
        run.finish({})
    before = contents(tmp_path / "a" / "b")
    delete(tmp_path / "a")
    assert contents(tmp_path / "a" / "b") == before and before


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(0)
    return package.deploy(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), "etox65", calibration=torch.rand(4, 1, 4, 4))


def test_python_saves_and_tunes_only_in_new_folders(network: Any, tmp_path: Path) -> None:
    calls: dict[str, Callable[..., Any]] = {
        "net.save": network.save,
        "net.finetune": lambda folder, **more: network.finetune(
            (torch.rand(4, 1, 4, 4), torch.arange(4)), folder=folder, steps=1, **more
        ),
    }
    for kind, call in calls.items():
        mine, own = tmp_path / kind / "mine", tmp_path / kind / "own"
        before = fill(mine, PROJECT)
        with pytest.raises(ConfigurationError, match="is not empty and was not written by norsim"):
            call(mine, overwrite=True)
        assert contents(mine) == before
        call(own)
        with pytest.raises(ConfigurationError, match=f"contains an? [a-z]* result of {kind}; overwrite or resume it"):
            call(own)
        (own / "notes.md").write_text("mine")
        call(own, overwrite=True)
        assert (own / "notes.md").read_text() == "mine"
