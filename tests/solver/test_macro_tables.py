"""The tables that macro runs on, against the model that they are made from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from norsim.array.cell import Cell
from norsim.array.tile import Floats, Tile
from norsim.array.wires import Wires
from norsim.backends.characterised import reduced
from norsim.errors import SolveError
from norsim.solver import nodal
from norsim.solver.input_lines import Driven
from norsim.solver.macro import build, tables
from norsim.solver.macro.tables import NEAR, Tabulated, tabulate
from tests.solver.arrays import ENCODINGS, LAYOUTS, array_of, channel, characterized
from tests.solver.test_macro import built, fresh_drives, line_errors


def tables_of(encoding: str, times: float) -> Tabulated:
    array, model, _ = built(encoding, times)
    return tabulate(model, build.random_drives(array.tile, model.drive, 96, np.random.default_rng(1)))


def codes_of(drives: Floats, found: Tabulated) -> tuple[np.ndarray, int]:
    """Convert drives to codes; also return the code of full drive."""
    top = 15 if found.drive.direction == "bitlines" else 1
    return np.rint(drives * top).astype(np.uint8), top


@pytest.mark.parametrize("times", [1.0, 10.0])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_tables_give_what_the_model_gives(encoding: str, times: float) -> None:
    array, model, prepared = built(encoding, times)
    found, drives = tables_of(encoding, times), fresh_drives(array, 31)
    codes, top = codes_of(drives, found)
    exact = model.lines(torch.from_numpy(drives)).numpy()
    lines = found.lines(codes, top=top)
    assert np.abs(lines - exact).max() <= 3 * NEAR * model.full_scale_amps
    assert model.error <= found.error <= model.error + 2 * NEAR
    np.testing.assert_allclose(found.lines(drives.astype(np.float32)), lines, rtol=1e-5, atol=1e-12)
    of_nodal = np.abs(lines - exact + line_errors((array, model, prepared), drives) * model.full_scale_amps).max()
    assert of_nodal <= 2 * found.error * model.full_scale_amps


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_more_modes_come_nearer_and_all_of_them_are_exact(encoding: str) -> None:
    array, model, _ = built(encoding, 10.0)
    drives = fresh_drives(array, 33)
    state = tables._states(model, drives)
    axes = tables._axes(model, state)
    exact = model.lines(torch.from_numpy(drives)).numpy()

    def error(modes: int, constants: bool = True) -> float:
        found = tables._with_modes(model, state, axes[:, : modes - 1], constants)
        codes, top = codes_of(drives, found)
        return float(np.abs(found.lines(codes, top=top) - exact).max()) / model.full_scale_amps

    assert error(1) > 20 * error(2) > 40 * error(4) and error(9) < 0.4 * NEAR
    if encoding == "bit-serial":
        assert error(9, constants=False) > 10 * error(9)


def test_tables_that_miss_the_model_are_refused() -> None:
    array, model, _ = built("bit-serial", 1.0)
    strong = replace(model, field=replace(model.field, response=model.field.response * 20))
    drives = np.zeros((8, array.tile.wordlines))
    drives[1::2] = 1.0  # all that the modes are not fitted on
    with pytest.raises(SolveError, match=r"deviate from it by .* of full scale, and the limit is 0\.01"):
        tabulate(strong, drives)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_read_does_not_depend_on_its_neighbours_and_passes_are_bits(encoding: str) -> None:
    array = array_of(encoding, 37, 21)  # no multiple of anything
    model = reduced(array.tile, array.stimulus(2, 1))
    codes, top = array.codes(50, 3), array.encoding.top_drive
    passes = array.encoding.passes(4)
    together = model.lines(codes, passes, top)
    assert together.shape == (50 * passes, model.summed)
    np.testing.assert_array_equal(model.lines(codes[17:18], passes, top), together[17 * passes : 18 * passes])
    if encoding == "bit-serial":
        for bit in range(4):
            np.testing.assert_array_equal(model.lines(codes >> bit & 1), together[bit::4])


@pytest.mark.parametrize("wires", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_tables_know_all_layouts_that_bits_can_be_read_in(resistor_cell: Cell, wires: Wires) -> None:
    random = np.random.default_rng(6)
    tile = Tile(random.choice([3.2, 3.9, 4.4, 5.5], (31, 10)), resistor_cell, wires)
    drive = Driven("wordlines", 5.0, 0.5)
    x = np.r_[np.ones((1, 31)), random.integers(0, 2, (60, 31))].astype(np.float64)
    table = characterized(tile, drive.stimulus(np.array([np.zeros(31), np.ones(31)]), tile), channel)
    model = build.build(tile, drive, table)
    found = tabulate(model, build.random_drives(tile, drive, 96, random))
    exact = nodal.solve(nodal.prepare(tile, table), drive.stimulus(x, tile)).bitline
    assert np.abs(found.lines(x) - exact).max() / model.full_scale_amps <= 2 * found.error
