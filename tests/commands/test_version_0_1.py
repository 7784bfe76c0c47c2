"""Runs of version 0.1 are listed, verified and reported, or an error says what has changed since.

The folder version-0.1 holds two runs that version 0.1 made: `eval-network` of three digits, with the first layer on the
array, and `attribute --by layers` of twenty.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from norsim.experiments.read_back import read_run
from norsim.experiments.run_record import Missing
from tests.commands.conftest import Run

RECORDED = Path(__file__).parent / "version-0.1"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return a copy of the folder with both runs."""
    return Path(shutil.copytree(RECORDED, tmp_path / "runs"))


def with_silicon(run: Path, **keys: object) -> Path:
    """Return the run with keys of `silicon` in the record of its chip."""
    record = run / "config.resolved.yaml"
    record.write_text(yaml.safe_dump({**yaml.safe_load(record.read_text()), "silicon": keys}))
    return run


def test_old_runs_are_listed_shown_and_checked(norsim: Run, runs: Path) -> None:
    found = {run["command"]: run["state"] for run in norsim("runs", "ls", runs, "--json").json["runs"]}
    assert found == {"eval-network": "finished", "attribute": "finished"}
    for name in ("evaluated", "attributed"):
        assert norsim("runs", "show", runs / name, "--json").json["summary"]["network"] == "digits-cnn"
        assert norsim("runs", "verify", runs / name).code == 0


def test_the_reads_of_an_old_run_are_no_random_sample(norsim: Run, runs: Path) -> None:
    ended = norsim("verify", runs / "evaluated", "--backend", "nodal", "--samples", 4, "--json")
    assert ended.code == 2 and "no random sample of the run's reads" in " ".join(ended.err.split())


def test_a_report_finds_all_but_the_reads_in_an_old_run(runs: Path) -> None:
    record = read_run(runs / "evaluated", attributions=[runs / "attributed"])
    for part in (record.model, record.data, record.answers):
        assert not isinstance(part, Missing), part
    assert isinstance(record.samples, Missing) and "version 0.1" in record.samples.reason
    assert [one.by for one in record.attributions] == ["layers"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["evaluated", "attributed"])
def test_old_runs_are_reported(norsim: Run, runs: Path, name: str) -> None:
    assert norsim("report", runs / name).code == 0
    assert "digits-cnn" in (runs / name / "report.html").read_text()


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"cell": "5 mV"}, "the key silicon.cell is now silicon.drift_cell"),
        ({"die": "5 mV"}, "the key silicon.die is now silicon.drift_die"),
        ({"lost_a_decade": 0.01, "time": "1 day"}, "the law of silicon.lost_a_decade has changed"),
        ({"aged": {"scale": "30 nA", "knee": "200 nA", "after": "5 day"}}, "the law of silicon.aged has changed"),
    ],
)
def test_an_old_run_that_would_be_read_differently_says_why(
    norsim: Run, runs: Path, keys: dict[str, object], problem: str
) -> None:
    run = with_silicon(runs / "evaluated", **keys)
    ended = norsim("verify", run, "--samples", 2)
    assert ended.code == 2 and problem in " ".join(ended.err.split())
    model = read_run(run).model
    assert isinstance(model, Missing) and problem in model.reason


def test_an_old_run_is_not_resumed(norsim: Run, runs: Path) -> None:
    (runs / "evaluated" / "summary.json").unlink()
    few = ["--network", "digits-cnn", "--images", 3, "--layers", "conv1", "--spice-sample", 2]
    ended = norsim("eval-network", *few, "--resume", "--out", runs / "evaluated")
    assert ended.code == 2 and "cannot be resumed" in " ".join(ended.err.split())
    assert "no record of its files" in ended.err
