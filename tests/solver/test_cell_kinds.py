"""Cells of other kinds than the presets': nodal agrees with ngspice on each, including kinks and switches."""

from __future__ import annotations

import numpy as np
import pytest

from norsim.array.cell import Cell
from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.programming import program_levels
from norsim.backends.registry import read
from norsim.periphery.bit_serial import BitSerial

SQUARE_LAW = Cell(
    "square",
    ".subckt square d g s b vt=2\nVshift g gate {vt-1}\nMcell d gate s b sq w=1u l=5u\n.ends square",
    ".model sq nmos level=1 vto=1 kp=20u gamma=0.3 phi=0.6 lambda=0.05 is=1e-18",
    "vt", 2.0, 3.2,
)  # fmt: skip
NESTED_BSIM3 = Cell(
    "outer",
    ".subckt inner d g s b shift=0 w=1u\n"
    "Mcell d g s b b3 w={w} l=0.2u ad=0.01p as=0.01p pd=1u ps=1u delvto={shift}\n.ends inner\n"
    ".subckt outer d g s b vt=3\nXcell d g s b inner shift={vt-0.8} w=0.07u\n.ends outer",
    ".model b3 nmos level=8 version=3.3.0 tox=9n vth0=0.8 nch=3e17 u0=200 vsat=1e5",
    "vt", 1.0, 4.0,
)  # fmt: skip
RERAM = Cell(
    "reram",
    ".subckt reram d g s b gap=0\nRfilament d m {1/(1e-4*(1-gap)+1e-6)}\nSselect m s g s pass off\n.ends reram",
    ".model pass sw vt=0.9 vh=0.1 ron=2k roff=1e12",
    "gap", 0.0, 1.0,
)  # fmt: skip
CELLS = {
    "square law": (SQUARE_LAW, BitSerial(3.0, 0.5, 1.2e-6, "reference", 16)),
    "BSIM3 in a nested subcircuit": (NESTED_BSIM3, BitSerial(3.0, 0.5, 1.0e-6, "reference", 16)),
    "ReRAM": (RERAM, BitSerial(3.0, 0.1, 6.0e-6, "reference", 16)),
}
# Few of the 16 codes, because the simulator is swept for each; the square law has its kink within all of them.
CODES = (0, 3, 9, 15)
# Resistive enough for drops beyond the kink of a cell that is just saturated.
WIRES = Wires(100.0, 400.0, 400.0, 10.0, rows_per_source_line=2, strap_every=8)


@pytest.mark.parametrize(("cell", "encoding"), CELLS.values(), ids=CELLS.keys())
def test_nodal_is_within_1e_5_of_full_scale_of_ngspice(cell: Cell, encoding: BitSerial) -> None:
    levels = program_levels(cell, encoding)
    # Code 0 is the programmed cell, and a resistor still conducts.
    assert np.abs(levels.achieved_amps - levels.target_amps)[1:].max() <= 1e-6 * levels.target_amps.max()
    random = np.random.default_rng(3)
    thresholds = levels.thresholds[random.choice(CODES, (16, 8))]
    tile = Tile(thresholds, cell, WIRES)
    gate, drain = encoding.verify_volts
    stimulus = Stimulus(gate * (random.random((12, 16)) < 0.6), np.full((12, 8), drain))
    exact, found = read(tile, stimulus, "ngspice"), read(tile, stimulus, "nodal")
    full_scale = encoding.level_amps.max() * tile.wordlines
    assert np.abs(found.bitline - exact.bitline).max() <= 1e-5 * full_scale
    # Wires matter here: lossless wires would give far different currents.
    ideal = read(Tile(thresholds, cell, Wires(strap_every=8)), stimulus, "ngspice")
    assert np.abs(ideal.bitline - exact.bitline).max() >= 1e-3 * full_scale
