"""Decks for HSPICE and Xyce, read back: by norsim's own reader, which must find the tile, and by neospice's parser."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from norsim.array.cell import Cell
from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.registry import read
from norsim.spice.cell_text.braces import with_parentheses
from norsim.spice.dialects import deck
from norsim.spice.elements import Drive, Element, ammeters, elements
from norsim.spice.statements import Statement, statements
from tests.spice.dialects.test_dialects import OTHERS, solved, table_of
from tests.spice.test_deck import DECKS


def outside(parts: list[Statement]) -> list[Statement]:
    """Return the elements of a deck outside its subcircuits."""
    found, depth = [], 0
    for part in parts:
        depth += (part.card == ".subckt") - (part.card == ".ends")
        if not depth and part.card[:1] in "rvx" and part.parts:
            found.append(part)
    return found


@pytest.mark.parametrize("dialect", OTHERS)
@pytest.mark.parametrize("name", DECKS)
def test_a_deck_read_back_has_the_elements_and_the_reads_of_the_tile(name: str, dialect: str) -> None:
    tile, stimulus = DECKS[name]()
    text = deck(tile, stimulus, dialect)
    # The reader leaves the word `params:` out, as ngspice does.
    found = {part.parts[0]: part.parts[1:] for part in outside(list(statements(text.split("\n.data ")[0], "deck")))}
    columns, rows = table_of(text)
    stepped = dict(zip(columns, np.transpose(rows), strict=True))
    expected = [item for item in elements(tile, stimulus) if isinstance(item, Element | Drive)]
    for item in expected:
        if isinstance(item, Drive):
            nodes, value = found.pop(f"V{item.node}")[:2], text_value(f"V{item.node}", text)
            column = stepped.get(f"V{item.node}", stepped.get(f"v_{item.node}"))
            assert nodes == (item.node, "0")
            assert np.array_equal(column, item.volts) if item.steps else float(value) == item.volts[0]
        else:
            words = found.pop(f"{item.kind}{item.name}")
            state = item.value.split(" ")
            assert words[: len(item.nodes)] == item.nodes
            if item.kind == "X":
                assert words[-2] == state[0] and words[-1].partition("=")[2] == state[1].partition("=")[2]
            else:
                assert float(words[-1]) == float(item.value)
    assert found == {}, "the deck has no other elements"
    printed = " ".join(re.findall(r"^\.print dc (.*(?:\n\+.*)*)", text, re.MULTILINE)).replace("\n+", " ")
    assert [word for word in printed.split() if word.startswith("i(")] == ammeters(tile)


def text_value(name: str, text: str) -> str:
    match = re.search(rf"^{name} \S+ 0 (\S+)$", text, re.MULTILINE)
    assert match is not None
    return match[1]


@pytest.mark.parametrize("name", DECKS)
def test_neospice_parses_the_wires_and_sources_of_a_xyce_deck(name: str) -> None:
    """Of the dialects it reads only Xyce's braces; analyses and subcircuits' expressions it leaves out."""
    neospice = pytest.importorskip("neospice")
    tile, stimulus = DECKS[name]()
    parsed = set(neospice.Simulator().parse(deck(tile, stimulus, "xyce")).device_names())
    wires = {
        f"{one.kind}{one.name}" for one in elements(tile, stimulus) if isinstance(one, Element) and one.kind != "X"
    }
    drives = {f"V{one.node}" for one in elements(tile, stimulus) if isinstance(one, Drive)}
    assert wires | drives <= parsed
    assert {one.split(".")[0] for one in parsed if "." in one} == {
        f"x{i}_{j}" for i in range(tile.wordlines) for j in range(tile.bitlines)
    }


BRACES = ".subckt c d g s b vt=3\n.param ut=2\nB1 d s I=v(d,s)/{2*ut}*1e-6-{1e-8-vt*1e-9}*v(g)\n+ *'vt - 1'\n.ends"


@pytest.mark.parametrize("dialect", OTHERS)
def test_braces_and_quotes_in_an_equation_are_one_term_in_all_dialects(dialect: str, tmp_path: Path) -> None:
    """By hand. ngspice 39 pastes the text between them into the equation: x/{2*ut} would become x/2*ut."""
    cell = Cell("c", BRACES.replace("'vt - 1'", "{vt - 1}"), "", "vt", 0.5, 9.0)
    tile, stimulus = Tile([[3.0]], cell, Wires(strap_every=1)), Stimulus([[1.0], [2.0]], [[0.5], [0.5]])
    expected = 0.5 / (2 * 2) * 1e-6 - (1e-8 - 3e-9) * np.array([1.0, 2.0]) * (3 - 1)
    np.testing.assert_allclose(read(tile, stimulus).bitline[:, 0], expected, rtol=1e-9)
    translated = solved(deck(tile, stimulus, dialect), dialect, tile, 2, tmp_path)
    np.testing.assert_allclose(translated[:, 0], expected, rtol=1e-6)


def test_parentheses_are_added_only_to_terms_of_equations() -> None:
    assert with_parentheses(BRACES).splitlines()[2:4] == [
        "B1 d s I=v(d,s)/{(2*ut)}*1e-6-{(1e-8-vt*1e-9)}*v(g)", "+ *'(vt - 1)'",
    ]  # fmt: skip
    for line in ("B1 d s I={gm}*v(d,s)*{2.5k}", "R1 d s {2*vt}", "E1 a b c d {2*vt}", ".param q={2*vt}", "* B {2*x}"):
        assert with_parentheses(line) == line
    assert with_parentheses("E1 a b vol='v(c)/{2*vt}'") == "E1 a b vol='v(c)/{(2*vt)}'"
