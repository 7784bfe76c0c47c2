"""Foundry kits used in place: corners, statistics, options, and the folder that files may be in."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from norsim.array.cell import Cell
from norsim.array.tile import Floats
from norsim.backends.programming import cell_amps
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError, UntrustedCellError
from norsim.spice import single_cells
from norsim.spice.drawn import at_mean
from norsim.spice.lines import Card, Line, cards, lines_of
from norsim.spice.simulators.ngspice import CELLS, find_ngspice
from norsim.spice.single_cells import SingleCells, cards_of
from tests.chip.kit import kit_chip, write_kit

GATE, DRAIN = 1.2, 0.5


def by_hand(kit: Path, section: str, width: float, length: float) -> float:
    """Return the drain current, amperes, of the kit's transistor in a deck that a person would write."""
    text = f"""* by hand
.lib '{kit / "libs" / "process.lib"}' {section}
X1 d g 0 0 nch w={width} l={length}
Vd d 0 {DRAIN}
Vg g 0 {GATE}
.options gmin=1e-15 abstol=1e-15 reltol=1e-9
.control
set numdgt=14
op
print i(vd)
quit
.endc
.end
"""
    (kit / "hand.cir").write_text(text)
    ran = subprocess.run([find_ngspice(), "-n", "-b", "hand.cir"], cwd=kit, capture_output=True, text=True, check=True)
    return -float(ran.stdout.split("i(vd) = ")[1].split()[0])


@pytest.mark.parametrize(
    ("section", "width", "length"), [("tt", 0.42, 0.18), ("ss", 0.42, 0.18), ("tt", 0.42, 0.4), ("ff", 2.0, 1.0)]
)
def test_a_kit_in_place_has_the_current_of_a_deck_by_hand(
    tmp_path: Path, section: str, width: float, length: float
) -> None:
    kit = write_kit(tmp_path)
    settings = (f"cell.corner={section}", f"cell.instance={{w: {width}, l: {length}}}")
    cell = load_chip(kit_chip(tmp_path), settings).cell
    assert dict(cell.options) == {"scale": "1.0u"}
    found = cell_amps(cell, np.array([cell.erased_volts]), GATE, DRAIN)[0]
    assert found == pytest.approx(by_hand(kit, section, width, length), rel=1e-6)


def test_statistics_are_at_their_mean_and_a_note_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_kit(tmp_path)
    nominal, random = (load_chip(kit_chip(tmp_path, corner=corner)).cell for corner in ("tt", "tt_mm"))
    amps = [cell_amps(cell, np.array([0.5]), GATE, DRAIN)[0] for cell in (nominal, random)]
    assert amps[0] == pytest.approx(amps[1], rel=1e-9)
    (note,) = random.notes
    assert "at their mean, 12 in all, the first 'AGAUSS(0,1.0,1)' in" in note and "nch.pm3.spice, line" in note
    assert note in caplog.text


@pytest.mark.parametrize(
    ("text", "mean"),
    [
        ("R1 a b '1k*(1+sw*AGAUSS(0, 1.0, 3)/sqrt(l*w))'", "R1 a b '1k*(1+sw*(0)/sqrt(l*w))'"),
        (".param x={gauss(max(1,2), 0.1, 3)+unif(2,0.1)}", ".param x={(max(1,2))+(2)}"),
        (".param x=agauss(aunif(1,2), 'a*(b+c)', 3)", ".param x=((1))"),
        (".param x=limit(3,1)", ".param x=(3)"),
        (".param gaussian=3", ".param gaussian=3"),
    ],
)
def test_a_drawn_number_is_its_first_argument(text: str, mean: str) -> None:
    assert at_mean(Card(text, (Line(text, "a.lib", 1),)))[0].text == mean


@pytest.mark.parametrize(
    ("text", "why"), [(".param x=limit(1,2,3)", "limit with 3 arguments"), (".param x=agauss(1,(2,3)", "no closing")]
)
def test_a_call_that_is_not_known_is_refused_with_its_line(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=f"a.lib, line 1: .*{why}"):
        at_mean(Card(text, (Line(text, "a.lib", 1),)))


def test_a_call_over_several_lines_is_one() -> None:
    (card,) = cards(lines_of(".param x=agauss(1,\n* remark\n+ 2, 3) y=4", "a.lib"))
    assert at_mean(card)[0].lines[0].text == ".param x=(1) y=4"


