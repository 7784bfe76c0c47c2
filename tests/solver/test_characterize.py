"""A fitted cell is as accurate as it states, and a cell that cannot be fitted raises an error."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.polynomial import chebyshev

from norsim.array.cell import Cell
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.chip.load import load_chip
from norsim.errors import SolveError
from norsim.solver.characterize import KINKED_TOLERANCE, TOLERANCE, Box, CellTable, Sweep, characterize, scaled
from norsim.spice.simulators.ngspice import drain_amps
from tests.solver.arrays import channel, ohmic, table_of

GATES, STATES = np.array([0.0, 5.0]), np.array([3.1, 3.6, 4.4, 5.9])
BOXES = {
    "both signs": Box(-0.02, 0.52, -0.001, 0.03),
    "forward": Box(0.3, 0.52, -0.001, 0.03),
    "hardly any width": Box(0.4999, 0.5, 0.0, 1e-4),
}


def anywhere(box: Box, random: np.random.Generator, count: int = 4000) -> tuple[Floats, Floats]:
    """Return random volts in the box, including its corners."""
    across, source = random.uniform(box.across_low, box.across_high, count), random.uniform(0, 1, count)
    across[:4] = [box.across_low, box.across_low, box.across_high, box.across_high]
    source[:4] = [0, 1, 0, 1]
    return across, box.source_low + source * (box.source_high - box.source_low)


def largest_error(table: CellTable, cell: Cell, sweep: Sweep, count: int = 4000) -> float:
    random = np.random.default_rng(1)
    across, source = anywhere(table.box, random, count)
    gate, state = (random.integers(0, len(levels), len(across)) for levels in (table.gates, table.thresholds))
    exact = sweep(cell, table.gates[gate], across + source, source, table.thresholds[state])
    found = np.empty(len(across))
    for g in range(len(table.gates)):
        for t in range(len(table.thresholds)):
            here = (gate == g) & (state == t)
            found[here] = table.amps(g, t, across[here], source[here])
    return float(np.abs(found - exact).max())


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES.keys())
def test_the_error_anywhere_is_about_the_error_it_states(resistor_cell: Cell, box: Box) -> None:
    table = characterize(resistor_cell, GATES, STATES, box, channel)
    assert table.error_amps <= TOLERANCE * table.top_amps
    assert largest_error(table, resistor_cell, channel) <= 3 * table.error_amps + 1e-14 * table.top_amps


def test_monomials_are_the_same_polynomials(resistor_cell: Cell) -> None:
    table = characterize(resistor_cell, GATES, STATES, BOXES["both signs"], channel)
    across, source = anywhere(table.box, np.random.default_rng(2))
    for piece, (low, high) in enumerate(pairwise(table.across_edges)):
        inside = (across >= low) & (across < high)
        d, s = scaled(across[inside], low, high), scaled(source[inside], table.box.source_low, table.box.source_high)
        found = np.polynomial.polynomial.polyval2d(d, s, table.monomials()[piece, 0, 1, 2])
        np.testing.assert_allclose(found, table.amps(1, 2, across, source)[inside], atol=1e-11 * table.top_amps)


def test_a_box_with_zero_volts_inside_is_fitted_in_two_pieces_that_meet(resistor_cell: Cell) -> None:
    table = characterize(resistor_cell, GATES, STATES, BOXES["both signs"], channel)
    below, above = table.coefficients[:, 0]
    assert table.across_edges.tolist() == [-0.02, 0.0, 0.52]
    at_end = np.einsum("gtpq->gtq", below)
    at_start = np.einsum("gtpq,p->gtq", above, (-1.0) ** np.arange(above.shape[2]))
    source = np.linspace(-1, 1, 50)
    step = chebyshev.chebval(source, np.moveaxis(at_start - at_end, 2, 0))
    assert np.abs(step).max() <= 1e-15 * table.top_amps
    # The two sides have different slopes there, so one polynomial is not enough.
    slopes = [np.diff(table.amps(1, 0, volts, np.zeros(2)))[0] for volts in (np.r_[-1e-3, 0.0], np.r_[0.0, 1e-3])]
    assert abs(slopes[1] / slopes[0] - 1) > 1e-4


def test_a_straight_line_needs_few_coefficients(resistor_cell: Cell) -> None:
    table = characterize(resistor_cell, GATES, STATES, BOXES["both signs"], ohmic)
    assert table.coefficients.shape == (2, 1, 2, 4, 5, 1)  # by straight lines at the source
    assert largest_error(table, resistor_cell, ohmic) <= 1e-14


def step_like(cell: Cell, gate: Floats, drain: Floats, source: Floats, thresholds: Floats) -> Floats:
    return 1e-6 * np.tanh((drain - source - 0.2) / 1e-3)


def test_a_cell_that_steps_is_refused_with_what_was_tried(resistor_cell: Cell) -> None:
    with pytest.raises(
        SolveError,
        match=r"res_cell cannot be characterised.*5, 8, 12, 18, 26 nodes, then 8, 16, 32, 64 pieces.*ngspice backend",
    ):
        characterize(resistor_cell, GATES, STATES, BOXES["both signs"], step_like)


def test_a_cell_that_never_conducts_is_no_error(resistor_cell: Cell) -> None:
    table = characterize(resistor_cell, GATES, STATES, BOXES["forward"], lambda cell, gate, *rest: 0 * gate)
    assert (table.error_amps, table.top_amps) == (0.0, 0.0)
    assert not table.amps(0, 0, np.array([0.4]), np.array([0.0])).any()


def test_the_flash_cell_is_met_where_it_was_not_fitted() -> None:
    tile = Tile(np.array([[3.4, 4.1, 4.4, 6.0]]), load_chip("etox65").cell, Wires(40.0, 300.0, 150.0))
    table = table_of(tile, Stimulus([[0.0], [5.0]], np.full((2, 4), 0.5)))
    assert largest_error(table, tile.cell, drain_amps, 400) <= 2 * TOLERANCE * table.top_amps


def square_law(cell: Cell, gate: Floats, drain: Floats, source: Floats, thresholds: Floats) -> Floats:
    """A transistor that saturates: its current has a kink in its second derivative."""
    over = np.maximum(gate - source - thresholds, 0)
    linear = np.clip(drain - source, 0, over)
    return 1e-6 * (over - linear / 2) * linear


def test_a_cell_with_a_kink_is_fitted_in_pieces_that_meet(resistor_cell: Cell) -> None:
    box = Box(0.4, 0.52, -0.001, 0.03)
    table = characterize(resistor_cell, np.array([0.0, 5.0]), np.array([3.0, 4.5, 4.52]), box, square_law)
    assert table.parts > 1 and table.error_amps <= KINKED_TOLERANCE * table.top_amps
    assert largest_error(table, resistor_cell, square_law) <= 3 * table.error_amps
    source = np.linspace(-0.001, 0.03, 40)
    for edge in table.across_edges[1:-1]:
        below, above = (table.amps(1, 1, np.full(40, volts), source) for volts in (edge - 1e-12, edge))
        assert np.abs(above - below).max() <= 1e-11 * table.top_amps
