"""`make profile` runs the command and says which phases and functions took the time."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import profiling

WORDS = ["--network", "digits-cnn", "--backend", "ideal", "--images", "5", "--quiet"]


def test_phases_and_their_functions_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert profiling.main(WORDS, tmp_path) == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["images"] == 5
    text = (tmp_path / "phases.txt").read_text()
    rows = dict(re.findall(r"^(\w+) +([\d.]+) +[\d.]+$", text, re.MULTILINE))
    phases = rows.keys() - {"all"}
    assert {"import", "load", "data", "read"} <= phases
    assert float(rows["all"]) == pytest.approx(sum(float(rows[phase]) for phase in phases), abs=0.1)
    for phase in phases:
        assert f"\n{phase}, seconds by function\n   ncalls  tottime" in text
    assert "phases.txt is written" in capsys.readouterr().err


def test_a_command_that_fails_keeps_its_exit_code(tmp_path: Path) -> None:
    assert profiling.main([*WORDS, "--set", "tile.wordline=3"], tmp_path) == 2
