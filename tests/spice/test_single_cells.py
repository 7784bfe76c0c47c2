"""Currents of single cells: one sweep of a deck gives those of a deck with a cell for each point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from norsim.chip.load import load_chip
from norsim.spice import single_cells
from norsim.spice.simulators.ngspice import CELLS, drain_amps

APART = replace(CELLS, swept=None)
RANDOM = np.random.default_rng(1)


@pytest.mark.parametrize("name", ["etox65", "bsim3", "square-law", "reram"])
@pytest.mark.parametrize("width", [1.0, 2e-3, 1e-6])
def test_a_sweep_gives_the_currents_of_cells_apart(name: str, width: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for volts so close that a solver could take one solution for the next, and over several decks."""
    monkeypatch.setattr(single_cells, "CELLS_AT_ONCE", 4)
    monkeypatch.setattr(single_cells, "DRIVES_AT_ONCE", 7)
    cell = load_chip(name, ("temperature=60 degC",)).cell
    axes = (
        np.array([0.0, 5.0]),
        0.5 + width * RANDOM.random(4),
        width * RANDOM.random(3),
        np.linspace(*cell.limits, 3),
    )
    gate, across, source, state = (part.ravel() for part in np.meshgrid(*axes))
    found, apart = (one._amps(cell, gate, across + source, source, state) for one in (CELLS, APART))
    assert np.abs(found - apart).max() <= 1e-10 * np.abs(apart).max()


def test_points_that_are_no_grid_are_solved_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = load_chip("etox65").cell
    gate, drain, state = np.array([5.0, 4.0, 5.0]), np.array([0.5, 0.4, 0.3]), np.array([3.0, 2.0, 1.0])
    monkeypatch.setattr(single_cells, "swept_deck", None)
    amps = drain_amps(cell, gate, drain, 0 * gate, state)
    assert amps.shape == (3,) and (amps > 1e-8).all()


def test_points_come_in_any_order_and_more_than_once() -> None:
    cell = load_chip("etox65").cell
    drain, state = np.array([0.5, 0.3, 0.5, 0.3, 0.5]), np.array([2.0, 1.0, 1.0, 2.0, 2.0])
    points = (np.full(5, 5.0), drain, np.zeros(5), state)
    np.testing.assert_allclose(CELLS._amps(cell, *points), APART._amps(cell, *points), rtol=1e-10)
