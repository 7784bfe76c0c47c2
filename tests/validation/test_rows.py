"""Published measurements: bounds of predictions, their chip files, and the page."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from benchmarks.published import JIN, XIAO
from norsim.chip.load import load_chip, published_chips
from norsim.validation.page import chosen, line, page_of
from norsim.validation.row import Predicted, Row
from norsim.validation.rows import JIN_LAYERS, ROWS, XIAO_LAYERS
from tests.commands.conftest import Run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "validation.md"
BY_NAME = {row.name: row for row in ROWS}
# Reads of 1024 x 256 cells in 255 slots; tests/benchmarks compares a smaller macro with what was written.
SLOW = {"xiao-energy"}
# On a page, to three digits.
VALUE = re.compile(r"^\| `([\w-]+)` \|.*?\| ([\d.]+) [%\w]+ \| [\d.]+ ×", re.MULTILINE)


@pytest.mark.parametrize("row", [row for row in ROWS if row.predict and row.name not in SLOW], ids=lambda row: row.name)
def test_a_prediction_is_within_its_bound_and_as_on_the_page(row: Row) -> None:
    assert row.predict is not None and row.chip is not None
    found = row.predict(partial(load_chip, row.chip))
    assert row.within(found, row.bound)
    assert line(row, found) in PAGE.read_text()
    assert found.details in PAGE.read_text()


def test_the_page_is_what_the_command_writes() -> None:
    """But for the numbers of predictions, which the test above compares."""
    text = PAGE.read_text()
    values = {name: float(value) for name, value in VALUE.findall(text)}
    assert set(values) == {row.name for row in ROWS if row.predict}
    found = {row.name: Predicted(values[row.name]) if row.predict else None for row in ROWS}
    written = page_of(found)
    # Without the computed sentences, which begin the notes.
    for row in ROWS:
        note = next(each for each in text.splitlines() if each.startswith(f"- `{row.name}`:"))
        ours = next(each for each in written.splitlines() if each.startswith(f"- `{row.name}`:"))
        assert note.endswith(ours.removeprefix(f"- `{row.name}`:"))
    head, ours = (each.split("## What could explain")[0] for each in (text, written))
    assert head == ours
    assert all(row.within(Predicted(values[row.name]), row.bound) for row in ROWS if row.predict)


def test_published_numbers_by_hand() -> None:
    """Of the laws of the cells at 400 nA, and from TOPS/W."""
    for name, scale, knee in (("programming", 19.887, 176.31), ("read", 12.580, 215.37), ("five-days", 34.579, 207.34)):
        assert BY_NAME[f"agrawal-{name}"].published == pytest.approx(scale * (1 - math.exp(-400 / knee)), abs=0.005)
    for name, tops in (("xiao", 20.0), ("mlflash", 35.6), ("jin", 7.48)):
        assert BY_NAME[f"{name}-energy"].published == pytest.approx(1e3 / tops, rel=1e-4)


def test_what_counts_and_what_does_not() -> None:
    row = replace(BY_NAME["jin-energy"], published=10.0, bound=3.0)
    assert [row.verdict(Predicted(value)) for value in (19.0, 5.1)] == ["within 2 ×"] * 2
    assert row.verdict(Predicted(21.0)) == row.verdict(Predicted(4.9)) == "**apart**"
    assert row.within(Predicted(29.0), 3.0) and not row.within(Predicted(31.0), 3.0)
    assert row.within(Predicted(3.4), 3.0) and not row.within(Predicted(3.2), 3.0)
    assert "not counted" in replace(row, counts="fitted").verdict(Predicted(10.0))
    limit = replace(row, at_most=True, bound=1.0)
    assert limit.within(Predicted(0.1), 1.0) and not limit.within(Predicted(10.1), 1.0)
    assert (limit.verdict(Predicted(9.9)), limit.verdict(Predicted(10.1))) == ("below the limit", "**above the limit**")


@pytest.mark.parametrize("name", published_chips())
def test_every_value_of_a_chip_file_has_its_source(name: str) -> None:
    lines = published_chips()[name].read_text().splitlines()
    values = [each for each in lines if re.match(r"\s*\w+: +[^#\s]", each) and not each.startswith("name:")]
    assert len(values) > 20
    assert [each for each in values if not re.search(r"# (source|assumed)", each)] == []
    load_chip(name)


@pytest.mark.parametrize(("macro", "name", "layers"), [(XIAO, "xiao-2022", XIAO_LAYERS), (JIN, "jin", JIN_LAYERS)])
def test_chip_files_are_those_of_the_benchmark(macro: object, name: str, layers: object) -> None:
    assert macro in (XIAO, JIN) and macro.network == layers  # type: ignore[attr-defined]
    settings = {**macro.stated, **macro.assumed}  # type: ignore[attr-defined]
    expected = load_chip("etox65-ideal-straps", settings)
    assert replace(load_chip(f"published/{name}"), name=expected.name) == expected


def test_the_command_says_what_it_found(norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = norsim("validate", "--row", "jin-energy", "--row", "jin-accuracy", "--page", tmp_path / "page.md", "--json")
    assert ended.code == 0 and [row["name"] for row in ended.json["rows"]] == ["jin-accuracy", "jin-energy"]
    missing, energy = ended.json["rows"]
    assert missing["predicted"] is None and energy["factor"] == pytest.approx(1.85, abs=0.01)
    assert (
        "jin-energy" in (tmp_path / "page.md").read_text()
        and "guo" not in (tmp_path / "page.md").read_text().split("## Rows")[1]
    )
    tight = [replace(row, bound=1.1) for row in chosen(["jin-energy"])]
    monkeypatch.setattr("norsim.validation.page.ROWS", tuple(tight))
    ended = norsim("validate", "--row", "jin-energy")
    assert ended.code == 5 and "133.69 fJ published, 248 fJ predicted" in ended.out
    assert "outside of their bounds: jin-energy" in ended.err
    ended = norsim("validate", "--row", "jin-enrgy")
    assert ended.code == 2 and "did you mean 'jin-energy'" in ended.err
