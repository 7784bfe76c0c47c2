"""Cells of other kinds by the keys of a chip file: connected, sized and programmed as they say."""

from __future__ import annotations

import numpy as np
import pytest

from norsim.array.tile import Stimulus, Tile
from norsim.backends import cell_amps, program, read
from norsim.config import load_chip
from norsim.errors import ConfigurationError


@pytest.mark.parametrize("name", ["bsim3", "square-law", "reram"])
def test_nodal_is_within_1e_5_of_full_scale_of_ngspice(name: str) -> None:
    chip = load_chip(name)
    levels, random = program(chip.cell, chip.encoding), np.random.default_rng(4)
    # Code 0 is the programmed cell, and a resistor leaks.
    assert np.abs(levels.achieved_amps - levels.target_amps)[1:].max() <= 1e-6 * levels.target_amps.max()
    tile = Tile(levels.thresholds[random.integers(0, 16, (32, 17))], chip.cell, chip.wires)
    gate, drain = chip.encoding.verify_volts
    stimulus = Stimulus(gate * (random.random((6, 32)) < 0.6), np.full((6, 17), drain))
    exact, found = read(tile, stimulus, "ngspice"), read(tile, stimulus, "nodal")
    assert np.abs(found.bitline - exact.bitline).max() <= 1e-5 * levels.target_amps.max() * tile.wordlines


def test_a_parameter_is_what_the_keys_say_at_both_ends() -> None:
    """By hand: a filament of 10 uS and of 0.1 uS, in series with 2 kohm, at 0.2 V."""
    amps = cell_amps(load_chip("reram").cell, np.array([0.0, 1.0]), 2.5, 0.2)
    np.testing.assert_allclose(amps, [0.2 / (1e5 + 2e3), 0.2 / (1e7 + 2e3)], rtol=1e-6)


def test_a_card_without_state_is_shifted_by_volts_before_its_gate() -> None:
    """By hand, the square law in saturation with its body at the source: a threshold of 2 V at 2.4 V conducts what the
    card's 1 V does at 1.4 V."""
    cell = load_chip("square-law").cell
    shifted, bare = (cell_amps(cell, np.array([vt]), gate, 0.5)[0] for vt, gate in ((2.0, 2.4), (1.0, 1.4)))
    assert shifted == pytest.approx(bare, rel=1e-9)
    # 0.4 V over the threshold is less than 0.5 V across: kp W/2L (vgs - vt)^2 (1 + lambda vds).
    assert shifted == pytest.approx(60e-6 / 5 / 2 * 0.4**2 * (1 + 0.05 * 0.5), rel=1e-3)


def test_a_corner_is_a_section_of_its_library() -> None:
    amps = {}
    for corner in ("tt", "ff", "ss"):
        chip = load_chip("bsim3", (f"cell.models=[{{file: generic180.lib, section: {corner}}}]",))
        amps[corner] = cell_amps(chip.cell, np.array([1.8]), 3.0, 0.5)[0]
    assert amps["ss"] < 0.9 * amps["tt"] < 0.9 * amps["ff"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (("cell.model=sq",), "give either `subcircuit`, or `model`"),
        (("cell.pins=[drain, gate, bulk]",), "`pins` has no source"),
        (("cell.pins=[drain, gate, source, lid]",), "expected drain, gate, source, bulk, ground or volts"),
        (("cell.state_erased=null",), "belong together"),
        (("cell.options={gmin: 1e-12}",), "`options` cannot set gmin"),
        (("cell.instance={w: '1u m=2'}",), "expected a number as SPICE has it"),
        (("cell.compatibility='hsa; x'",), "cell.compatibility"),
        (("cell.osdi=[cell.osdi]",), "pass --trust-cell"),
        (("cell.lowest=0.5 V",), "leaves out part of its window"),
        (("cell.models=[{file: generic180.lib, section: fs}]",), "no library section 'fs'"),
    ],
)
def test_what_does_not_fit_is_named(settings: tuple[str, ...], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load_chip("reram" if "lowest" in settings[0] else "bsim3", settings)


def test_the_mode_for_foreign_models_is_given_to_ngspice() -> None:
    """And is part of what the cell is known by; a card that both languages read alike conducts the same."""
    chip = load_chip("bsim3", ("cell.compatibility=hsa", "cell.options={scale: 1}"))
    ours = load_chip("bsim3")
    volts = np.array([1.8])
    assert cell_amps(chip.cell, volts, 3.0, 0.5) == pytest.approx(cell_amps(ours.cell, volts, 3.0, 0.5), rel=1e-9)
    assert chip.cell.digest != ours.cell.digest
