"""Noise of cells that is drawn for each read: which line it adds to, and the cells behind the noise of a line."""

from __future__ import annotations

import numpy as np
import pytest

from norsim.array.cell import Cell
from norsim.array.read_noise import deviations_given_lines, line_variance, places
from norsim.array.tile import Tile
from norsim.array.wires import Wires

SHAPE = (4, 6)
SIGMA = np.random.default_rng(0).uniform(0.5, 2.0, SHAPE)


def tile(cell: Cell) -> Tile:
    return Tile(np.full(SHAPE, 3.0), cell, Wires(strap_every=2))


def unstrapped(cell: Cell, rows: int) -> Tile:
    return Tile(np.full(SHAPE, 3.0), cell, Wires(strap_every=None, rows_per_source_line=rows))


def test_a_bitline_adds_the_cells_of_its_wordlines(resistor_cell: Cell) -> None:
    variance = line_variance(SIGMA, places(tile(resistor_cell), "wordlines", "bitline"))
    assert np.array_equal(variance, SIGMA**2)


def test_a_source_line_adds_the_cells_of_its_rows(resistor_cell: Cell) -> None:
    """One row, or a pair of rows, or all rows where straps join the source lines."""
    for rows, of_lines in ((1, [[0], [1], [2], [3]]), (2, [[0, 1], [2, 3]])):
        found = line_variance(SIGMA, places(unstrapped(resistor_cell, rows), "bitlines", "source"))
        assert found == pytest.approx(np.array([(SIGMA[of] ** 2).sum(axis=0) for of in of_lines]).T, rel=1e-12)
    together = line_variance(SIGMA, places(tile(resistor_cell), "bitlines", "source"))
    assert together == pytest.approx((SIGMA**2).sum(axis=0)[:, None], rel=1e-12)


def test_an_input_along_its_own_line_drives_all_of_its_cells(resistor_cell: Cell) -> None:
    found = line_variance(SIGMA, places(unstrapped(resistor_cell, 1), "wordlines", "source"))
    assert found == pytest.approx(np.diag((SIGMA**2).sum(axis=1)), rel=1e-12)


SHARES = np.array([1.0, 0.0, 0.25, 0.5])
# Currents that no deviation exceeds.
ENOUGH = np.full(SHAPE, 100.0)


def test_the_cells_of_a_read_add_up_to_the_noise_of_its_lines(resistor_cell: Cell) -> None:
    """Whatever the sums are; a line without noise has none to add up to."""
    at, random = places(tile(resistor_cell), "wordlines", "bitline"), np.random.default_rng(1)
    sums = random.normal(size=SHAPE[1])
    found = deviations_given_lines(SIGMA, at, SHARES, sums, ENOUGH, random)
    assert SHARES @ found == pytest.approx(sums, rel=1e-12)
    silent = np.where(np.arange(SHAPE[1]) == 2, 0.0, SIGMA)
    assert np.array_equal(deviations_given_lines(silent, at, SHARES, 0 * sums, ENOUGH, random)[:, 2], np.zeros(4))


def test_no_cell_loses_more_than_its_current(resistor_cell: Cell) -> None:
    """The others make up for it, as long as the line can lose that much."""
    at, random = places(tile(resistor_cell), "wordlines", "bitline"), np.random.default_rng(3)
    amps = np.full(SHAPE, 0.4)
    for sums in (np.full(SHAPE[1], -0.6), np.full(SHAPE[1], 2.0)):
        found = deviations_given_lines(SIGMA, at, SHARES, sums, amps, random)
        assert found.min() >= -0.4 and SHARES @ found == pytest.approx(sums, abs=1e-6)


def test_cells_drawn_given_drawn_sums_are_as_drawn_alone(resistor_cell: Cell) -> None:
    """Independent normal numbers with the deviations sigma_i: the moments are within four standard errors."""
    at, random, count = places(tile(resistor_cell), "wordlines", "bitline"), np.random.default_rng(2), 4000
    deviation = np.sqrt(np.square(SIGMA * SHARES[:, None]).sum(axis=0))
    drawn = np.array([
        deviations_given_lines(SIGMA, at, SHARES, deviation * random.standard_normal(SHAPE[1]), ENOUGH, random)
        for _ in range(count)
    ])  # fmt: skip
    standard = (drawn / SIGMA).reshape(count, -1)
    assert np.abs(standard.mean(axis=0)).max() < 4 / np.sqrt(count)
    covariance = standard.T @ standard / count
    assert np.abs(covariance - np.eye(standard.shape[1])).max() < 4.5 * np.sqrt(2 / count)
