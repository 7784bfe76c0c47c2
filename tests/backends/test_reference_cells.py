"""Cells over temperature: measured tables, the neutral threshold, and the reference of converters and drivers.

Every current here is one of ngspice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from norsim.array.cell import Cell
from norsim.array.tile import Floats
from norsim.backends.programming import cell_amps, neutral_volts, program_levels
from norsim.backends.reference_cells import drivers, reference_amps, reference_ratio
from norsim.chip.load import load_chip
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.grid import place

MakeLayer = Callable[..., QuantizedLayer]
SmallChip = Callable[..., Chip]

HOT = ("silicon.programmed_at=27 degC", "temperature=85 degC")
COLUMNS = "time_s,temperature_c,target_a,mean_a,sigma_a\n"


def amps_of(chip: Chip, layer: QuantizedLayer) -> tuple[Floats, Floats]:
    """Return the targets and the currents, in a read, of the single cells of a layer on one tile."""
    grid = place(layer, chip).program()
    (part,), (array,) = grid.tiles, grid.arrays
    _, drain = chip.encoding.verify_volts
    volts = array.tile.thresholds
    amps = cell_amps(array.tile.cell, volts.ravel(), array.encoding.wordline_volts, drain)
    return array.levels.target_amps[part.cell_codes()], amps.reshape(volts.shape)


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Return a setting with a table of cells that conduct 10 % more at 85 degC, and 20 % less after a day."""
    rows = [
        f"{time},{celsius},{target},{target * (1 + 0.1 * (celsius > 27)) * (1 - 0.2 * (time > 0))},0\n"
        for time in (0, 86400) for celsius in (27, 85) for target in (0, 1e-7, 1.6e-6)
    ]  # fmt: skip
    (tmp_path / "cells.csv").write_text(COLUMNS + "".join(rows))
    return f"silicon.measured={tmp_path / 'cells.csv'}"


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
@pytest.mark.parametrize(("time", "factor"), [("0 s", 1.1), ("1 day", 0.88)])
def test_cells_conduct_the_current_of_the_table_at_its_temperature(
    small_chip: SmallChip, make_layer: MakeLayer, table: str, encoding: str, time: str, factor: float
) -> None:
    """Temperature counts once: it is in the table, and the model of the cell adds nothing to it."""
    chip = small_chip(*HOT, table, f"encoding={encoding}", f"silicon.time={time}")
    target, amps = amps_of(chip, make_layer(4, 3))
    on = target > 0
    assert on.sum() > 6
    np.testing.assert_allclose(amps[on], factor * target[on], rtol=1e-4)
    assert (np.abs(amps[~on]) < 1e-4 * target.max()).all()


def test_without_a_table_the_temperature_is_that_of_the_cell_model(small_chip: SmallChip) -> None:
    """A cell's current changes by a factor that depends on its level."""
    chip = small_chip(*HOT)
    levels = program_levels(chip.verify_cell, chip.encoding)
    hot = cell_amps(chip.cell, levels.thresholds, *chip.encoding.verify_volts)
    assert hot[1] / levels.target_amps[1] == pytest.approx(1.94, abs=0.01)
    assert hot[15] / levels.target_amps[15] == pytest.approx(1.06, abs=0.01)


def test_leaking_cells_of_a_table_leak_what_it_says(
    small_chip: SmallChip, make_layer: MakeLayer, tmp_path: Path
) -> None:
    rows = [f"0,85,{target},{max(target, 1e-9)},0\n" for target in (0, 1.6e-6)]
    (tmp_path / "cells.csv").write_text(COLUMNS + "".join(rows))
    target, amps = amps_of(
        small_chip(*HOT, f"silicon.measured={tmp_path / 'cells.csv'}"), make_layer(4, 3, weight_zero=0)
    )
    assert (target == 0).any()
    np.testing.assert_allclose(amps[target == 0], 1e-9, rtol=1e-3)


def cell_with(**settings: str) -> Cell:
    return load_chip("etox65", {key.replace("__", "."): value for key, value in settings.items()}).cell


def test_the_neutral_threshold_is_that_of_a_cell_without_charge() -> None:
    """For the preset it is 0.8 V / 0.6; a cell there conducts as one whose netlist has no shift at all."""
    cell = load_chip("etox65").cell
    neutral = neutral_volts(cell)
    assert neutral == pytest.approx(0.8 / 0.6, abs=1e-9)
    shift = "delvto={ag*vt-vth0}"
    assert cell.netlist.count(shift) == 1
    unshifted = replace(cell, netlist=cell.netlist.replace(shift, "delvto=0"))
    for gate in (1.0, 2.5, 5.0):
        one, other = (
            cell_amps(replace(some, lowest_volts=1.0), np.array([neutral]), gate, 0.5)[0] for some in (cell, unshifted)
        )
        assert one == pytest.approx(other, rel=1e-6)
    assert neutral_volts(load_chip("bsim3").cell) == pytest.approx(0.8, abs=1e-9)
    shifted = cell_with(cell__netlist="threshold_shift.sp", cell__subcircuit="threshold_shift")
    assert neutral_volts(shifted) == pytest.approx(0.8, abs=1e-9)


