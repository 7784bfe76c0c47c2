"""Other simulators' decks: golden texts, the same circuit as ngspice's, and errors for unknown constructs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from norsim.array.cell import Cell
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError, NorsimError
from norsim.paths import models_folder, netlists_folder
from norsim.spice.deck import OPTIONS
from norsim.spice.dialects import DIALECTS, deck
from norsim.spice.elements import ammeters
from norsim.spice.rawfile import read_raw
from tests.spice.test_deck import DECKS, GOLDEN

OTHERS = ("hspice", "xyce")
CARD = (models_folder() / "devices" / "etox65.lib").read_text()


@pytest.mark.parametrize("dialect", [*OTHERS, "vacask"])
@pytest.mark.parametrize("name", DECKS)
def test_deck_is_the_golden_one(name: str, dialect: str) -> None:
    """NORSIM_UPDATE_GOLDEN=1 rewrites the files; review the difference before committing."""
    text, path = deck(*DECKS[name](), dialect), GOLDEN / f"{name}.{dialect}.cir"
    if os.environ.get("NORSIM_UPDATE_GOLDEN") == "1":
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("dialect", OTHERS)
def test_a_deck_that_nobody_has_run_says_so(dialect: str) -> None:
    name = {"hspice": "HSPICE", "xyce": "Xyce"}[dialect]
    assert f"The authors of norsim have not run it on {name}." in deck(*DECKS["bit-serial-4x5"](), dialect)


def test_a_dialect_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no dialect 'spectre'; choose one of ngspice, hspice, xyce, vacask"):
        deck(*DECKS["bit-serial-4x5"](), "spectre")


def table_of(text: str) -> tuple[list[str], list[list[float]]]:
    """Return the columns and rows of a deck's `.data` table."""
    words = re.search(r"^\.data reads\b(.*?)^\.enddata", text, re.DOTALL | re.MULTILINE)
    assert words is not None
    lines = words.group(1).replace("\n+", "\n").split("\n")
    joined = " ".join(lines).split()
    columns = [word for word in joined if not re.match(r"[-+\d.]", word)]
    values = [float(word) for word in joined if re.match(r"[-+\d.]", word)]
    return columns, np.reshape(values, (-1, len(columns))).tolist()


def as_ngspice(text: str, dialect: str, read_number: int, tile: Tile) -> str:
    """Convert a deck of another dialect to one for ngspice: insert one row of its table and an ngspice analysis."""
    columns, rows = table_of(text)
    given = dict(zip(columns, rows[read_number], strict=True))
    circuit = text.split("\n.data ")[0]
    if dialect == "hspice":
        circuit = re.sub(r"^\.param idx=0.*(?:\n\+.*)*", "", circuit, flags=re.MULTILINE)
        circuit += "\n.param " + " ".join(f"{name}={value!r}" for name, value in given.items())
    else:
        for source, value in given.items():
            circuit, found = re.subn(rf"^({source} \S+ 0) \S+$", rf"\1 {value!r}", circuit, flags=re.MULTILINE)
            assert found == 1
    celsius = round(tile.cell.temperature_kelvin - 273.15, 6)
    asked = [
        f".options {OPTIONS} temp={celsius}",
        "Vidx idx 0 0",
        ".dc Vidx 0 0 1",
        ".save " + " ".join(ammeters(tile)),
    ]
    return "\n".join(
        [circuit, *asked, ".control", "set filetype=binary", "run", "write r.raw", "quit", ".endc", ".end"]
    )


def solved(text: str, dialect: str, tile: Tile, reads: int, folder: Path) -> Floats:
    """Solve a circuit of another dialect, as far as ngspice can read that dialect: currents `[reads, ammeters]`."""
    found = []
    for k in range(reads):
        (folder / "tile.cir").write_text(as_ngspice(text, dialect, k, tile))
        behaviour = ["-D", "ngbehavior=hs"] if dialect == "hspice" else []
        subprocess.run(["ngspice", "-n", *behaviour, "-b", "tile.cir"], cwd=folder, check=True, capture_output=True)
        found.append(read_raw(folder / "r.raw", ammeters(tile), 1)[0])
        (folder / "r.raw").unlink()
    return np.array(found)


def hot_and_sensed() -> tuple[Tile, Stimulus]:
    """Return a tile with lines of each kind at 85 degrees Celsius, with wordlines and bitlines that step."""
    chip, random = load_chip("etox65", ("temperature=85 degC",)), np.random.default_rng(1)
    tile = Tile(random.uniform(3.8, 4.3, (3, 4)), chip.cell, Wires(0.4, 10.0, 20.0, 10.0))
    return tile, Stimulus(random.choice([0.0, 5.0], (4, 3)), random.uniform(0, 0.5, (4, 4)), source_volts=0.02)


