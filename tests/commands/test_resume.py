"""Killed and resumed runs: the results are those of an undisturbed run, byte for byte."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from norsim.evaluation.proof.sampling import Quota, Sampler
from norsim.experiments.run_files import KEPT
from norsim.folders.lock import LOCK
from norsim.folders.record import RECORD
from norsim.spice.simulators.ngspice import find_ngspice
from tests.processes import start

Run = Callable[..., Any]

# Number of kills for the command with most units of work; `make soak` sets more.
KILLS = int(os.environ.get("NORSIM_KILLS", "2"))
EVALUATE = (
    "eval-network", "--network", "digits-cnn", "--images", "4", "--layers", "fc", "--backend", "ngspice", "--quiet",
    "--spice-sample", "3", "--set", "tile.wordlines=32", "--set", "calibration.reads=8",
)  # fmt: skip
FAST = (
    "eval-network", "--network", "digits-cnn", "--layers", "fc", "--backend", "macro", "--spice-sample", "3",
    "--proof-images", "0", "--quiet", "--set", "silicon.reading={scale: 50 nA, knee: 100 nA}", "--set", "adc.noise=1",
)  # fmt: skip
READ = (
    "run-layer", "--network", "digits-cnn", "--layer", "fc", "--vectors", "5", "--set", "tile.wordlines=32", "--quiet",
    "--set", "calibration.reads=8",
)  # fmt: skip

SWEEP = (
    "sweep", "--network", "digits-cnn", "--images", "20", "--trials", "2", "--quiet",
    "--vary", "silicon.drift_cell=0 mV,20 mV", "--spice-sample", "1",
)  # fmt: skip


def results(folder: Path) -> dict[str, bytes]:
    """Return the results of a run, without its records and its duration."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.exists() else []
    other = {*KEPT, RECORD, "timing.json", "checksums.sha256", LOCK}
    return {name: (folder / name).read_bytes() for name in names if name not in other}


def events(folder: Path) -> list[str]:
    """Return the events of a run, except for those of its phases."""
    found = [json.loads(line)["event"] for line in (folder / "events.jsonl").read_text().splitlines()]
    return [event for event in found if not event.startswith("phase")]


@pytest.mark.parametrize(
    # A sweep stores the batches of several evaluations by macro; run-layer keeps decks as that by ngspice does.
    "command",
    [EVALUATE, SWEEP, pytest.param(READ, marks=pytest.mark.soak), pytest.param(FAST, marks=pytest.mark.soak)],
    ids=["eval-network", "sweep", "run-layer", "macro"],
)  # fmt: skip
@pytest.mark.slow
def test_a_run_killed_at_random_times_ends_in_the_same_bytes(
    norsim: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    # Fill the caches, without which a run takes much longer than those to be killed.
    assert norsim(*command, "--no-cache", "--out", whole).code == 0
    begun = time.monotonic()
    assert start(*command, "--no-cache", "--out", tmp_path / "again").wait() == 0
    seconds = time.monotonic() - begun
    assert results(tmp_path / "again") == results(whole)
    moments = random.Random(7)
    kills = max({EVALUATE: KILLS, READ: KILLS // 2}.get(command, KILLS // 4), min(KILLS, 2))
    killed = tried = 0
    while killed < kills:
        assert tried < 10 * kills, f"{killed} of {tried} runs were killed before they ended; {kills} were wanted"
        tried += 1
        process = start(*command, "--no-cache", "--out", part, "--resume")
        try:
            process.wait(moments.uniform(0.3, 1.0) * seconds)
            # It finished before it was killed: the next one starts from the beginning.
            assert process.returncode == 0
            assert results(part) == results(whole)
            (part / "manifest.json").unlink()
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            assert not (part / "summary.json").exists() or results(part) == results(whole)
    assert start(*command, "--no-cache", "--out", part, "--resume").wait() == 0
    assert results(part) == results(whole) and "summary.json" in results(part)
    assert not [path for path in part.iterdir() if path.name.startswith(".")]


def test_an_interrupted_evaluation_computes_no_batch_twice(
    norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    make = Sampler.__init__

    def interrupting(sampler: Sampler, quota: Quota, seed: int, chip: int = 0, batch: int = 0) -> None:
        if seen.count(2) == 0 and batch == 2:
            seen.append(batch)
            raise KeyboardInterrupt
        seen.append(batch)
        make(sampler, quota, seed, chip, batch)

    monkeypatch.setattr(Sampler, "__init__", interrupting)
    part, whole = tmp_path / "part", tmp_path / "whole"
    assert norsim(*FAST, "--no-cache", "--out", part).code == 130
    assert not (part / "summary.json").exists() and seen == [0, 1, 2]
    assert norsim(*FAST, "--no-cache", "--out", part, "--resume").code == 0
    assert seen == [0, 1, 2, 2, 3] and events(part) == ["started", "resumed", "finished"]
    assert norsim(*FAST, "--no-cache", "--out", whole).code == 0
    assert results(part) == results(whole) and len(results(whole)) == 3


def test_runs_share_work_unless_disabled(
    norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_units: Path
) -> None:
    made: list[int] = []
    make = Sampler.__init__
    monkeypatch.setattr(Sampler, "__init__", lambda *arguments: made.append(1) or make(*arguments))
    for folder, options in (("a", []), ("b", []), ("c", ["--no-cache"]), ("d", ["--seed", "1"])):
        assert norsim(*FAST, "--images", "5", *options, "--out", tmp_path / folder).code == 0
    assert len(made) == 3 and results(tmp_path / "a") == results(tmp_path / "b") == results(tmp_path / "c")
    for path in shared_units.rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-1])
    assert norsim(*FAST, "--images", "5", "--out", tmp_path / "e").code == 0
    assert len(made) == 4 and results(tmp_path / "a") == results(tmp_path / "e")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (["--seed", "1"], "differs in seed: it was '0' and is '1'"),
        (["--images", "4"], "differs in images"),
        (["--set", "adc.bits=7"], "differs in chip, settings"),
    ],
)
def test_another_run_cannot_be_resumed(norsim: Run, tmp_path: Path, change: list[str], problem: str) -> None:
    run = tmp_path / "run"
    assert norsim(*FAST, "--images", "5", "--out", run).code == 0
    before = results(run)
    ended = norsim(*FAST, "--images", "5", *change, "--out", run, "--resume")
    assert ended.code == 2 and problem in ended.err and results(run) == before
    assert norsim(*FAST, "--images", "5", "--out", run, "--resume", "--jobs", "1").code == 0
    assert results(run) == before


