"""Phases: each is named, timed and recorded, and progress is shown whether or not the work reports."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import norsim as library
from norsim.commands.shared import progress
from norsim.commands.shared.progress import reporting
from norsim.data.batches import size_of
from norsim.experiments.run_folder import phase_seconds
from norsim.jobs.phases import BatchProgress, Phases, step
from tests.commands.conftest import Run
from tests.commands.conftest import norsim as norsim

FAST = (
    "eval-network", "--network", "digits-cnn", "--images", "8", "--spice-sample", "1", "--proof-images", "2",
    "--set", "calibration.reads=8", "--layers", "fc", "--no-cache",
)  # fmt: skip
ALL = {"import", "load", "data", "characterise", "program", "build", "calibrate", "read", "proof", "write"}


class Clock:
    """A clock that is set by the test."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_phase_lasts_until_the_first_report_of_another() -> None:
    clock, events = Clock(), list[Any]()
    phases = Phases(clock)
    for at, what in ((0, "read conv1"), (3, "read conv2, tile 1 of 2"), (5, "proof ngspice"), (6, "read conv1")):
        clock.now = at
        phases(what, 0, 1)
    phases.follow(lambda event, **details: events.append((event, *details.values())))
    clock.now = 10
    phases.pause()
    clock.now = 1000
    phases.pause()
    assert phases.seconds == {"read": 9, "proof": 1}
    assert events == [
        ("phase ended", "read", 5), ("phase ended", "proof", 1), ("phase", "read"), ("phase ended", "read", 4),
    ]  # fmt: skip


def test_time_outside_of_reporting_belongs_to_no_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    phases = Phases(clock)
    with pytest.raises(KeyboardInterrupt), reporting(True, phases) as report, step(report, "data train"):
        clock.now = 2
        raise KeyboardInterrupt
    clock.now = 50
    with reporting(True, phases) as report, step(report, "data test"):
        clock.now = 53
    assert phases.seconds == {"data": 5}


def test_silent_work_has_a_line_after_two_seconds_and_then_every_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stderr = Clock(), io.StringIO()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    monkeypatch.setattr(sys, "stderr", stderr)
    lines = progress._Lines()
    lines.report("build conv1", 0, 4)
    for second in range(1, 26):
        clock.now = second
        lines.tick()
    lines.report("build conv2", 3, 4)
    clock.now = 26
    lines.report("calibrate conv2", 4, 4)
    for second in range(27, 100):
        clock.now = second
        lines.tick()
    assert stderr.getvalue().splitlines() == [
        "build conv1: 0 of 4, 0:00:02 so far", "build conv1: 0 of 4, 0:00:12 so far",
        "build conv1: 0 of 4, 0:00:22 so far",
    ]  # fmt: skip


def test_an_unknown_total_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stderr = Clock(), io.StringIO()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    monkeypatch.setattr(sys, "stderr", stderr)
    lines = progress._Lines()
    lines.report("read", 0, 0)
    clock.now = 4
    lines.report("read", 12, 0)
    assert stderr.getvalue() == "read: 12, 3/s\n"


def test_lines_appear_although_the_work_never_reports(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "SECONDS_BEFORE_LINE", 0.1)
        patch.setattr(progress, "SECONDS_OF_TICK", 0.02)
        with reporting(quiet=False) as report:
            report("quantize fc", 0, 1)
            time.sleep(0.3)
        with reporting(quiet=True) as report:
            report("quantize fc", 0, 1)
            time.sleep(0.3)
    assert capsys.readouterr().err == "quantize fc: 0 of 1\n"


def test_batches_name_the_layer_and_the_tile_and_count_images() -> None:
    seen: list[tuple[str, int, int]] = []
    counted: list[tuple[int, int]] = []
    told = BatchProgress(lambda *report: seen.append(report), lambda *report: counted.append(report))
    done = told.images("read", 40)
    told.layer("read conv1", 3, 900)
    done(20)
    told.layer("read fc", 1, 1)
    assert seen == [
        ("read", 0, 40), ("read conv1, tile 3 of 900", 0, 40), ("read", 20, 40), ("read fc, tile 1 of 1", 20, 40),
    ]  # fmt: skip
    assert counted == [(20, 40)]


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (torch.zeros(5, 3), 5), ((torch.zeros(6, 3), torch.zeros(6)), 6), ([torch.zeros(2, 3)], 0),
        (torch.utils.data.TensorDataset(torch.zeros(7, 3)), 7), (iter([torch.zeros(2, 3)]), 0),
        (torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(9, 3)), batch_size=2), 9),
        (torch.tensor(1.0), 0),
    ],
)  # fmt: skip
def test_the_size_of_data_is_known_without_reading_it(data: Any, size: int) -> None:
    assert size_of(data) == size


def test_a_run_records_the_seconds_of_each_phase(norsim: Run, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = norsim(*FAST, "--quiet", "--out", run)
    # Only one layer is on the array.
    assert ended.code == 0 and ended.err.startswith("warning: only 10.4 %") and ended.err.count("\n") == 1
    timing = json.loads((run / "timing.json").read_text())
    assert set(timing["phases"]) == ALL
    assert sum(timing["phases"].values()) <= timing["seconds"] + 0.1
    assert all(seconds >= 0 for seconds in timing["phases"].values())
    # A resumed run adds the phases of its parts up.
    (run / "summary.json").unlink()
    with open(run / "events.jsonl", "a") as events:
        events.write(
            '{"event": "phase", "phase": "read"}\n{"event": "phase ended", "phase": "read", "seconds": 100}\n{"ev'
        )
        events.write("\n")
    assert norsim(*FAST, "--quiet", "--out", run, "--resume").code == 0
    again = json.loads((run / "timing.json").read_text())["phases"]
    assert again["read"] >= 100 + timing["phases"]["read"] and again == phase_seconds(run)


def test_python_reports_phases_with_layers_and_is_silent_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    images, labels = torch.rand(24, 1, 8, 8), torch.arange(24) % 10
    seen: list[str] = []

    def report(what: str, done: int, total: int) -> None:
        assert 0 <= done and (done <= total or not total)
        seen.append(what)

    settings = {"calibration.reads": 8, "tile.wordlines": 32}
    net = library.deploy(network, calibration=images, set=settings, report=report)
    net.evaluate((images, labels), spice_sample=1, proof_images=2, report=report)
    net.evaluate((images[:2], labels[:2]), spice_sample=0, proof_images=0, metric=lambda outputs, targets: 0.5)
    phases = list(dict.fromkeys(what.partition(" ")[0] for what in seen))
    assert phases == ["quantize", "data", "characterise", "program", "build", "calibrate", "read", "proof"]
    for phase in ("quantize", "program", "characterise", "build", "calibrate", "read"):
        assert {"1", "3"} <= {layer for what in seen for layer in re.findall(rf"^{phase} (\d)", what)}, phase
    assert "read 1, tile 2 of 2" in seen
    assert capsys.readouterr() == ("", "")
