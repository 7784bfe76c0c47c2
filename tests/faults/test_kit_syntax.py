"""The syntax of cell and kit files.

What ngspice accepts has the same current in norsim, to 1e-6; what it refuses is refused with file and line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.kit_syntax import CELL, KIT, by_hand
from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError, NorsimError
from norsim.spice.deck import deck
from norsim.spice.lines import cards, lines_of, text_of
from norsim.spice.simulators.ngspice import drain_amps
from tests.faults.kit_files import C, Edit, K, by_norsim, same, write

CORE = KIT.partition("\n.lib core\n")[2].partition(".endl core")[0]
HEADING, TT, SHARED = "bl sl wl shift=0", ".lib tt\n", ".lib kit.lib core\n.endl tt"
LAST, WIDE = "ndep=4e17\n.model", "w={half(0.6u)*factor} l={lsel}"

ACCEPTED: dict[str, list[Edit]] = {
    "a remark after a section's name": [(K, TT, ".lib tt $ typical\n")],
    "a remark without a blank after its dollar": [(K, TT, ".lib tt $typical\n")],
    "a semicolon after a section's name": [(K, TT, ".lib tt;typical\n")],
    "slashes after a section's name": [(K, TT, ".lib tt // typical\n")],
    "a section's name in quotes": [(K, TT, ".lib 'tt'\n"), (K, ".endl tt", '.ENDL "tt"')],
    "a section's name in double quotes and capitals": [(K, TT, '.LIB "TT"\n')],
    "a remark after a reference": [(K, SHARED, ".lib kit.lib core $ shared\n.endl tt $ end")],
    "a reference in quotes": [(K, SHARED, ".LIB 'kit.lib' \"Core\" ; shared\n.endl")],
    "a reference on two lines": [(K, SHARED, ".lib 'kit.lib'\n* the rest\n+ core // shared\n.endl tt")],
    "text after a reference": [(K, SHARED, ".lib kit.lib core ss\n.endl tt")],
    "a remark inside a continued .subckt": [(C, HEADING, "bl sl wl\n* the state\n+ shift=0")],
    "blank lines and remarks inside": [(C, HEADING, "bl sl wl\n\n  \n$ a\n// b\n\t* c\n+\n+ shift=0 $ d")],
    ".subckt alone on its line": [(C, ".subckt split_gate", ".subckt\n* which\n+ split_gate")],
    "the kind of a card on the next line": [(K, "nch.1 nmos", "nch.1\n+ nmos"), (K, "2 nmos", "2 $ y\n\n+ nmos")],
    "a card in brackets": [(K, "nch.1 nmos level", "nch.1 nmos (level"), (K, LAST, "ndep=4e17)\n.model")],
    "a title and an end inside a card": [(C, HEADING, "bl sl wl\n.title x\n.END\n+ shift=0")],
    "two backslashes at the end of a line": [(C, HEADING, "bl sl wl \\\\\n\n shift=0")],
    "nothing but two backslashes": [(C, HEADING, "bl sl wl\n\\\\\n shift=0")],
    "a remark before a remark": [(C, "l={lsel}", "l={lsel} $; x")],
    "a semicolon line and its continuation": [(C, WIDE, f"{WIDE}\n; before\n+ m=2")],
    "a dollar line inside a card": [(C, WIDE, f"{WIDE}\n$ before\n+ m=2")],
    "a line that begins with a bracket": [(C, ".param lsel", "(once\n+ and again\n.param lsel")],
    "tabs": [(C, " ", "\t"), (K, " ", "\t")],
    "Windows' line ends": [(C, "\n", "\r\n"), (K, "\n", "\r\n")],
    "blanks around equals signs": [(C, "=", " = ")],
    "indented lines": [(C, "\n", "\n \t")],
    "the keyword params:": [(C, HEADING, "bl sl wl params: shift=0"), (C, "storage shift=", "storage PARAMS: shift=")],
    "the keyword params: without a blank": [(C, HEADING, "bl sl wl PARAMS:shift=0")],
    "nodes in brackets": [(C, HEADING, "(bl sl wl) shift=0")],
    "expressions in quotes": [(C, "{shift}", "'shift'"), (C, "{lsel}", "'lsel * 1'")],
    ".ends without a name": [(C, ".ends split_gate", ".ends"), (C, ".ends storage", ".ENDS")],
    "numbers with units": [(C, "lsel=0.4u", "lsel=0.4e-3mm"), (C, "l=0.2u", "l=0.007874015748mil")],
    "numbers with scale factors": [(C, "lsel=0.4u", "lsel=4e-13MEG"), (C, "0.6u", "0.6um")],
    "the micro sign": [(C, "lsel=0.4u", "lsel=0.4\xb5m")],
    ".parameters": [(C, ".param", ".PARAMETERS"), (K, ".param", ".para")],
    ".if and .else": [
        (C, ".param lsel=0.4u", ".param q=2\n.if (q==1)\n.param lsel=1u\n.elseif (q==2)\n.param lsel=0.4u\n.else\n"
                                ".param lsel=2u\n.endif"),
    ],
    "another bin": [(C, "lsel=0.4u", "lsel=0.25u")],
    "a spread in a remark": [(K, LAST, "ndep=4e17 $ was agauss(4e17,1e16,3) file=x\n.model")],
    "a spread in another section": [(K, "kit_vth0=0.46", "kit_vth0=agauss(0.46,0.01,3)")],
    "other content in another section": [(K, ".lib ss\n", ".lib ss\n.options scale=1\n.control\nop\n.endc\nA1 x y\n")],
    "text after a line that begins with @": [(C, ".ends split_gate", ".ends split_gate\n@ the end\n.ends x\n#")],
    "a blank that is none for ngspice": [(K, TT, ".lib\xa0x tt\n")],
    "nothing in front of the first section": [(K, "* kit.lib: transistors of a 130 nm process\n", "")],
}  # fmt: skip
OTHER_FILES: dict[str, tuple[list[Edit], dict[str, str]]] = {
    "a file with a blank in its name": ([(K, SHARED, ".include 'my kit.lib' $ x\n.endl tt")], {"my kit.lib": CORE}),
    "a file in double quotes": ([(K, SHARED, '.INC "My.lib";x\n.endl tt')], {"My.lib": CORE}),
    "a chain relative to the including file": (
        [(K, SHARED, ".inc deep/one.inc\n.endl tt")], {"deep/one.inc": ".include two.inc\n", "deep/two.inc": CORE}
    ),
    "a chain relative to the project": (
        [(K, SHARED, ".inc deep/one.inc\n.endl tt")], {"deep/one.inc": ".inc deep/two.inc\n", "deep/two.inc": CORE}
    ),
    "a library in a file that is included": (
        [(K, SHARED, ".inc one.inc\n.endl tt")],
        {"one.inc": "* c\n.lib 'two.lib' typ $ x\n", "two.lib": f"* c\n.lib typ ; x\n{CORE}.endl\n"},
    ),
    "an included file that goes on": ([(C, " shift=0\nX", "\n.include rest.inc\nX")], {"rest.inc": "+ shift=0"}),
    "a section that is named twice": (
        [(K, SHARED, ".lib two.lib a\n.lib two.lib b\n.endl tt")],
        {"two.lib": f"*\n.lib A\n.param one=1\n.endl\n.lib b\n.lib two.lib a\n{CORE}.endl\n"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("edits", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_ngspice_accepts_has_the_same_current(tmp_path: Path, edits: list[Edit]) -> None:
    same(tmp_path, *edits)


@pytest.mark.parametrize(("edits", "others"), OTHER_FILES.values(), ids=OTHER_FILES.keys())
def test_files_are_found_where_ngspice_finds_them(tmp_path: Path, edits: list[Edit], others: dict[str, str]) -> None:
    same(tmp_path, *edits, others=others)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8"])
def test_remarks_can_be_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    marks = "0.3 \xb5m \xb0C \xe9\xa0" + ("\u2013" if encoding != "latin-1" else "")
    same(
        tmp_path, (C, ".subckt storage", f"* {marks}\n.subckt storage"), (C, "l={lsel}", f"l={{lsel}} $ {marks}"),
        (C, HEADING, f"bl sl wl\n* {marks}\n+ shift=0"),
        (C, "lsel=0.4u", "lsel=0.4\xb5"), encoding=encoding,
    )  # fmt: skip


def test_a_byte_order_mark_is_no_part_of_the_first_card(tmp_path: Path) -> None:
    chip = write(tmp_path, encoding="utf-8-sig")
    other = tmp_path / "other"
    other.mkdir()
    assert by_norsim(chip) == pytest.approx(same(other), rel=1e-9)


def test_capitals_everywhere(tmp_path: Path) -> None:
    capitals = KIT.upper().replace("KIT.LIB", "kit.lib")
    same(tmp_path, (K, KIT, capitals), (C, CELL, CELL.upper()))


REFUSED: dict[str, tuple[list[Edit], str]] = {
    "a section without its end": ([(K, ".endl core\n", "")], r"kit\.lib, line 10: '.lib core' .*has no \.endl"),
    "a section inside a section": (
        [(K, SHARED, f".lib inner\n.endl\n{SHARED}")], r"kit\.lib, line 4: '.lib inner' .*ngspice takes no section"
    ),
    "a section that is not there": ([(K, "kit.lib core", "kit.lib cor")], r"no library section 'cor'; its .*tt"),
    "a library in itself": ([(K, "core\n.endl tt", "tt\n.endl tt")], r"kit\.lib, line 4: .*than 16 deep"),
    "a file that is not there": ([(C, ".param", ".include no.inc\n.param")], r"cell\.sp, line 2: .*no file 'no\.inc'"),
    "a blank in a name": ([(C, ".param", ".include my no.inc\n.param")], r"cell\.sp, line 2: .*no file 'my'"),
    "a library without a section": ([(C, ".param", ".include kit.lib\n.param")], r"kit\.lib, line 2: .*one section"),
    "half a reference": ([(C, ".param", ".lib\n.param")], r"cell\.sp, line 2: .*names no file"),
    ".subckt without .ends": ([(C, ".ends split_gate", "")], r"cell\.sp, line 6: '.subckt split_gate .*has no \.ends"),
    ".ends without .subckt": ([(C, ".param", ".ends x\n.param")], r"cell\.sp, line 2: '.ends x' has no \.subckt"),
    "a brace that is not closed": ([(C, "{shift}\nM", "{shift\nM")], r"cell\.sp, line 7: .*has no closing }"),
    "a model inside a subcircuit": ([(K, CORE, f".subckt x a\n{CORE}.ends\n")], r"cell\.sp, line 4"),
    "an undefined parameter": ([(C, "l={lsel}", "l={lsl}")], r"Undefined parameter \[lsl\].*cell\.sp, line 8"),
    "an expression that is none": ([(C, "shift={shift}", "shift={shift+*2}")], r"Formula.*cell\.sp, line 7"),
    "a model that is not there": ([(C, "sl nch", "sl pch")], r"can't find model 'pch'.*cell\.sp, line 8"),
    "a transistor outside all bins": ([(C, "0.4u", "40u")], r"valid modelname.*cell\.sp, line 8"),
    "a version that is not there": ([(K, "4.8 lmin=0.3u", "5.1 lmin=0.3u")], r"cell\.sp, line 8.*version 5.1 not av"),
    "an element called twice": ([(C, "Mselect", "Mselect x x x x nch w=1u l=1u\nMselect")], r"already exists.* line 8"),
    "a line of another language": ([(C, ".param", "# x\n.param")], r"cell\.sp, line 2: '# x'"),
}  # fmt: skip


@pytest.mark.parametrize(("edits", "problem"), REFUSED.values(), ids=REFUSED.keys())
def test_what_ngspice_refuses_is_refused_with_file_and_line(
    tmp_path: Path, edits: list[Edit], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    chip = write(tmp_path, *edits)
    with pytest.raises(NorsimError, match=problem):
        by_norsim(chip)
    # For a library in itself, ngspice never ends.
    assert "than 16 deep" in problem or by_hand(tmp_path) is None


def test_a_letter_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    chip = write(tmp_path, (C, "Mselect", "Ms\xe9lect"), encoding="latin-1")
    with pytest.raises(ConfigurationError, match=r"cell\.sp, line 8: 'Ms\xe9lect.*not in UTF-8"):
        load_chip(chip)
    assert by_hand(tmp_path) is None
    (tmp_path / C).write_bytes(CELL.encode("utf-16"))
    with pytest.raises(ConfigurationError, match=r"cell\.sp cannot be read: it is in UTF-16"):
        load_chip(chip)


def test_two_different_files_that_a_card_could_mean_are_refused(tmp_path: Path) -> None:
    others = {"deep/one.inc": ".include two.inc\n", "deep/two.inc": CORE, "two.inc": CORE.replace("0.03", "0.05")}
    chip = write(tmp_path, (K, SHARED, ".inc deep/one.inc\n.endl tt"), others=others)
    with pytest.raises(ConfigurationError, match=r"one\.inc, line 1: .*two\.inc differ"):
        load_chip(chip)
    (tmp_path / "two.inc").write_text(CORE)
    by_norsim(chip)


@pytest.mark.parametrize("mode", ["ps", "psa"])
def test_a_mode_for_included_files_holds_for_the_cell_in_a_deck(tmp_path: Path, mode: str) -> None:
    """In PSPICE's mode, `.lib FILE` is an include, and & is the logical and; here 1 uA is added to the current."""
    bare = (
        KIT.replace(".lib", "*lib").replace(".endl", "*endl").replace("0.46", "0.40").replace("=2.7n factor=2", "=2.6n")
    )
    edit = (C, "Mselect", "Bx bl sl I={IF(V(bl,sl)>0.1 & V(wl)>0.1, 1u, 2u)}\nMselect")
    top = {"all.lib": bare, "top.sp": ".lib all.lib\n"}
    chip = write(tmp_path, edit, others=top, models=["top.sp"], compatibility=mode)
    other = tmp_path / "other"
    other.mkdir()
    assert by_norsim(chip) == pytest.approx(same(other) + 1e-6, rel=1e-6)


