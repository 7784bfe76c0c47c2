"""Wires that drop much of the read's volts: bounded work, and the currents of ngspice or an error that says why."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest

import norsim
from norsim.array.cell import Cell
from norsim.array.tile import Floats
from norsim.backends.macro import Macro
from norsim.backends.registry import BACKENDS
from norsim.chip.load import load_chip
from norsim.errors import SolveError
from norsim.quantization.layer import QuantizedLayer
from norsim.solver import nodal
from norsim.solver.characterize import MOST_POINTS, Box, characterize
from norsim.tiling.grid import place
from tests.solver.arrays import array_of

# The volts of cells under a source line of 10 kohm per cell.
WIDE = Box(0.0, 0.535, -0.025, 0.51)


class Sweep:
    """A cell that saturates, smoothly or with a kink in its second derivative; `points` counts its measurements."""

    def __init__(self, knee_volts: float | None = None) -> None:
        self.knee_volts, self.points = knee_volts, 0

    def __call__(self, cell: Cell, gate: Floats, drain: Floats, source: Floats, thresholds: Floats) -> Floats:
        self.points += len(gate)
        over, across = np.maximum(gate - thresholds - source, 0.0), drain - source
        if self.knee_volts is None:
            return np.where(across < over / 4, over * across - 2 * across**2, over**2 / 8)
        return np.asarray(over * np.tanh(across / self.knee_volts))


def test_a_smooth_cell_over_a_wide_box_is_not_cut_into_pieces_that_need_not_be_better(resistor_cell: Cell) -> None:
    sweep = Sweep(0.08)
    table = characterize(resistor_cell, np.array([5.0]), np.linspace(3.0, 4.0, 16), WIDE, sweep)
    assert table.parts == 1
    assert 1e-8 < table.error_amps / table.top_amps <= 1e-6
    # 8 pieces along each side, which came next, need 63,000 points alone.
    assert sweep.points < 16 * 1500


@pytest.mark.parametrize("levels", [16, 64])
def test_a_kinked_cell_over_a_wide_box_is_refused_before_millions_of_points(resistor_cell: Cell, levels: int) -> None:
    sweep = Sweep()
    message = rf"has kinks.* at most {MOST_POINTS:,} simulated points.*parts.*need [\d,]+.*ngspice backend"
    with pytest.raises(SolveError, match=message):
        characterize(resistor_cell, np.array([0.0, 5.0]), np.linspace(3.0, 4.9, levels), WIDE, sweep)
    assert sweep.points < 2 * levels * 1500


def test_a_kinked_cell_over_a_narrow_box_is_still_fitted(resistor_cell: Cell) -> None:
    table = characterize(resistor_cell, np.array([5.0]), np.array([3.5, 4.0]), Box(0.35, 0.39, 0.0, 0.004), Sweep())
    assert table.parts > 1
    assert table.error_amps <= 1e-6 * table.top_amps


@pytest.mark.parametrize(
    ("encoding", "wires"),
    [
        ("bit-serial", {"source_ohms": 1e3}),
        ("bit-serial", {"bitline_end_ohms": 1e3}),
        ("linear-pair", {"source_ohms": 1e4}),
        ("linear-pair", {"bitline_ohms": 1e6}),
    ],
)
def test_currents_agree_with_ngspice_within_the_error_that_they_state(encoding: str, wires: dict[str, float]) -> None:
    array = array_of(encoding, 16, 16, **wires)
    stimulus = array.stimulus(2, 0)
    spice, nodal, macro = (norsim.read(array.tile, stimulus, backend=name) for name in ("ngspice", "nodal", "macro"))
    assert array.difference(nodal, spice) < 1e-6
    # The model's full scale is the largest cell current, which is about that of a linear pair's difference of levels.
    assert array.difference(macro, spice) < 4 * macro.residual.max() + 1e-6


@pytest.mark.soak
def test_a_source_line_of_ten_kilohm_per_cell_agrees_with_ngspice() -> None:
    array = array_of("bit-serial", 16, 16, source_ohms=1e4)
    stimulus = array.stimulus(2, 0)
    spice, nodal, macro = (norsim.read(array.tile, stimulus, backend=name) for name in ("ngspice", "nodal", "macro"))
    assert array.difference(nodal, spice) < 1e-6
    assert array.difference(macro, spice) < 1e-4


def test_a_solve_that_fails_names_the_lines_that_drop_the_volts(monkeypatch: pytest.MonkeyPatch) -> None:
    array = array_of("bit-serial", 16, 16, source_ohms=1e3)
    monkeypatch.setattr(nodal, "MOST_SWEEPS", 2)
    with pytest.raises(SolveError) as found:
        norsim.read(array.tile, array.stimulus(2, 0), backend="nodal")
    assert re.search("source lines are the cause.* along a source line, of 0.5 V.*ngspice", str(found.value))
    assert "nan" not in str(found.value)


def test_a_layer_that_macro_models_worse_than_it_claims_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chip = load_chip("etox65", ["tile.wordlines=16"])
    weights = np.random.default_rng(0).integers(0, 16, (4, 32), dtype=np.uint8)
    grid = place(QuantizedLayer("fc", weights, 7, np.ones(4), 4, 1.0, 0, 4), chip)
    with caplog.at_level(logging.WARNING):
        grid.program(BACKENDS["macro"])
        assert not caplog.records
        monkeypatch.setattr(Macro, "claimed_error", 1e-9)
        grid.program(BACKENDS["macro"])
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1, said
    assert re.search("wires of layer fc .*macro.* of full scale from nodal, more than 1e-09", said[0])
