"""Names in a cell's files and in norsim's decks: neither changes the other, or the files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError
from norsim.spice.deck import deck
from norsim.spice.dialects import hspice, xyce
from norsim.spice.simulators.ngspice import drain_amps
from tests.faults.kit_files import C, K, by_norsim, same, write

WIDTH = "w={half(0.6u)*factor}"


NAMES = (
    "vt", "vtun", "temp", "gmin", "reltol", "time", "hertz", "d", "g", "s", "b", "gate", "xcell", "vstate", "idx",
    "scale", "tnom", "bl0", "norsim",
)  # fmt: skip


def test_parameters_of_the_kit_keep_their_values_whatever_their_names(tmp_path: Path) -> None:
    given, total = " ".join(f"{name}=0.1" for name in NAMES), "+".join(NAMES)
    hand = same(
        tmp_path, (K, ".param kit_vth0=0.40", f".param {given} kit_vth0=0.40"), (C, WIDTH, f"w={{({total})*0.3u}}")
    )  # fmt: skip
    usual = tmp_path / "usual"
    usual.mkdir()
    assert hand > 1.1 * same(usual)


def test_a_parameter_called_vt_is_not_the_threshold(tmp_path: Path) -> None:
    """2.060308e-05 A, as ngspice alone; the wrapper's own parameter would make it 1.9 times as much."""
    hand = same(tmp_path, (K, ".param kit_vth0=0.40", ".param vt=0.1 kit_vth0=0.40"), (C, WIDTH, "w={vt*3u}"))
    assert hand == pytest.approx(2.060308e-05, rel=1e-6)


FOUR = ".include cell.sp\n.subckt four d g s b shift=0\nXfour d s g split_gate shift={shift}\n.ends\n"


def test_a_cell_that_needs_no_wrapper_has_its_own_names_only(tmp_path: Path) -> None:
    write(
        tmp_path, (K, ".param kit_vth0=0.40", ".param vt=0.1 kit_vth0=0.40"), (C, WIDTH, "w={vt*3u}"),
        subcircuit="four", pins=["drain", "gate", "source", "bulk"], state="shift", erased="0 V", programmed="2 V",
        state_erased=None, state_programmed=None,
        others={"four.sp": FOUR},
        netlist="four.sp",
    )  # fmt: skip
    cell = load_chip(tmp_path / "mine.yaml").cell
    assert "norsim_" not in f"{cell.models}{cell.netlist}" and cell.state == "shift"
    usual = tmp_path / "usual"
    usual.mkdir()
    amps = drain_amps(cell, *(np.array([volts]) for volts in (1.2, 0.5, 0.0, 0.0)))[0]
    assert amps == pytest.approx(same(usual), rel=1e-6)


def test_internal_nodes_of_the_wrapper_are_not_those_of_the_kit(tmp_path: Path) -> None:
    """A global node called like a pin, a gate or a bias is the user's alone."""
    same(tmp_path, (C, ".param lsel", ".global gate bias3 norsimx\n.param lsel"), (C, " x ", " gate "))