def test_an_option_with_two_values_is_refused(tmp_path: Path) -> None:
    write_kit(tmp_path)
    load_chip(kit_chip(tmp_path, options={"scale": "1u"}))
    with pytest.raises(ConfigurationError, match="sets the option scale to 1.0u, but cell.options .* sets it to 1n"):
        load_chip(kit_chip(tmp_path, options={"scale": "1n"}))


def test_links_are_followed_in_the_kit_and_refused_outside(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    kit = write_kit(folder)
    (kit / "latest").symlink_to("libs")
    inside = load_chip(kit_chip(folder)).cell
    chip = kit_chip(folder, models=["latest/process.lib"])
    assert load_chip(chip).cell.digest == inside.digest
    corner = kit / "corners" / "tt.spice"
    corner.write_text(corner.read_text().replace("nch_vth0_shift=0.0", "nch_vth0_shift=0.01"))
    assert load_chip(chip).cell.digest != inside.digest
    outside = tmp_path / "elsewhere" / "tt.spice"
    outside.parent.mkdir()
    shutil.move(corner, outside)
    corner.symlink_to(outside)
    with pytest.raises(UntrustedCellError, match="tt.spice is outside"):
        load_chip(chip)


def test_a_kit_elsewhere_needs_its_folder(tmp_path: Path) -> None:
    kit = write_kit(tmp_path / "foundry")
    (tmp_path / "work").mkdir()
    chip = kit_chip(tmp_path / "work", models_root=str(kit))
    assert load_chip(chip).cell.digest
    with pytest.raises(ConfigurationError, match="cell.models_root: there is no folder"):
        load_chip(chip, ("cell.models_root=../nowhere",))
    with pytest.raises(ConfigurationError, match=r"no file 'libs/process\.lib' beside it or in"):
        load_chip(chip, ("cell.models_root=null",))


def test_a_corner_is_for_entries_without_a_section(tmp_path: Path) -> None:
    write_kit(tmp_path)
    (tmp_path / "extra.lib").write_text(".param extra=1\n")
    named = [{"file": "libs/process.lib", "section": "ff"}, "extra.lib"]
    with pytest.raises(ConfigurationError, match="cell.corner is ss, but no entry"):
        load_chip(kit_chip(tmp_path, models=named, corner="ss"))
    both = load_chip(kit_chip(tmp_path, models=["libs/process.lib", "extra.lib"], corner="ff")).cell
    alone = load_chip(kit_chip(tmp_path, models=named, corner=None)).cell
    assert both.digest == alone.digest and ".param extra=1" in both.models
    with pytest.raises(ConfigurationError, match="no library section 'tr'; its sections: tt, ss, ff, tt_mm"):
        load_chip(kit_chip(tmp_path, corner="tr"))


def test_cells_with_many_cards_are_in_several_decks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_kit(tmp_path)
    cell = load_chip(kit_chip(tmp_path)).cell
    assert cards_of(cell) == 6
    sizes: list[int] = []

    def solve(one: Cell, points: Floats) -> Floats:
        sizes.append(len(points))
        return CELLS.solve(one, points)

    volts = np.linspace(0.5, 1.5, 5)
    points = (np.full(5, GATE), DRAIN * volts, np.zeros(5), volts)
    whole = SingleCells(solve, 512).drain_amps(cell, *points)
    monkeypatch.setattr(single_cells, "CARDS_AT_ONCE", 12)
    parts = SingleCells(solve, 512).drain_amps(cell, *points)
    assert sizes == [5, 2, 2, 1]
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    monkeypatch.setattr(single_cells, "MANY_CARDS", 6)
    assert "a copy of 6 model cards" in load_chip(kit_chip(tmp_path)).cell.notes[-1]
    assert len(load_chip(kit_chip(tmp_path, compatibility="hsa")).cell.notes) == 1


def test_a_parameter_that_a_body_has_not_is_refused(tmp_path: Path) -> None:
    write_kit(tmp_path)
    with pytest.raises(ConfigurationError, match="nch has no parameter 'width'; it has mult, l, w, ad, as"):
        load_chip(kit_chip(tmp_path, instance={"width": "1"}))
