"""Factors on the currents of single cells: the same on every rung, and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from norsim.array.cell import Cell
from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.registry import read
from norsim.errors import ConfigurationError
from norsim.spice import deck
from norsim.spice.dialects import hspice, xyce
from norsim.spice.transient import read_in_time
from tests.solver.arrays import ENCODINGS, array_of

BOUNDS = {"ngspice-shared": 1e-8, "nodal": 1e-6, "macro": 1e-4}


def drawn(shape: tuple[int, int]) -> np.ndarray:
    return np.exp(0.2 * np.random.default_rng(5).standard_normal(shape))


def test_a_cell_with_a_gain_by_hand(resistor_cell: Cell) -> None:
    """1 V of threshold is 100 kilohm; at a gain of 2.5 it is 40 kilohm, behind 10 kilohm of bitline driver and 5 kilohm
    of sense amplifier."""
    wires = Wires(bitline_end_ohms=1e4, source_end_ohms=5e3, rows_per_source_line=1, strap_every=None)
    volts, stimulus = 0.5, Stimulus([[0.0]], [[0.5]])
    for gain in (1.0, 0.4, 2.5):
        tile = Tile([[1.0]], resistor_cell, wires, gains=[[gain]])
        expected = volts / (1e5 / gain + 1.5e4)
        for backend, bound in (("ngspice", 1e-6), ("nodal", 1e-6)):
            found = read(tile, stimulus, backend)
            assert found.bitline[0, 0] == pytest.approx(expected, rel=bound)
            assert found.source[0, 0] == pytest.approx(expected, rel=bound)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_same_gains_give_the_same_currents_on_every_rung(encoding: str) -> None:
    array = array_of(encoding, 16, 10)
    scaled = replace(array, tile=replace(array.tile, gains=drawn(array.tile.thresholds.shape)))
    stimulus = array.stimulus(2, 4)
    reference = read(scaled.tile, stimulus, "ngspice")
    for backend, bound in BOUNDS.items():
        assert scaled.difference(read(scaled.tile, stimulus, backend), reference) <= bound
    # The gains matter, and gains of 1 do not.
    plain = read(array.tile, stimulus, "nodal")
    assert array.difference(plain, reference) > 1e-3
    ones = replace(array.tile, gains=np.ones(array.tile.thresholds.shape))
    assert array.difference(read(ones, stimulus, "nodal"), plain) <= 1e-9
    assert array.difference(read(ones, stimulus, "ngspice"), plain) <= 1e-6


def test_a_second_simulator_and_a_transient_see_the_gains() -> None:
    pytest.importorskip("neospice")
    array = array_of("bit-serial", 6, 5)
    tile = replace(array.tile, gains=drawn(array.tile.thresholds.shape))
    stimulus = array.stimulus(2, 4).take(slice(0, 1))
    reference = read(tile, stimulus, "ngspice")
    assert np.abs(read(array.tile, stimulus, "ngspice").bitline / reference.bitline - 1).max() > 1e-2
    np.testing.assert_allclose(read(tile, stimulus, "neospice").bitline, reference.bitline, rtol=1e-5, atol=1e-15)
    in_time = read_in_time(tile, stimulus, 2e-10)
    np.testing.assert_allclose(in_time.bitline[-1], reference.bitline[0], rtol=1e-3)


def test_decks_add_what_a_gain_adds() -> None:
    array = array_of("bit-serial", 1, 2)
    gains = np.linspace(0.5, 1.5, array.tile.thresholds.size).reshape(array.tile.thresholds.shape)
    tile = replace(array.tile, gains=gains)
    stimulus = array.stimulus(2, 4)
    for write in (deck.deck, hspice.deck, xyce.deck):
        text = write(tile, stimulus)
        assert "\nVm0_0 bl0_0 d0_0 0\n" in text and "\nF0_0 bl0_0 sl0_0 Vm0_0 -0.5\n" in text
        assert f"\nF0_1 bl1_0 sl0_1 Vm0_1 {float(gains[0, 1]) - 1!r}\n" in text
    assert "\nF0_0" not in deck.deck(array.tile, stimulus)


@pytest.mark.parametrize("gains", [[[1.0]], [[1.0, 0.0]], [[1.0, -2.0]], [[1.0, np.nan]]])
def test_gains_that_are_no_gains_are_refused(resistor_cell: Cell, gains: list[list[float]]) -> None:
    with pytest.raises(ConfigurationError, match="gains"):
        Tile([[1.0, 2.0]], resistor_cell, Wires(), gains=gains)