def test_a_source_outside_subcircuits_drives_its_global_node(tmp_path: Path) -> None:
    hand = same(
        tmp_path, (C, ".param lsel", ".global vdd\nVdd vdd 0 0.2\n.param lsel"), (C, ".ends split_gate",
                                                                                "Rdd vdd x 10k\n.ends split_gate"),
    )  # fmt: skip
    assert hand < 2e-5


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        ((C, "storage", "norsim_cell"), r"cell\.sp, line 3: .* Rename norsim_cell"),
        ((C, "l={lsel}", "l={norsim_vt*1u}"), r"cell\.sp, line 8: .* Rename norsim_vt"),
        ((C, "lsel", "NORSIM_L"), r"cell\.sp, line 2: .* Rename NORSIM_L"),
        ((C, ".param lsel", ".global bl0\n.param lsel"), r"cell\.sp, line 2: .*bl0 is a node of norsim's decks"),
        ((C, ".param lsel", ".global x sl1_5, st0_2\n.param lsel"), r"line 2: .*sl1_5 is a node of norsim's decks"),
        ((C, ".param lsel", "Rx a wl3 1k\n.param lsel"), r"line 2: .*wl3 is a node of norsim's decks"),
        ((C, ".param lsel", "Vret a 0 1\n.param lsel"), r"line 2: .*it has the name of an element"),
        ((C, ".param lsel", "X0_0 a a a split_gate\n.param lsel"), r"line 2: .*it has the name of an element"),
        ((K, ".func half", ".func v"), r"kit\.lib, line 11: .*own function v. Rename it"),
        ((K, ".func half(a)", ".FUNC  PWL(a,b)"), r"kit\.lib, line 11: .*own function pwl"),
        ((K, ".func half(a)", ".func i(x)"), r"kit\.lib, line 11: .*own function i"),
    ],
)
def test_a_name_that_would_clash_is_refused_with_its_line(
    tmp_path: Path, edit: tuple[str, str, str], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load_chip(write(tmp_path, edit))


def test_a_function_or_node_inside_a_subcircuit_can_have_any_name(tmp_path: Path) -> None:
    same(tmp_path, (C, " x ", " bl0 "), (C, "Mselect", "Rret bl0 sl 1meg\nMselect"))


@pytest.mark.parametrize("card", [".temp 85", ".options temp=85", ".OPTION reltol = 1", ".dc vd 0 1 1", ".tran 1n 1u"])
@pytest.mark.parametrize("trust", [False, True])
def test_a_file_cannot_change_the_analysis_even_if_it_is_trusted(tmp_path: Path, card: str, trust: bool) -> None:
    chip = write(tmp_path, (C, ".param lsel", f"{card}\n.param lsel"))
    with pytest.raises(ConfigurationError, match=r"cell\.sp, line 2"):
        load_chip(chip, trust_cell=trust)


def test_the_end_of_a_file_and_its_title_are_no_end_of_the_deck(tmp_path: Path) -> None:
    same(tmp_path, (C, ".param lsel", ".title a cell\n.csparam c=2\n.end\n.param lsel"), (C, ".ends split_gate",
                                                                          ".ends split_gate\n.END"))  # fmt: skip


def test_a_parameter_given_in_the_chip_file_is_not_defined_again_by_the_kit(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cell\.params\.factor has no effect: .*kit\.lib, line 3"):
        load_chip(write(tmp_path, params={"factor": 3}))
    chip = write(tmp_path, (K, " factor=1", ""), (K, " factor=2", ""), params={"factor": 1})
    other = tmp_path / "other"
    other.mkdir()
    assert by_norsim(chip) == pytest.approx(same(other), rel=1e-9)


EKV = """* ekv.sp
.param vt=0.7
.subckt inner d s g vt0=1
Bcell d s I=1e-5*(v(g,s)-vt0-vt)*v(d,s)
.ends
"""


def test_decks_in_other_dialects_keep_the_names_apart_too(tmp_path: Path) -> None:
    """A kit's vt is renamed for Xyce, where it is reserved, and norsim's own parameter is another."""
    chip = write(
        tmp_path, others={"ekv.sp": EKV}, netlist="ekv.sp", models=[], subcircuit="inner", state="vt0",
        pins=["drain", "source", "gate"], erased="1 V", programmed="2 V", state_erased="1 V", state_programmed="2 V",
    )  # fmt: skip
    tile = Tile([[1.2, 1.5]], load_chip(chip).cell, Wires(strap_every=1))
    stimulus = Stimulus([[3.0], [0.0]], np.full((2, 2), 0.5))
    for text, own in (
        (deck(tile, stimulus), "vt"),
        (hspice.deck(tile, stimulus), "vt"),
        (xyce.deck(tile, stimulus), "vt_"),
    ):
        calls = [line for line in text.split("\n") if line.startswith("X0_")]
        assert len(calls) == 2 and all("norsim_cell" in call and "norsim_vt=" in call for call in calls)
        assert f".param {own}=0.7" in text and f"-{own})" in text
