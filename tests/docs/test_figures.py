"""The scripts behind the figures of the theory page of the cell and of the IR drop tutorial."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import ModuleType

import matplotlib
import pytest

from tests.docs.test_docs import ROOT, script

SCRIPTS = [ROOT / "docs" / "theory" / "levels.py", ROOT / "docs" / "tutorials" / "wire_drop.py"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_numbers_and_figures_are_those_of_the_page(path: Path, tmp_path: Path) -> None:
    module = script(path)
    points = module.read_csv(path.with_suffix(".csv"))
    module.write_csv(points, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == path.with_suffix(".csv").read_bytes()
    module.draw(points, tmp_path / "drawn.svg")
    # Another version of matplotlib may write other bytes.
    if f"matplotlib=={matplotlib.__version__}\n" in (ROOT / "constraints.txt").read_text():
        assert (tmp_path / "drawn.svg").read_bytes() == path.with_suffix(".svg").read_bytes()


@pytest.fixture(scope="module")
def wire_drop() -> ModuleType:
    return script(SCRIPTS[1])


def test_levels_are_measured_as_they_are_shown() -> None:
    module = script(SCRIPTS[0])
    for measured, shown in zip(module.measure(), module.read_csv(SCRIPTS[0].with_suffix(".csv")), strict=True):
        assert measured.code == shown.code
        # Below a picoampere, the gmin of the simulator dominates.
        assert measured[1:] == pytest.approx(shown[1:], rel=1e-5, abs=1e-12)


def test_thresholds_lie_as_the_page_says() -> None:
    module = script(SCRIPTS[0])
    levels = module.read_csv(SCRIPTS[0].with_suffix(".csv"))[-16:]
    thresholds = [level.threshold_volts for level in levels]
    steps = [high - low for high, low in pairwise(thresholds[1:])]
    assert thresholds[0] == 6.0 and thresholds[1] - thresholds[15] < 0.5
    assert all(lower > upper for lower, upper in pairwise(steps))


def test_ngspice_drops_what_the_tutorial_shows(wire_drop: ModuleType) -> None:
    shown = {(p.segment_ohms, p.wordlines): p for p in wire_drop.read_csv(SCRIPTS[1].with_suffix(".csv"))}
    for point in wire_drop.measure("ngspice", (16, 64)):
        assert point.share_lost == pytest.approx(shown[point.segment_ohms, point.wordlines].share_lost, rel=1e-3)


def test_a_small_drop_is_the_estimate_times_the_slope_of_the_cell(wire_drop: ModuleType) -> None:
    """To first order the loss is linear in the resistance, and the mean drop is two thirds of that at the last cell."""
    points = {(p.segment_ohms, p.wordlines): p for p in wire_drop.read_csv(SCRIPTS[1].with_suffix(".csv"))}
    slopes = [points[ohms, n].share_lost / points[ohms, n].last_volts for ohms in (0.4, 4.0) for n in (32, 64)]
    assert slopes == pytest.approx([slopes[0]] * 4, rel=0.02)
