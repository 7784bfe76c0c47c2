"""Mismatch of gain and slope: nothing changes under the verify read, and what changes elsewhere is ngspice's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from norsim.array.cell import Cell
from norsim.array.draw import Draw
from norsim.array.non_idealities.current_spreads import CurrentSpread, CurrentSpreads
from norsim.array.non_idealities.transistor_mismatch import TransistorMismatch
from norsim.array.tile import Stimulus, Tile
from norsim.array.variation import CellCurves, Silicon
from norsim.array.wires import Wires
from norsim.backends.programming import cell_amps, program_levels
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.chip.model import Chip
from norsim.periphery.programming import find_levels
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.grid import place
from norsim.tiling.program import ProgrammedTile, program_tile

DRAW = Draw(3, 1)
MakeLayer = Callable[..., QuantizedLayer]


def test_moments_of_gain_and_slope() -> None:
    mismatch = TransistorMismatch(0.1, 0.02)
    gains, slopes = mismatch.gains((400, 500), DRAW), mismatch.slopes((400, 500), DRAW)
    assert gains is not None and slopes is not None and gains.min() > 0
    # Five standard errors of 200,000 cells.
    assert gains.mean() == pytest.approx(1.0, abs=5 * 0.1 / 447)
    assert gains.std() == pytest.approx(0.1, rel=5 / 632)
    assert slopes.mean() == pytest.approx(0.0, abs=5 * 0.02 / 447)
    assert slopes.std() == pytest.approx(0.02, rel=5 / 632)
    assert abs(np.corrcoef(gains.ravel(), slopes.ravel())[0, 1]) < 5 / 447
    assert TransistorMismatch().gains((2, 2), DRAW) is None and TransistorMismatch().slopes((2, 2), DRAW) is None


def programmed(make_layer: MakeLayer, *settings: str, encoding: str = "bit-serial") -> tuple[Chip, ProgrammedTile]:
    size = ("tile.wordlines=12", "tile.bitlines=12", f"encoding={encoding}")
    chip = load_chip("etox65", (*size, *settings)).specimen(1, 0)
    inputs, outputs = chip.encoding.capacity(12, 12)
    return chip, program_tile(place(make_layer(inputs, outputs), chip).tiles[0])


def alone(tile: Tile, gate_volts: float, drain_volts: float) -> np.ndarray:
    """Read every cell of a tile alone, on lossless wires, by ngspice: `[wordlines, bitlines]` amperes."""
    gains = np.ones(tile.thresholds.shape) if tile.gains is None else tile.gains
    row = Tile(
        tile.thresholds.reshape(1, -1), tile.cell, Wires(strap_every=1), gains=gains.reshape(1, -1)
    )  # fmt: skip
    stimulus = Stimulus([[gate_volts]], np.full((1, row.bitlines), drain_volts))
    return read(row, stimulus, "ngspice").bitline.reshape(tile.thresholds.shape)


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_under_the_verify_read_cells_conduct_their_targets(make_layer: MakeLayer, encoding: str) -> None:
    chip, plain = programmed(make_layer, encoding=encoding)
    _, mismatched = programmed(
        make_layer, "silicon.gain_mismatch=0.1", "silicon.slope_mismatch=0.05", encoding=encoding
    )  # fmt: skip
    tile, gate, drain = mismatched.tile, *chip.encoding.verify_volts
    assert tile.gains is not None and tile.gains.std() == pytest.approx(0.1, rel=0.3)
    targets = alone(plain.tile, gate, drain)
    top = targets.max()
    # A weak cell may need a threshold below the window: it stays at its end.
    reached = tile.thresholds > chip.cell.erased_volts
    assert reached.mean() > 0.9
    assert np.abs(alone(tile, gate, drain) - targets)[reached].max() <= 1e-5 * top
    # At other gate volts, a gain changes what a threshold alone would not.
    others = [alone(part.tile, gate - 0.2, drain) for part in (plain, mismatched)]
    assert np.abs(others[0] - others[1])[reached].max() > 1e-2 * top


def test_gain_away_from_the_verify_read_is_that_of_a_scaled_cell(make_layer: MakeLayer) -> None:
    """g I(V_T) at lower gate volts, with I from single cells and V_T found by bisection."""
    chip, array = programmed(make_layer, "silicon.gain_mismatch=0.1")
    levels = program_levels(chip.cell, chip.encoding)
    gate, drain = chip.encoding.verify_volts
    gains = array.tile.gains
    assert gains is not None
    i, j = np.argwhere((array.tile.thresholds < 4.5) & (array.tile.thresholds > chip.cell.erased_volts))[0]
    _, plain = programmed(make_layer)
    target = levels.target_amps[np.abs(levels.thresholds - plain.tile.thresholds[i, j]).argmin()]
    low, high = chip.cell.erased_volts, chip.cell.programmed_volts
    for _ in range(40):
        middle = (low + high) / 2
        conducts = gains[i, j] * cell_amps(chip.cell, np.array([middle]), gate, drain)[0] > target
        low, high = (middle, high) if conducts else (low, middle)
    assert array.tile.thresholds[i, j] == pytest.approx(low, abs=2e-6)
    expected = gains[i, j] * cell_amps(chip.cell, np.array([low]), gate - 0.3, drain)[0]
    assert alone(array.tile, gate - 0.3, drain)[i, j] == pytest.approx(expected, rel=1e-4)


def test_a_slope_is_that_of_a_cell_whose_gate_is_stretched() -> None:
    """A subcircuit puts V_T + (V_G - V_T)(1 + s) on the cell's gate; ngspice verifies it at 5 V and reads it at others,
    with its source at ground and above it. In BSIM4 the mobility depends on the threshold itself, so a threshold is not
    exactly a gate voltage: up to 3 % of the effect is missing."""
    chip = load_chip("etox65")
    cell, slope, (gate, drain) = chip.cell, 0.04, chip.encoding.verify_volts
    text = (
        f"{cell.netlist}\n.subckt stretched d g s b vt=3\nBgate gate 0 V={{vt}}+(V(g)-({{vt}}))*{1 + slope}\n"
        f"Xcell d gate s b {cell.subcircuit} {cell.state}={{vt}}\n.ends stretched\n"
    )
    stretched = replace(cell, subcircuit="stretched", netlist=text, state="vt")
    level = 4.0
    target = cell_amps(cell, np.array([level]), gate, drain)
    levels = find_levels(stretched, target, lambda one, volts: cell_amps(one, volts, gate, drain))
    verified = float(levels.thresholds[0])
    assert verified == pytest.approx(gate - (gate - level) / (1 + slope), abs=2e-3)
    for volts, source in ((4.7, 0.0), (5.3, 0.0), (4.7, 0.05)):
        shifted = level - slope * (volts - gate)
        stimulus = Stimulus([[volts]], [[drain]], source_volts=source)
        found, expected, without = (
            read(Tile([[threshold]], one, Wires(strap_every=1)), stimulus, "ngspice").bitline[0, 0]
            for one, threshold in ((cell, shifted), (stretched, verified), (cell, level))
        )
        effect = abs(without / expected - 1)
        assert effect > 0.015
        assert abs(found / expected - 1) <= 0.03 * effect


def test_slope_mismatch_moves_thresholds_by_what_the_gate_lacks(make_layer: MakeLayer) -> None:
    slopes = (
        "silicon.slope_mismatch=0.05",
        "bit_serial.wires.wordline=20 kohm",
        "bit_serial.wires.wordline_farads=15 fF",
    )
    late = "bit_serial.wordline_rise=50 ns"
    chip, settled = programmed(make_layer, *slopes)
    _, lagging = programmed(make_layer, *slopes, late)
    _, plain = programmed(make_layer, late, *slopes[1:])
    _, ideal = programmed(make_layer)
    assert np.array_equal(settled.tile.thresholds, ideal.tile.thresholds)
    lag = plain.tile.thresholds - ideal.tile.thresholds
    part = place(make_layer(*chip.encoding.capacity(12, 12)), chip).tiles[0]
    s = TransistorMismatch(0.0, 0.05).slopes(lag.shape, part.draw)
    assert s is not None
    inside = lagging.tile.thresholds < chip.cell.limits[1] - 1e-9
    assert 1e-3 < lag.max() and inside.all()
    # The gate lacks `lag`, so it is below the verify volts by it.
    np.testing.assert_allclose(lagging.tile.thresholds - plain.tile.thresholds, s * lag, rtol=0, atol=1e-9)


def test_spreads_in_current_are_those_of_the_cell_with_its_gain(make_layer: MakeLayer) -> None:
    """A cell of 1 uA per volt below 6 V: current by current, cells with gains end where cells without do."""
    cell = Cell("any", ".subckt any d g s b\n.ends", "", "vt", erased_volts=3.0, programmed_volts=6.0)
    silicon = Silicon((CurrentSpreads(CurrentSpread(20e-9, 176e-9)),))
    target = np.full((50, 60), 500e-9)
    gains = TransistorMismatch(0.2).gains(target.shape, DRAW)

    def threshold_of(amps: np.ndarray) -> np.ndarray:
        return 6.0 - amps / 1e-6

    curves = CellCurves(threshold_of, threshold_of, lambda _: 4.5e-6, lambda: 0.0)
    plain = silicon.thresholds(threshold_of(target), target, cell, curves, DRAW)
    scaled = silicon.thresholds(threshold_of(target / gains), target, cell, curves, DRAW, gains)
    np.testing.assert_allclose(gains * (6.0 - scaled), 6.0 - plain, rtol=1e-12)
    assert (6.0 - plain).std() > 0.01


def test_programming_in_place_on_lossless_wires_finds_what_program_verify_does(
    make_layer: MakeLayer, lossless: tuple[str, ...]
) -> None:
    settings = (*lossless, "silicon.gain_mismatch=0.1")
    _, verified = programmed(make_layer, *settings)
    _, in_place = programmed(make_layer, *settings, "silicon.in_situ=true")
    assert np.array_equal(verified.tile.gains, in_place.tile.gains)
    np.testing.assert_allclose(in_place.tile.thresholds, verified.tile.thresholds, rtol=0, atol=2e-4)
