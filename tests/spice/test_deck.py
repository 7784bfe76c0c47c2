"""Decks: golden texts, the same currents when run by hand, no injection, full precision."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from norsim.array.cell import Cell
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.paths import netlists_folder
from norsim.periphery.bit_serial import BitSerial
from norsim.periphery.encoding import tile_notes
from norsim.periphery.linear_pair import LinearPair
from norsim.spice.deck import circuit, deck
from norsim.spice.elements import ammeters
from norsim.spice.rawfile import read_raw

GOLDEN = netlists_folder() / "golden"


def encoded(
    encoding: BitSerial | LinearPair, levels: Floats, wires: Wires, weights: list[list[int]], codes: list[list[int]]
) -> tuple[Tile, Stimulus]:
    """Return a tile of the preset's cell for `weights` `[inputs, outputs]` around zero 7, and reads of `codes`.

    Levels, volts and wires are fixed here: a golden text must not change with a solver's last digit or with the
    preset's estimates.
    """
    array = np.array(weights, dtype=np.uint8)
    inputs, outputs = array.shape
    wordlines, bitlines = encoding.line_notes(
        [f"input {k}" for k in range(inputs)], [f"output {k}" for k in range(outputs)], 7
    )
    cell = load_chip("etox65").cell
    tile = Tile(
        levels[encoding.cell_codes(array, 7)], cell, wires, tuple(wordlines), tuple(bitlines),
        f"golden deck, {encoding.name}, {inputs} inputs, {outputs} outputs",
        tile_notes(encoding, [f"output {k}" for k in range(outputs)], cell.state, levels),
    )  # fmt: skip
    return tile, encoding.drive(np.array(codes, dtype=np.uint8), outputs, 4)


def bit_serial() -> tuple[Tile, Stimulus]:
    """4 wordlines by 5 bitlines: a full group of two outputs, a group of one output, and their references."""
    weights = [[0, 15, 7], [1, 14, 8], [2, 13, 9], [15, 0, 10]]
    return encoded(
        BitSerial(5.0, 0.5, 1.6e-6, "reference", group=3),
        np.array([6.0, *np.linspace(4.5625, 4.125, 15)]),
        Wires(0.4, 20.0, 20.0, 1.0, rows_per_source_line=2, strap_every=3),
        weights,
        [[15, 1, 2, 4], [0, 9, 6, 11]],
    )


def linear_pair() -> tuple[Tile, Stimulus]:
    """4 wordlines, in two pairs, by 3 bitlines."""
    return encoded(
        LinearPair(5.0, 0.05, 0.3e-6, 0.9e-6),
        np.linspace(4.25, 3.78125, 16),
        Wires(0.4, 10.0, 0.4, 10.0, rows_per_source_line=1, strap_every=None),
        [[0, 15], [7, 3], [12, 8]],
        [[15, 0, 1], [8, 4, 15], [3, 3, 3]],
    )


DECKS: dict[str, Callable[[], tuple[Tile, Stimulus]]] = {"bit-serial-4x5": bit_serial, "linear-pair-4x3": linear_pair}


@pytest.mark.parametrize("name", DECKS)
def test_deck_is_the_golden_one(name: str) -> None:
    """NORSIM_UPDATE_GOLDEN=1 rewrites the files; review the difference before committing."""
    tile, stimulus = DECKS[name]()
    assert f"{tile.wordlines}x{tile.bitlines}" in name
    if os.environ.get("NORSIM_UPDATE_GOLDEN") == "1":
        (GOLDEN / f"{name}.cir").write_text(deck(tile, stimulus))
    assert deck(tile, stimulus) == (GOLDEN / f"{name}.cir").read_text()


@pytest.mark.parametrize("name", DECKS)
def test_golden_deck_run_by_hand_gives_the_currents_of_read(name: str, tmp_path: Path) -> None:
    tile, stimulus = DECKS[name]()
    subprocess.run(["ngspice", "-n", "-b", str(GOLDEN / f"{name}.cir")], cwd=tmp_path, check=True, capture_output=True)
    assert [path.name for path in tmp_path.iterdir()] == ["currents.raw"]
    table = read_raw(tmp_path / "currents.raw", ammeters(tile), stimulus.vectors)
    currents = read(tile, stimulus)
    assert np.array_equal(table, np.hstack([currents.bitline, currents.source]))
    assert np.abs(table).max() > 1e-7


@given(st.text(), st.text(), st.text())
def test_no_name_and_no_note_becomes_a_deck_line(name: str, wordline: str, bitline: str) -> None:
    cell = Cell("res_cell", ".subckt res_cell d g s b vt=3\nR1 d s {vt}\n.ends", "", "vt", 1.0, 9.0)
    stimulus = Stimulus([[0.0]], [[0.5]])
    plain = Tile([[3.0]], cell, Wires())
    noted = Tile([[3.0]], cell, Wires(), (wordline,), (bitline,), name)
    with_notes, without = deck(noted, stimulus).splitlines(), deck(plain, stimulus).splitlines()
    assert [line for line in with_notes if line[:2] != "* "] == [line for line in without if line[:2] != "* "]
    assert with_notes[0].startswith("* ") and len(with_notes) == len(without) + 2
    assert str(circuit(noted, stimulus)).splitlines()[1:] == str(circuit(plain, stimulus)).splitlines()[1:]


def test_a_hostile_note_changes_no_current(resistor_cell: Cell) -> None:
    hostile = "x\nVshort bl0 0 0\r\n.control\x0bquit\x85.end\u2028R1 bl0 0 1"
    stimulus = Stimulus([[0.0]], [[0.5]])
    noted = Tile([[5.0]], resistor_cell, Wires(strap_every=1), (hostile,), (hostile,), hostile, (hostile,))
    stimulus = replace(stimulus, notes=(hostile,))
    assert read(noted, stimulus).bitline[0, 0] == pytest.approx(1e-6, rel=1e-12)


def cell_lines(text: str, shape: tuple[int, int]) -> np.ndarray:
    """Return thresholds `[wordlines, bitlines]` of all `Xi_j` lines of a deck; each cell is in it once."""
    found = re.findall(r"^X(\d+)_(\d+) .* vt=(\S+)$", text, re.MULTILINE)
    assert len(found) == shape[0] * shape[1]
    thresholds = np.full(shape, np.nan)
    for i, j, volts in found:
        thresholds[int(i), int(j)] = float(volts)
    return thresholds


@given(arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.floats(1e-300, 20.0)))
def test_thresholds_are_read_back_bit_for_bit(thresholds: np.ndarray) -> None:
    cell = Cell("res_cell", ".subckt res_cell d g s b vt=3\nR1 d s {vt}\n.ends", "", "vt", 0.0, 20.0)
    tile = Tile(thresholds, cell, Wires(0.1, 0.2, 0.3, 0.4, 2, 2))
    stimulus = Stimulus(np.zeros((1, tile.wordlines)), np.zeros((1, tile.bitlines)))
    for text in (deck(tile, stimulus), str(circuit(tile, stimulus))):
        assert np.array_equal(cell_lines(text, thresholds.shape).view(np.uint64), thresholds.view(np.uint64))


@given(arrays(np.float64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.floats(-10, 10)))
def test_drive_volts_are_read_back_bit_for_bit(volts: np.ndarray) -> None:
    cell = Cell("res_cell", ".subckt res_cell d g s b vt=3\nR1 d s {vt}\n.ends", "", "vt", 0.0, 20.0)
    text = deck(Tile([[3.0]], cell, Wires()), Stimulus(volts[:, :1], volts[:, 1:])).replace("\n+ ", "")
    for node, column in (("wl0", volts[:, 0]), ("drive0", volts[:, 1])):
        constant = re.search(rf"^V{node} {node} 0 (\S+)$", text, re.MULTILINE)
        stepped = re.search(rf"^B{node} {node} 0 V=pwl\(v\(idx\),(.*)\)$", text, re.MULTILINE)
        if constant:
            assert (column == float(constant.group(1))).all()
        else:
            assert stepped is not None
            points = np.array([float(part) for part in stepped.group(1).split(",")]).reshape(-1, 2)
            assert np.array_equal(points, np.column_stack([np.arange(len(column)), column]))


def test_many_reads_are_driven_each_with_its_own_volts(resistor_cell: Cell) -> None:
    """This includes tables wrapped over several lines, and any order of volts."""
    volts = np.random.default_rng(0).uniform(-1, 1, (150, 2))
    currents = read(Tile([[1.0, 2.0]], resistor_cell, Wires(strap_every=1)), Stimulus(np.zeros((150, 1)), volts))
    np.testing.assert_allclose(currents.bitline, volts / [1e5, 2e5], rtol=1e-9, atol=1e-17)


def test_no_line_is_longer_than_an_editor_shows(resistor_cell: Cell) -> None:
    volts = np.random.default_rng(0).uniform(-1, 1, (150, 40))
    tile = Tile(np.full((3, 40), 5.0), resistor_cell, Wires(0.1, 0.2, 0.3, 0.4))
    text = deck(tile, Stimulus(np.zeros((150, 3)), volts))
    assert max(len(line) for line in text.splitlines()) <= 120


def test_header_states_size_wires_and_how_to_run() -> None:
    tile, stimulus = bit_serial()
    header = deck(tile, stimulus).split("\n*\n", 2)[1]
    for part in ("4 wordlines x 5 bitlines, 8 reads", "0.4 ohm per segment", "straps every 3 bitlines", "ngspice -b"):
        assert part in header


def test_temperature_is_in_celsius_in_the_deck() -> None:
    chip = load_chip("etox65", ("temperature=85 degC",))
    text = deck(Tile([[4.0]], chip.cell, Wires()), Stimulus([[5.0]], [[0.5]]))
    assert re.search(r"^\.options .* temp=85.0$", text, re.MULTILINE)