def test_a_model_card_of_a_transistor_is_found_in_any_layout(tmp_path: Path) -> None:
    keys: dict[str, Any] = {
        "netlist": None, "subcircuit": None, "model": "NCH", "pins": ["drain", "gate", "source", "bulk"],
        "instance": {"w": "0.3u", "l": "0.2u"}, "state": "delvto",
    }  # fmt: skip
    amps = []
    for edits in ([], [(K, "nch.1 nmos level", "nch.1 $ long\n\n* a\n+ NMOS(level"), (K, LAST, "ndep=4e17 )\n.model")]):
        cell = load_chip(write(tmp_path, *edits, **keys)).cell
        tile = Tile([[0.5]], cell, Wires(strap_every=1))
        assert "Mcell" in deck(tile, Stimulus([[1.2]], [[0.5]]))
        amps.append(drain_amps(cell, *(np.array([volts]) for volts in (1.2, 0.5, 0.0, 0.4)))[0])
    assert amps[0] == pytest.approx(amps[1], rel=1e-9) and amps[0] > 1e-6


@example("\\\\;")
@given(st.text(st.sampled_from("ab .+*$;/\\\t\n{=(\xb5"), max_size=50))
def test_the_text_of_cards_reads_as_the_same_cards(text: str) -> None:
    found = list(cards(lines_of(text, "x")))
    again = list(cards(lines_of(text_of(found), "x")))
    assert [card.text for card in found if card.text] == [card.text for card in again if card.text]
