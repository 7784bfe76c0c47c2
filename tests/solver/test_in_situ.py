"""Cells programmed in situ conduct their targets while the tile is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from norsim.backends.programming import aimed, program_levels
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.tiling.grid import place
from norsim.tiling.program import program_tile
from norsim.tiling.tile import PlacedTile
from tests.solver.arrays import ENCODINGS, array_of

# Few of the 16 codes, because programming sweeps the simulator near the threshold of each.
CODES = np.array([0, 4, 8, 15], dtype=np.uint8)
# With the drop of the source lines of a full-size linear-pair tile.
LONG = ("linear_pair.wires.source_line=3 ohm", "linear_pair.wires.bitline=2 ohm")


def of_codes(encoding: str, settings: tuple[str, ...], make_layer: object) -> PlacedTile:
    chip = load_chip(
        "etox65-stress", (f"encoding={encoding}", "tile.wordlines=64", "tile.bitlines=48", *LONG, *settings)
    )
    inputs, outputs = chip.encoding.capacity(64, 48)
    weights = np.random.default_rng(0).choice(CODES, (outputs, inputs))
    return place(make_layer(inputs, outputs, weights=weights), chip).tiles[0]  # type: ignore[operator]


def deviation(part: PlacedTile) -> float:
    """Return the root mean square error of the sums against the integers, in steps, read by ngspice."""
    random = np.random.default_rng(5)
    codes = random.integers(0, 16, (3, len(part.inputs))) * (random.random((3, len(part.inputs))) < 0.5)
    array = program_tile(part)
    amps = part.amps(read(array.tile, array.drive(codes.astype(np.uint8)), "ngspice"))
    exact = part.pass_values(codes.astype(np.uint8)).reshape(amps.shape)
    return float(np.sqrt(np.square(amps / part.chip.encoding.lsb_amps - exact).mean()))


@pytest.mark.parametrize(("encoding", "share"), [("bit-serial", 0.25), ("linear-pair", 0.5)])
def test_sums_come_nearer_to_the_integers(encoding: str, share: float, make_layer: object) -> None:
    """Checked by ngspice, which takes no part in the programming."""
    plain, aimed_at = (of_codes(encoding, settings, make_layer) for settings in ((), ("silicon.in_situ=true",)))
    assert deviation(aimed_at) <= share * deviation(plain)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_without_wires_nothing_moves(encoding: str) -> None:
    array = array_of(encoding, 16, 16, times=0.0)
    levels = program_levels(array.tile.cell, array.encoding)
    codes = np.random.default_rng(0).choice(CODES, array.tile.thresholds.shape)
    tile = replace(array.tile, thresholds=levels.thresholds[codes])
    moved, _ = aimed(tile, array.stimulus(2, 0), levels.target_amps[codes], np.random.default_rng(0))
    np.testing.assert_allclose(moved.thresholds, tile.thresholds, atol=2e-4)


def test_thresholds_go_down_and_stay_in_the_window(make_layer: object) -> None:
    plain, moved = (program_tile(of_codes("bit-serial", on, make_layer)).tile for on in ((), ("silicon.in_situ=true",)))
    change = moved.thresholds - plain.thresholds
    assert change.max() <= 1e-3 and change.min() < -5e-3
    assert moved.thresholds.min() >= plain.cell.erased_volts
    # A cell that must be off stays as it is.
    assert (change[plain.thresholds == 6.0] == 0).all()


def test_cells_that_the_wires_put_out_of_reach_are_counted(make_layer: object) -> None:
    """Behind 30 kohm, cells at the end of the window stay below their targets: as many as are missing current."""
    within = program_tile(of_codes("bit-serial", ("silicon.in_situ=true",), make_layer))
    assert within.clipped.low == 0 and within.clipped.cells == within.tile.thresholds.size
    lossy = ("silicon.in_situ=true", "bit_serial.wires.bitline_end=30 kohm", "cell.erased=3.6 V")
    found = program_tile(of_codes("bit-serial", lossy, make_layer))
    at_end = found.tile.thresholds <= found.tile.cell.erased_volts
    assert 0 < found.clipped.low <= at_end.sum()
    assert 0 < found.clipped.amps < 1.6e-6
