"""Thresholds between swept ones are as accurate as sweeping them; a cell that is not smooth raises an error."""

from __future__ import annotations

import numpy as np
import pytest

from norsim.array.cell import Cell
from norsim.array.tile import Floats
from norsim.chip.load import load_chip
from norsim.errors import SolveError
from norsim.solver import characterisation_cache
from norsim.solver.characterize import Box, CellTable, characterize
from norsim.solver.threshold_interpolation import TOLERANCE, between
from norsim.spice.simulators.ngspice import drain_amps
from tests.solver.arrays import channel

BOX = Box(0.2, 0.5, -0.001, 0.05)
GATES = np.array([0.0, 5.0])


def swept_by_formula(cell: Cell, states: Floats, parts: int) -> CellTable:
    return characterize(cell, GATES, states, BOX, channel, parts)


def test_interpolated_currents_are_those_of_the_formula(resistor_cell: Cell) -> None:
    thresholds = np.sort(np.random.default_rng(0).uniform(2.9, 6.1, 200))
    table = between(thresholds, 3.0, lambda states, parts: swept_by_formula(resistor_cell, states, parts))
    volts = np.linspace(0.2, 0.5, 7), np.linspace(-0.001, 0.05, 7)
    for gate, gate_volts in enumerate(GATES):
        found = table.amps(gate, slice(None), *volts)
        exact = channel(resistor_cell, gate_volts, volts[0] + volts[1], volts[1], thresholds[:, None])
        assert np.abs(found - exact).max() <= 2 * TOLERANCE * table.top_amps
    assert table.error_amps <= 2 * TOLERANCE * table.top_amps


# Volts. Cells that are fully on, that are partly on, and that are off: one piece of each kind.
THREE_PIECES = (2.8, 3.0), (4.25, 4.5), (6.25, 6.4)


@pytest.mark.parametrize(
    "pieces", [THREE_PIECES, pytest.param(((2.8, 6.4),), marks=pytest.mark.soak)], ids=["three pieces", "all pieces"]
)
def test_a_real_cell_is_met_at_thresholds_that_were_never_swept(pieces: tuple[tuple[float, float], ...]) -> None:
    """Against ngspice, from cells that are fully on to cells that are off, at 85 degrees Celsius."""
    cell = load_chip("etox65", ("temperature=85 degC",)).cell
    random, each = np.random.default_rng(1), np.array_split(np.arange(80), len(pieces))
    thresholds = np.sort(np.concatenate([random.uniform(*ends, len(n)) for ends, n in zip(pieces, each, strict=True)]))
    found = characterisation_cache.table(cell, GATES, thresholds, BOX, drain_amps, "a test")
    assert len(thresholds) > characterisation_cache.MOST_STATES
    drain, one = 0.31, np.ones(80)
    exact = drain_amps(cell, 5.0 * one, (drain + 0.02) * one, 0.02 * one, thresholds)
    amps = found.amps(1, slice(None), np.array([drain]), np.array([0.02]))[:, 0]
    assert np.abs(amps - exact).max() <= 2e-7 * exact.max()


def test_a_cell_with_a_step_in_its_threshold_is_refused(resistor_cell: Cell) -> None:
    def stepped(cell: Cell, gate: Floats, drain: Floats, source: Floats, thresholds: Floats) -> Floats:
        return channel(cell, gate, drain, source, thresholds) * (1 + (thresholds > 4.6))

    with pytest.raises(SolveError, match=r"between thresholds of 4\.59766 V and 4\.60156 V"):
        between(
            np.array([4.5995, 4.6005]),
            3.0,
            lambda states, parts: characterize(resistor_cell, GATES, states, BOX, stepped, parts),
        )


def test_tiles_with_other_thresholds_share_what_was_swept(resistor_cell: Cell) -> None:
    asked: list[bytes] = []

    def swept(states: Floats, parts: int) -> CellTable:
        asked.append(states.tobytes())
        return swept_by_formula(resistor_cell, states, parts)

    for seed in (0, 1):
        between(np.sort(np.random.default_rng(seed).uniform(4.0, 4.5, 70)), 3.0, swept)
    assert len(asked) == 4 and len(set(asked)) == 2
