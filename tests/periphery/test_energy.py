"""The energy of a read against calculations by hand."""

from __future__ import annotations

import numpy as np
import pytest

from norsim.array.tile import Currents, Floats, Stimulus
from norsim.array.wires import Wires
from norsim.periphery.energy import Costs, read_energy

COSTS = Costs(sample_seconds=2e-9, conversion_seconds=10e-9, joules_per_step=40e-15)
WIRES = Wires(wordline_farads=1e-16, bitline_farads=2e-16)


def drawn(bitline: Floats, source: Floats) -> Currents:
    return Currents(bitline, source, np.ones(len(source), dtype=np.bool_), np.zeros(len(source)), "hand")


def test_a_wordline_driven_read() -> None:
    stimulus = Stimulus([[5.0, 0.0, 5.0], [0.0, 0.0, 5.0]], np.full((2, 4), 0.5), driven="wordlines")
    currents = drawn(np.full((2, 4), 1e-6), np.full((2, 1), 4e-6))
    found = read_energy(COSTS, WIRES, stimulus, currents, outputs=3, adc_bits=8)
    assert found.cells == pytest.approx(4 * 0.5 * 1e-6 * 2e-9)
    # Four cells per wordline, at 25 V^2; 1.5 wordlines go up on average.
    assert found.lines == pytest.approx(1.5 * 4 * 1e-16 * 25)
    assert found.converters == pytest.approx(3 * 256 * 40e-15)
    assert found.joules == pytest.approx(found.cells + found.lines + found.converters)


def test_a_bitline_driven_read_whose_bitline_currents_are_unknown_is_that_of_conductances() -> None:
    conductances = np.array([[1e-6, 2e-6], [3e-6, 4e-6]])
    volts = np.array([[0.05, 0.02]])
    stimulus = Stimulus([[5.0, 5.0]], volts, driven="bitlines")
    known = drawn(volts * conductances.sum(axis=0), volts @ conductances.T)
    alike = np.full((2, 2), 2.5e-6)
    exact = read_energy(COSTS, WIRES, stimulus, known, 1, 8)
    found = read_energy(COSTS, WIRES, stimulus, drawn(np.empty((1, 0)), volts @ alike.T), 1, 8)
    assert exact.cells == pytest.approx(2e-9 * (4e-6 * 0.05**2 + 6e-6 * 0.02**2))
    assert found.cells == pytest.approx(2e-9 * 5e-6 * (0.05**2 + 0.02**2))
    # Two cells per bitline.
    assert found.lines == pytest.approx(2 * 2e-16 * (0.05**2 + 0.02**2))


def test_samples_and_conversions_overlap() -> None:
    assert COSTS.read_seconds == 10e-9
    assert Costs(sample_seconds=50e-9).read_seconds == 50e-9
