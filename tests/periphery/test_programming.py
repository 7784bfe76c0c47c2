"""Program-verify on cells with a known law, and on the cell of the preset chip."""

from __future__ import annotations

import numpy as np
import pytest

from norsim.array.cell import Cell
from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.programming import cell_amps, curve, program_levels, tracked_volts
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError, SolveError
from norsim.periphery.programming import find_levels, threshold_curve

WINDOW = {"subcircuit": "c", "netlist": ".subckt c d g s b\n.ends", "models": "", "state": "vt"}
CELL = Cell(**WINDOW, erased_volts=3.0, programmed_volts=6.0)


def softplus(cell: Cell, volts: np.ndarray) -> np.ndarray:
    """Return currents linear below 4.5 V of threshold, exponential above, as of a transistor at 5 V on its gate."""
    return 1e-6 * np.log1p(np.exp((4.5 - volts) / 0.1))


def test_levels_of_a_known_law_are_its_inverse() -> None:
    target = np.linspace(0.0, 8e-6, 16)
    levels = find_levels(CELL, target, softplus)
    inverse = 4.5 - 0.1 * np.log(np.expm1(target[1:] / 1e-6))
    np.testing.assert_allclose(levels.thresholds[1:], inverse, atol=2e-9)
    np.testing.assert_allclose(levels.achieved_amps[1:], target[1:], rtol=1e-7)
    assert levels.worst_error < 1e-7
    assert (np.diff(levels.thresholds) < 0).all()


def test_no_current_is_the_fully_programmed_cell_and_its_leak_is_owned_up_to() -> None:
    levels = find_levels(CELL, np.array([0.0, 1e-9]), softplus)
    assert levels.thresholds[0] == 6.0
    assert levels.achieved_amps[0] == softplus(CELL, np.array([6.0]))[0]
    assert levels.worst_error == pytest.approx(levels.achieved_amps[0] / 1e-9, rel=1e-6)


def test_the_ends_of_the_window_can_be_programmed() -> None:
    ends = softplus(CELL, np.array([6.0, 3.0]))
    assert find_levels(CELL, ends, softplus).thresholds == pytest.approx([6.0, 3.0], abs=1e-8)


@pytest.mark.parametrize("target", [16e-6, 1e-14])
def test_a_level_out_of_reach_says_what_the_window_gives(target: float) -> None:
    with pytest.raises(ConfigurationError, match=rf"{target:.4g} A cannot be programmed.*1.5e-05 A erased") as caught:
        find_levels(CELL, np.array([0.0, 1e-6, target]), softplus)
    assert "3.059e-13 A programmed" in str(caught.value)


@pytest.mark.parametrize("leak", [0.0, -1e-18, 1e-18])
def test_a_cell_that_cuts_off_sharply_is_programmed_all_the_same(leak: float) -> None:
    """Beyond cut-off a solver returns zero, or noise of either sign."""
    levels = find_levels(CELL, np.linspace(0.0, 1e-6, 5), lambda _, volts: 1e-6 * np.maximum(4.5 - volts, 0.0) + leak)
    np.testing.assert_allclose(levels.thresholds, [6.0, 4.25, 4.0, 3.75, 3.5], atol=1e-8)


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_the_preset_chip_is_programmed_to_a_millionth(encoding: str) -> None:
    chip = load_chip("etox65", (f"encoding={encoding}",))
    levels = program_levels(chip.cell, chip.encoding)
    assert levels.worst_error < 1e-6
    assert np.array_equal(levels.target_amps, chip.encoding.level_amps)
    assert (np.diff(levels.thresholds) < 0).all() and len(levels.thresholds) == 16
    assert levels.thresholds.max() <= 6.0 and levels.thresholds.min() >= 3.0
    gate, drain = chip.encoding.verify_volts
    row = Tile(levels.thresholds[None, :], chip.cell, Wires(strap_every=1))
    single = read(row, Stimulus([[gate]], np.full((1, 16), drain))).bitline[0]
    np.testing.assert_allclose(single, chip.encoding.level_amps, atol=1e-6 * chip.encoding.level_amps.max())


def test_levels_that_the_preset_cell_cannot_reach_are_refused() -> None:
    chip = load_chip("etox65", ("bit_serial.top_level=1 mA",))
    with pytest.raises(ConfigurationError, match="cannot be programmed"):
        program_levels(chip.cell, chip.encoding)


def test_the_cell_at_another_temperature_is_programmed_anew() -> None:
    hot, cold = (load_chip("etox65", (f"temperature={celsius} degC",)) for celsius in (85, 27))
    levels = [program_levels(chip.cell, chip.encoding).thresholds for chip in (hot, cold)]
    assert np.abs(levels[0][1:] - levels[1][1:]).max() > 1e-3


def test_the_curve_turns_currents_back_into_thresholds() -> None:
    thresholds = np.linspace(2.0, 6.5, 400)
    found = threshold_curve(CELL, softplus)(softplus(CELL, thresholds))
    np.testing.assert_allclose(found, thresholds, atol=2e-6)


def test_beyond_its_ends_the_curve_gives_a_programmed_or_the_lowest_threshold() -> None:
    def leaky(cell: Cell, volts: np.ndarray) -> np.ndarray:
        return np.maximum(softplus(cell, volts), 1e-13)

    found = threshold_curve(CELL, leaky)(np.array([0.0, 1e-14, 1.0]))
    assert found[0] == found[1] >= 6.0
    assert found[2] == pytest.approx(1.5)


def test_a_cell_whose_current_does_not_fall_has_no_curve() -> None:
    with pytest.raises(SolveError, match="does not fall"):
        threshold_curve(CELL, lambda _, volts: volts)


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_the_preset_cells_curve_passes_through_its_levels(encoding: str) -> None:
    chip = load_chip("etox65", (f"encoding={encoding}",))
    levels = program_levels(chip.cell, chip.encoding)
    first = 1 if encoding == "bit-serial" else 0
    found = curve(chip.cell, chip.encoding)(levels.target_amps[first:])
    np.testing.assert_allclose(found, levels.thresholds[first:], atol=1e-6)


@pytest.mark.parametrize("celsius", [-40, 85])
def test_tracking_keeps_the_reference_cells_current(celsius: int) -> None:
    """A hot transistor has a lower threshold and a lower mobility; at this level the threshold dominates."""
    cold, hot = (load_chip("etox65", (f"temperature={at} degC",)).cell for at in (27, celsius))
    levels = program_levels(cold, load_chip("etox65").encoding)
    threshold, amps = float(levels.thresholds[8]), float(levels.target_amps[8])
    untracked = cell_amps(hot, np.array([threshold]), 5.0, 0.5)[0]
    volts = tracked_volts(hot, threshold, amps, 5.0, 0.5)
    assert abs(untracked / amps - 1) > 0.005
    assert (volts < 5.0) == (untracked > amps)
    assert cell_amps(hot, np.array([threshold]), volts, 0.5)[0] == pytest.approx(amps, rel=1e-5)


def test_a_reference_that_nothing_brings_back_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no wordline volts between"):
        tracked_volts(load_chip("etox65").cell, 6.0, 1e-3, 5.0, 0.5)
