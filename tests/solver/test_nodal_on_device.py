"""`nodal` in torch agrees with its kernels to the tolerance, for any wires, drives and pieces; here on a CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from norsim.array.cell import Cell
from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.solver import factored_line, nodal
from norsim.solver.characterize import Box
from norsim.solver.nodal import on_device as nodal_on_device
from tests.solver.arrays import channel, characterized, layouts
from tests.solver.test_nodal import DRAWN_WIRES, STATES

CPU = torch.device("cpu")


@given(DRAWN_WIRES, st.integers(1, 7), st.integers(1, 8), st.booleans(), st.integers(0, 99))
@settings(max_examples=12)
def test_torch_meets_the_kernels(
    resistor_cell: Cell, wires: Wires, rows: int, columns: int, mixed: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    tile = Tile(random.choice(STATES, (rows, columns)), resistor_cell, wires)
    volts = 0.5 * random.random((19, columns)) if mixed else np.full((19, columns), 0.5)
    stimulus = Stimulus(5.0 * (random.random((19, rows)) < 0.6), volts)
    prepared = nodal.prepare(tile, characterized(tile, stimulus, channel))
    found, expected = (
        nodal_on_device.solve(nodal_on_device.on_device(prepared, CPU), stimulus), nodal.solve(prepared, stimulus)
    )  # fmt: skip
    assert found.converged.all() and expected.converged.all() and found.backend == "nodal"
    scale = max(np.abs(expected.bitline).max(), np.abs(expected.source).max())
    np.testing.assert_allclose(found.bitline, expected.bitline, rtol=0, atol=1e-8 * scale)
    np.testing.assert_allclose(found.source, expected.source, rtol=0, atol=1e-8 * scale)


def test_pieces_of_reads_give_the_same(resistor_cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(4)
    tile = Tile(random.choice(STATES, (12, 10)), resistor_cell, layouts()["two rows per line, straps with contacts"])
    stimulus = Stimulus(5.0 * (random.random((21, 12)) < 0.5), np.full((21, 10), 0.5))
    placed = nodal_on_device.on_device(nodal.prepare(tile, characterized(tile, stimulus, channel)), CPU)
    together = nodal_on_device.solve(placed, stimulus)
    monkeypatch.setattr(nodal_on_device, "NUMBERS_ON_CPU", 5 * tile.thresholds.size)
    assert placed.at_once == 5
    apart = nodal_on_device.solve(placed, stimulus)
    np.testing.assert_allclose(apart.bitline, together.bitline, rtol=0, atol=1e-8 * together.bitline.max())


def test_volts_outside_the_box_are_an_error(resistor_cell: Cell) -> None:
    tile = Tile(np.full((4, 3), 3.2), resistor_cell, Wires(40.0, 300.0, 150.0, 60.0))
    stimulus = Stimulus(np.full((1, 4), 5.0), np.full((1, 3), 0.5))
    table = characterized(tile, stimulus, channel)
    low = replace(table, box=Box(0.0, 0.4, table.box.source_low, table.box.source_high))
    with pytest.raises(nodal.OutsideBox):
        nodal_on_device.solve(nodal_on_device.on_device(nodal.prepare(tile, low), CPU), stimulus)


def test_a_matrix_solves_a_line() -> None:
    """By hand: 2 ohm to the driver and 3 ohm between two cells without conductance."""
    line = factored_line.bitlines(Wires(3.0, 2.0), np.zeros((2, 1)))
    np.testing.assert_allclose(factored_line.per_ampere(line)[0], [[2.0, 2.0], [2.0, 5.0]], rtol=1e-12)
