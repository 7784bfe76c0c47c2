"""The script behind the figure of docs/theory/solvers.md runs on a small tile, and the page shows its numbers."""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "theory"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        import convergence
    finally:
        sys.path.remove(str(FOLDER))
    return convergence


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_each_part_of_the_model_brings_it_nearer(script: ModuleType, encoding: str) -> None:
    points = {(p.variant, p.blocks): p for p in script.measure(encoding, (32, 20), (1, 8), 12)}
    level, field, ungained, sloped, full = script.VARIANTS
    rms = [points[key].rms for key in ((script.IDEAL, 0), (level, 1), (field, 1), (ungained, 1), (full, 1))]
    assert all(better < worse for worse, better in pairwise(rms))
    assert points[ungained, 8].rms < points[ungained, 1].rms
    assert points[full, 8].rms < points[sloped, 8].rms
    assert points[level, 1].largest == pytest.approx(points[level, 8].largest, rel=1e-9)
    assert all(0 < point.rms <= point.largest for point in points.values())


def test_numbers_and_picture_are_written_the_same_each_time(script: ModuleType, tmp_path: Path) -> None:
    points = script.read_csv(FOLDER / "convergence.csv")
    assert len(points) == 2 * (1 + len(script.VARIANTS) * len(script.BLOCKS))
    script.write_csv(points, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (FOLDER / "convergence.csv").read_bytes()
    for name in ("one.svg", "other.svg"):
        script.draw(points, tmp_path / name)
    drawn = (tmp_path / "one.svg").read_bytes()
    assert drawn == (tmp_path / "other.svg").read_bytes()
    import matplotlib

    # Another version of matplotlib may write other bytes.
    if f"matplotlib=={matplotlib.__version__}\n" in (FOLDER.parents[1] / "constraints.txt").read_text():
        assert drawn == (FOLDER / "convergence.svg").read_bytes()


def test_the_page_shows_the_numbers_of_the_file(script: ModuleType) -> None:
    largest = {(p.encoding, p.variant, p.blocks): p.largest for p in script.read_csv(FOLDER / "convergence.csv")}
    row = re.compile(r"^\| ([a-z ,]+?)(?:, (\d+) blocks?)? \| (\S+e-\d+) \| (\S+e-\d+) \|$", re.MULTILINE)
    rows = row.findall((FOLDER / "solvers.md").read_text())
    assert len(rows) == 11
    for variant, blocks, serial, pair in rows:
        for encoding, shown in (("bit-serial", serial), ("linear-pair", pair)):
            assert float(shown) == largest[encoding, variant, int(blocks or 0)]