def of_cell(name: str) -> Callable[[], tuple[Tile, Stimulus]]:
    def make() -> tuple[Tile, Stimulus]:
        netlist = (netlists_folder() / "cells" / f"{name}.sp").read_text()
        tile = Tile([[3.0, 2.5], [2.0, 3.5]], Cell(name, netlist, CARD, "vt", 1.0, 6.0), Wires(0.4, 10.0, 20.0, 1.0))
        return tile, Stimulus([[5.0, 0.0], [4.0, 5.0]], [[0.5, 0.4], [0.3, 0.5]])

    return make


CIRCUITS = {**DECKS, "hot": hot_and_sensed, "threshold_shift": of_cell("threshold_shift"), "linear": of_cell("linear")}


@pytest.mark.parametrize("dialect", OTHERS)
@pytest.mark.parametrize("name", CIRCUITS)
def test_the_circuit_of_a_dialect_is_that_of_ngspice(name: str, dialect: str, tmp_path: Path) -> None:
    """ngspice reads quoted and braced expressions, PARAMS:, both levels of BSIM4, cur= and vol=, but not the table."""
    tile, stimulus = CIRCUITS[name]()
    found = solved(deck(tile, stimulus, dialect), dialect, tile, stimulus.vectors, tmp_path)
    currents = read(tile, stimulus)
    expected = np.hstack([currents.bitline, currents.source])
    assert np.abs(expected).max() > 1e-7
    assert np.abs(found - expected).max() <= 1e-7 * np.abs(expected).max()


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**32))
def test_the_table_has_every_volt_of_every_line_that_steps(reads: int, lines: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    volts = random.choice([0.0, 1.0, 5.0], (reads, lines)) * random.choice([1.0, 0.1 / 3], (reads, lines))
    cell = Cell("c", ".subckt c d g s b vt=3\nR1 d s {vt}\n.ends", "", "vt", 0.0, 20.0)
    tile, stimulus = Tile(np.full((lines, 1), 3.0), cell, Wires()), Stimulus(volts, np.full((reads, 1), 0.5))
    steps = [i for i in range(lines) if len(set(volts[:, i])) > 1]
    for dialect, column in (("hspice", "v_wl{}"), ("xyce", "Vwl{}")):
        columns, rows = table_of(deck(tile, stimulus, dialect))
        expected = {column.format(i): volts[:, i].tolist() for i in steps}
        if dialect == "hspice":
            expected["idx"] = list(range(reads))
        if steps or dialect == "hspice":
            assert {name: [row[k] for row in rows] for k, name in enumerate(columns)} == expected
        assert len(rows) == reads


def test_hspice_prints_no_more_at_once_than_it_can(resistor_cell: Cell) -> None:
    tile = Tile(np.full((1, 70), 5.0), resistor_cell, Wires(strap_every=1))
    text = deck(tile, Stimulus([[0.0]], np.full((1, 70), 0.5)), "hspice").replace("\n+ ", " ")
    printed = re.findall(r"^\.print dc (.*)$", text, re.MULTILINE)
    assert max(len(names.split()) for names in printed) <= 32
    assert " ".join(printed).split() == ammeters(tile)


@dataclass(frozen=True)
class Written:
    """A line of a cell, and its form in each dialect."""

    ngspice: str
    hspice: str
    xyce: str


LINES = [
    Written("R1 d s {2*vt}", "R1 d s '2*vt'", "R1 d s {2*vt_}"),
    Written("R1 d s 'vt + 1k'", "R1 d s 'vt + 1e3'", "R1 d s {vt_ + 1e3}"),
    Written("R1 d s 70k $ remark", "R1 d s 70e3", "R1 d s 70e3"),
    Written("Ex d s g b {vt}", "Ex d s g b 'vt'", "Ex d s g b {vt_}"),
    Written("B1 d s I = {vt} * max(v(g,b), 0)", "GB1 d s cur='(vt) * max(v(g,b), 0)'",
            "B1 d s i={(vt_) * max(v(g,b), 0)}"),
    Written("B1 d s v=ln(v(g)+2)", "EB1 d s vol='log(v(g)+2)'", "B1 d s v={ln(v(g)+2)}"),
    Written("M1 d g s b n w=1um l=.1u delvt0={-vt}", "M1 d g s b n w=1e-6 l=.1e-6 delvto='-vt'",
            "M1 d g s b n w=1e-6 l=.1e-6 delvto={-vt_}"),
    Written("X1 d g s b other w=2", "X1 d g s b other w=2", "X1 d g s b other PARAMS: w=2"),
    Written(".param q = {vt>1 ? 2 : 3}", ".param q='vt>1 ? 2 : 3'", ".param q={vt_>1 ? 2 : 3}"),
    Written("V1 d s dc 1m", "V1 d s 1e-3", "V1 d s 1e-3"),
    Written("D1 d s dio area=2", "D1 d s dio area=2", "D1 d s dio area=2"),
]  # fmt: skip
CARDS = [
    Written(".model n nmos level=14 version=4.8.1 vth0=0.5", "+ level=54 version=4.8.1 vth0=0.5",
            "+ level=14 version=4.82 vth0=0.5"),
    Written(".model n nmos (level=54 vth0=0.5)", "+ level=54 vth0=0.5", "+ level=14 version=4.82 vth0=0.5"),
    Written(".model n nmos(level=8\n+ version=3.2.4 vth0=0.5)", "+ level=53 version=3.2.4 vth0=0.5",
            "+ level=9 vth0=0.5"),
    Written(".model n d is=1f", "+ is=1e-15", "+ is=1e-15"),
]  # fmt: skip


def cell_of(line: str, card: str = ".model n nmos level=14") -> Cell:
    return Cell("c", f".subckt c d g s b vt=3\n{line}\n.ends", card, "vt", 0.0, 20.0)


def text_of(cell: Cell, dialect: str) -> list[str]:
    return deck(Tile([[3.0]], cell, Wires()), Stimulus([[5.0]], [[0.5]]), dialect).splitlines()


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.ngspice)
def test_a_line_is_written_in_each_dialect(line: Written) -> None:
    assert line.hspice in text_of(cell_of(line.ngspice), "hspice")
    assert line.xyce in text_of(cell_of(line.ngspice), "xyce")


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.ngspice)
def test_a_card_has_the_level_of_each_dialect(card: Written) -> None:
    assert card.hspice in text_of(cell_of("R1 d s 1", card.ngspice), "hspice")
    assert card.xyce in text_of(cell_of("R1 d s 1", card.ngspice), "xyce")