def test_resume_needs_a_folder_which_may_be_new(norsim: Run, tmp_path: Path) -> None:
    ended = norsim(*FAST, "--resume")
    assert ended.code == 2 and "--resume needs --out DIR" in ended.err
    assert norsim(*FAST, "--images", "5", "--out", tmp_path / "new", "--resume").code == 0
    (tmp_path / "new" / "manifest.json").write_text("{}")
    ended = norsim(*FAST, "--images", "5", "--out", tmp_path / "new", "--resume")
    assert ended.code == 2 and "is not the folder of an interrupted run, so it cannot be resumed" in ended.err
    assert "(--resume)" in ended.err


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.slow
def test_ctrl_c_stops_the_simulators_at_once_and_leaves_no_files(tmp_path: Path, jobs: int) -> None:
    """The program in place of ngspice calls the real one, except for reads of a whole tile, where it sleeps an hour."""
    places = [tmp_path / "temporary", tmp_path / "begun"]
    for place in places:
        place.mkdir()
    slow = tmp_path / "ngspice"
    slow.write_text(
        "#!/bin/sh\nif [ -f tile.cir ] && grep -q 'output channel 9' tile.cir\n"
        f'then touch {places[1]}/$$; sleep 3600; fi\nexec {find_ngspice()} "$@"\n'
    )
    slow.chmod(0o755)
    words = (*READ, "--no-cache", "--out", tmp_path / "run", "--jobs", str(jobs))
    running = subprocess.Popen(
        [sys.executable, "-c", "from norsim.commands import main; main()", *words],
        env={**os.environ, "NORSIM_NGSPICE": str(slow), "TMPDIR": str(places[0])}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while len(list(places[1].iterdir())) < jobs:
        assert running.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=30)
    assert running.returncode == 130 and stderr.splitlines()[-1] == "norsim: interrupted", stderr
    assert list(places[0].iterdir()) == []
    for begun in places[1].iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(begun.name), 0)


@pytest.mark.parametrize("trouble", [errno.ENOSPC, errno.EROFS, errno.EIO], ids=["full", "read-only", "broken"])
def test_a_full_disk_ends_in_4_and_the_run_can_be_resumed(
    norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: int
) -> None:
    written: list[Path] = []

    def opening(path: Path, mode: str) -> Any:
        file = open(path, mode)  # noqa: SIM115
        if "units" in path.parts:
            written.append(path)
            if len(written) > 6:
                file.write(b"half")
                file.close()
                raise OSError(trouble, os.strerror(trouble))
        return file

    with monkeypatch.context() as patch:
        patch.setattr("norsim.files.open", opening, raising=False)
        ended = norsim(*FAST, "--no-cache", "--out", tmp_path / "run")
    assert ended.code == 4 and f"cannot take more work: {os.strerror(trouble)}." in ended.err
    assert "Free disk space, then resume the run" in ended.err
    assert not (tmp_path / "run" / "summary.json").exists()
    assert norsim(*FAST, "--no-cache", "--out", tmp_path / "run", "--resume").code == 0
    assert norsim(*FAST, "--no-cache", "--out", tmp_path / "whole").code == 0
    assert results(tmp_path / "run") == results(tmp_path / "whole")