def test_a_state_that_is_a_charge_is_neutral_at_0(tmp_path: Path) -> None:
    """The state is 1 fC at 3 V and 4 fC at 6 V, so 0 at 2 V."""
    (tmp_path / "charge.sp").write_text(
        ".subckt charge d g s b q=1f\nB1 d s I=1e-6*max(v(g,b)-2-q*1e15,0)*v(d,s)\n.ends\n"
    )
    ends = {"cell.state_erased": "1 fC", "cell.state_programmed": "4 fC", "cell.state": "q"}
    files = {"cell.netlist": str(tmp_path / "charge.sp"), "cell.subcircuit": "charge", "cell.models": []}
    chip = load_chip("etox65", {**files, **ends}, trust_cell=True)
    assert neutral_volts(chip.cell) == pytest.approx(2.0)


def test_a_cell_that_does_not_tell_its_neutral_threshold_needs_the_key(
    small_chip: SmallChip, make_layer: MakeLayer
) -> None:
    linear = ("cell.netlist=linear.sp", "cell.subcircuit=linear", "cell.models=[]", "silicon.time=1 s")
    loss = (*linear, "silicon.lost_a_decade=0.1")
    with pytest.raises(ConfigurationError, match=r"linear without stored charge is not known.*silicon\.neutral"):
        amps_of(small_chip(*loss), make_layer(4, 3))
    _, before = amps_of(small_chip(*linear), make_layer(4, 3))
    _, after = amps_of(small_chip(*loss, "silicon.neutral=2 V"), make_layer(4, 3))
    assert after.max() > 1.01 * before.max()


def test_lost_charge_moves_cells_towards_their_neutral_threshold(small_chip: SmallChip, make_layer: MakeLayer) -> None:
    """Ten seconds lose log10(11) tenths of the charge."""
    layer = make_layer(4, 3)
    before, after = (
        place(layer, small_chip(*settings)).program().arrays[0].tile.thresholds
        for settings in ((), ("silicon.lost_a_decade=0.1", "silicon.time=10 s"))
    )
    np.testing.assert_allclose(after - before, -0.1 * np.log10(11) * (before - 0.8 / 0.6), rtol=0, atol=1e-9)


# Levels whose currents differ by the reference: the encoding's cells for weights 4 above and 4 below zero, which is 8.
PAIRS = {
    "encoding=bit-serial": ((12, 4), 1),
    "mapping.scheme=digital": ((12, 4), 1),
    "mapping.scheme=differential": ((4, 0), 2),
    "encoding=linear-pair": ((4, 0), 2),
}


@pytest.mark.parametrize(("encoding", "pair", "count"), [(key, *pair) for key, pair in PAIRS.items()])
def test_a_ratiometric_reference_is_what_cells_conduct_at_both_temperatures(
    small_chip: SmallChip, encoding: str, pair: tuple[int, int], count: int
) -> None:
    settings = (encoding, "adc.reference=ratiometric", "calibration.fresh=true")
    chip = small_chip(*HOT, *settings)
    levels = program_levels(chip.verify_cell, chip.encoding)
    gate, drain = chip.encoding.verify_volts
    high, low = (
        cell_amps(cell, levels.thresholds[list(pair)], gate, drain) @ [count, -count]
        for cell in (chip.cell, chip.verify_cell)
    )
    assert reference_amps(chip) == pytest.approx(high, rel=1e-9)
    assert reference_ratio(chip) == pytest.approx(high / low, rel=1e-9)
    assert abs(reference_ratio(chip) - 1) > 0.02
    assert reference_ratio(small_chip(*settings)) == 1
    assert reference_ratio(small_chip(*HOT, encoding, "calibration.fresh=true")) == 1
    assert reference_ratio(small_chip(*HOT, *settings[:2])) == 1


def test_a_gain_brings_the_levels_of_linear_pair_back(small_chip: SmallChip) -> None:
    """At 85 degC they miss 22 % of full scale; divided by the reference they are within 1.6 %."""
    chip = small_chip(*HOT, "encoding=linear-pair", "adc.reference=ratiometric", "calibration.fresh=true")
    levels = program_levels(chip.verify_cell, chip.encoding)
    hot, cold = cell_amps(chip.cell, levels.thresholds, *chip.encoding.verify_volts), levels.achieved_amps
    hot, cold = (amps - amps[0] for amps in (hot, cold))
    assert np.abs(hot - cold).max() / cold[-1] == pytest.approx(0.22, abs=0.02)
    assert np.abs(hot / reference_ratio(chip) - cold).max() / cold[-1] == pytest.approx(0.015, abs=0.002)


def test_a_tracked_wordline_keeps_the_current_of_its_reference_cell(small_chip: SmallChip) -> None:
    """And converters follow what the tracked wordlines leave."""
    chip = small_chip(*HOT, "adc.reference=ratiometric", "calibration.fresh=true", "silicon.tracking=true")
    levels = program_levels(chip.verify_cell, chip.encoding)
    gate, drain = drivers(chip, levels).wordline_volts, chip.encoding.verify_volts[1]
    assert abs(gate - chip.encoding.verify_volts[0]) > 0.01
    hot = cell_amps(chip.cell, levels.thresholds[[4, 8, 12]], gate, drain)
    assert hot[1] == pytest.approx(levels.achieved_amps[8], rel=1e-5)
    pair = levels.achieved_amps[12] - levels.achieved_amps[4]
    assert reference_ratio(chip) == pytest.approx((hot[2] - hot[0]) / pair, rel=1e-9)


def test_the_reference_of_measured_cells_is_that_of_the_table(small_chip: SmallChip, table: str) -> None:
    chip = small_chip(*HOT, table, "adc.reference=ratiometric", "calibration.fresh=true", "silicon.time=1 day")
    assert reference_ratio(chip) == pytest.approx(1.1, rel=1e-4)