REFUSED = {
    "a device": ("J1 d g s n", "'j'"),
    "a card": (".func f(x) {x}", "'.func'"),
    "a power": ("R1 d s {vt**2}", "powers differ"),
    "another power": ("R1 d s {vt^2}", r"'\^2"),
    "an unknown name": ("R1 d s {temper}", "'temper' is neither"),
    "a probe in a value": ("R1 d s {v(g)}", "outside a behavioural source"),
    "a value that is a model": ("R1 d s rmodel", "'rmodel' is neither a number"),
    "a parameter of a resistor": ("R1 d s 1k tc1=2", "two nodes and a value"),
    "a source in time": ("V1 d s pulse(0 1)", "constant value"),
    "a source of four nodes with a table": ("E1 d s g b 1 2", "four nodes and a gain"),
    "a second parameter of a B source": ("B1 d s i=v(g) tc1=2", "'tc1' is neither|in an expression"),
    "an instance parameter": ("M1 d g s b n w=1u rgatemod=1", "no rgatemod"),
    "a parameter twice": ("M1 d g s b n w=1u w=2u", "twice"),
    "a card that is not there": ("M1 d g s b p", "a model card of the cell"),
    "an open brace": ("R1 d s {vt", "has no closing }"),
    "an unknown function": ("B1 d s i=ddt(v(g))", "'ddt' is neither"),
}


@pytest.mark.parametrize(("line", "why"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("dialect", OTHERS)
def test_what_is_not_known_to_mean_the_same_is_refused_with_its_line(line: str, why: str, dialect: str) -> None:
    with pytest.raises(ConfigurationError, match=f"the cell's netlist, line 2: .*{why}"):
        text_of(cell_of(line), dialect)


BAD_CARDS = {
    "a level": (".model n nmos level=2", "xyce", "level 2"),
    "a level whose defaults differ": (".model n nmos vto=0.5", "hspice", "level 1"),
    "a version": (".model n nmos level=14 version=4.5", "xyce", "not 4.5"),
    "BSIM3 of another version": (".model n nmos level=49 version=3.3.0", "xyce", "only BSIM3 version 3.2.2"),
    "a kind": (".model n npn bf=100", "hspice", "'npn'"),
    "a diode of another level": (".model n d level=3", "xyce", "'d'"),
}


@pytest.mark.parametrize(("card", "dialect", "why"), BAD_CARDS.values(), ids=BAD_CARDS.keys())
def test_a_card_that_is_not_known_is_refused(card: str, dialect: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=f"the cell's model cards, line 1: .*{why}"):
        text_of(cell_of("R1 d s 1", card), dialect)


@pytest.mark.parametrize("dialect", OTHERS)
def test_a_parameter_that_only_ngspice_lets_a_call_set_is_refused(dialect: str) -> None:
    cards = ".subckt part a b\n.param l=1\nR1 a b {l}\n.ends part"
    assert any(line.startswith("Xpart d s part") for line in text_of(cell_of("Xpart d s part", cards), dialect))
    with pytest.raises(ConfigurationError, match="line 2: .*it sets l, a .param in the body"):
        text_of(cell_of("Xpart d s part l=2", cards), dialect)


def test_hspice_has_the_option_scale() -> None:
    scaled = replace(cell_of("R1 d s 1"), options=(("scale", "1u"),))
    assert "scale=1u" in " ".join(text_of(scaled, "hspice")).split(".option ")[1].split()
    for options, dialect in (((("scale", "1u"),), "xyce"), ((("wnflag", "1"),), "hspice")):
        with pytest.raises(ConfigurationError, match="options cannot be written for"):
            text_of(replace(scaled, options=options), dialect)


@pytest.mark.parametrize("dialect", OTHERS)
def test_a_level_is_compared_as_a_number(dialect: str) -> None:
    plain, pointed = (
        text_of(cell_of("R1 d s 1", f".model n nmos level={level} version=4.8 vth0=0.4"), dialect)
        for level in ("54", "54.0")
    )
    assert plain == pointed


def test_two_cards_or_parameters_that_would_be_one_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="model cards, line 2: .*another card has the same name"):
        text_of(cell_of("R1 d s 1", ".model n nmos level=14\n.model N pmos level=14"), "hspice")
    with pytest.raises(ConfigurationError, match="netlist, line 1: .*vt and vt_ would be the same parameter in Xyce"):
        text_of(cell_of(".param vt_=2\nR1 d s {vt_}"), "xyce")
    assert "R1 d s 'vt_'" in text_of(cell_of(".param vt_=2\nR1 d s {vt_}"), "hspice")


def test_xyce_has_berkeleys_level_1() -> None:
    assert "+ level=1 vto=0.5" in text_of(cell_of("R1 d s 1", ".model n nmos vto=0.5"), "xyce")


@dataclass(frozen=True)
class CellOfTomorrow(Cell):
    """A cell with a field that the dialects do not know."""

    options: tuple[str, ...] = ()


def test_what_a_cell_says_beside_its_text_is_not_left_out_in_silence() -> None:
    plain = cell_of("R1 d s 1")
    known = CellOfTomorrow(plain.subcircuit, plain.netlist, plain.models, plain.state, 0.0, 20.0)
    assert text_of(known, "hspice") == text_of(plain, "hspice")
    problem = "the cell's options cannot be written for"
    with pytest.raises(ConfigurationError, match=problem):
        text_of(replace(known, options=("scale=1e-6",)), "xyce")


def test_xyce_has_no_shifted_bsim3() -> None:
    with pytest.raises(ConfigurationError, match="Xyce has no delvto on a transistor of that level"):
        text_of(cell_of("M1 d g s b n delvto=1", ".model n nmos level=8"), "xyce")


@given(st.text(), st.text())
def test_any_cell_is_written_or_refused(netlist: str, card: str) -> None:
    cell = Cell("c", f".subckt c d g s b vt=3\n{netlist}\n.ends", card, "vt", 0.0, 20.0)
    for dialect in DIALECTS:
        try:
            assert text_of(cell, dialect)
        except NorsimError:
            continue


@given(st.text(), st.text())
def test_no_note_becomes_a_line(name: str, note: str) -> None:
    plain = text_of(cell_of("R1 d s 1"), "hspice")
    noted = Tile([[3.0]], cell_of("R1 d s 1"), Wires(), (note,), (note,), name)
    text = deck(noted, Stimulus([[5.0]], [[0.5]]), "hspice").splitlines()
    assert [line for line in text if line[:2] != "* "] == [line for line in plain if line[:2] != "* "]
