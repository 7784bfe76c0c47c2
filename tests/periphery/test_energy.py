"""The energy of a read against calculations by hand."""

from __future__ import annotations

import numpy as np
import pytest

from norsim.array.tile import Currents, Floats, Stimulus
from norsim.array.wires import Wires
from norsim.periphery.bit_serial import BitSerial
from norsim.periphery.circuits.energy import Costs, cell_watts, line_joules, read_energy

COSTS = Costs(sample_seconds=2e-9, conversion_seconds=10e-9, joules_per_step=4e-15, pump_efficiency=0.25)
HELD = Costs(sample_seconds=2e-9, conversion_seconds=10e-9, joules_per_step=4e-15, held=True)
WIRES = Wires(wordline_farads=1e-16, bitline_farads=2e-16)


def drawn(bitline: Floats, source: Floats) -> Currents:
    return Currents(bitline, source, np.ones(len(source), dtype=np.bool_), np.zeros(len(source)), "hand")


def test_cells_take_the_volts_of_their_lines_times_currents() -> None:
    stimulus = Stimulus(np.zeros((2, 3)), [[0.5, 0.25], [0.5, 0.0]], driven="wordlines")
    currents = drawn(np.array([[1e-6, 4e-6], [3e-6, 0.0]]), np.full((2, 1), 5e-6))
    assert cell_watts(stimulus, currents) == pytest.approx((0.5e-6 + 1e-6 + 1.5e-6) / 2)


def test_missing_bitline_currents_are_those_of_conductances() -> None:
    conductances = np.array([[1e-6, 2e-6], [3e-6, 4e-6]])
    volts = np.array([[0.05, 0.02]])
    stimulus = Stimulus([[5.0, 5.0]], volts, driven="bitlines")
    known = drawn(volts * conductances.sum(axis=0), volts @ conductances.T)
    alike = np.full((2, 2), 2.5e-6)
    assert cell_watts(stimulus, known) == pytest.approx(4e-6 * 0.05**2 + 6e-6 * 0.02**2)
    found = cell_watts(stimulus, drawn(np.empty((1, 0)), volts @ alike.T))
    assert found == pytest.approx(5e-6 * (0.05**2 + 0.02**2))


def test_only_lines_that_rise_draw_charge() -> None:
    """Codes 3 = 011 and 6 = 110, three passes, lowest bit first: 1,1,0 is one rise, and so is 0,1,1; the second vector
    starts from rest, so its code 5 = 101 rises twice and its code 1 once."""
    stimulus = BitSerial(5.0, 0.5, 1.5e-6, "digital", 16).drive(np.array([[3, 6], [5, 1]], dtype=np.uint8), 4, 3)
    assert stimulus.wordline_volts[:, 0].tolist() == [5.0, 5.0, 0.0, 5.0, 0.0, 5.0]
    # Four cells a wordline, 25 V^2, a pump that wastes three quarters; five rises in six reads.
    assert line_joules(COSTS, WIRES, stimulus, passes=3) == pytest.approx(5 / 6 * 4 * 1e-16 * 25 / 0.25)
    # As single passes, each line that is up has risen: seven.
    assert line_joules(COSTS, WIRES, stimulus, passes=1) == pytest.approx(7 / 6 * 4 * 1e-16 * 25 / 0.25)


def test_the_order_of_passes_counts() -> None:
    """A line with bits 0 and 2 set rises twice in the order 0, 1, 2, and once in the order 1, 0, 2."""
    up_down_up = Stimulus([[5.0], [0.0], [5.0]], np.full((3, 2), 0.5), driven="wordlines")
    together = up_down_up.take(np.array([1, 0, 2]))
    joules = [line_joules(COSTS, WIRES, order, 3) for order in (up_down_up, together)]
    assert joules == pytest.approx([2 / 3 * 2e-16 * 25 / 0.25, 1 / 3 * 2e-16 * 25 / 0.25])


def test_a_partial_rise_takes_its_charge_from_the_higher_volts() -> None:
    """From 0 to 20 mV, to 50 mV, to 30 mV: C (20 x 20 + 30 x 50 + 0) mV^2. Two cells a bitline; no pump."""
    stimulus = Stimulus(np.full((3, 2), 5.0), [[0.02], [0.05], [0.03]], driven="bitlines")
    expected = 2 * 2e-16 * (0.02 * 0.02 + 0.03 * 0.05) / 3
    assert line_joules(COSTS, WIRES, stimulus, passes=3) == pytest.approx(expected)


@pytest.mark.parametrize(("shared", "conversions"), [(1, 1), (2, 2), (3, 3), (8, 3)])
def test_cells_conduct_until_the_last_conversion_unless_currents_are_held(shared: int, conversions: int) -> None:
    found = read_energy(COSTS, 1e-6, 7e-15, outputs=3, per_converter=shared, bits=8)
    assert found.cells == pytest.approx(1e-6 * (2e-9 + conversions * 10e-9))
    assert found.lines == 7e-15
    # Sharing changes the time, not the number of conversions.
    assert found.converters == pytest.approx(3 * 256 * 4e-15)
    assert found.joules == pytest.approx(found.cells + found.lines + found.converters)
    assert read_energy(HELD, 1e-6, 7e-15, 3, shared, 8).cells == pytest.approx(1e-6 * 2e-9)


def test_the_time_of_a_read() -> None:
    assert COSTS.read_seconds(1) == pytest.approx(12e-9) and COSTS.read_seconds(8) == pytest.approx(82e-9)
    # With a sample-and-hold, the next sample is taken during the conversions.
    assert HELD.read_seconds(1) == pytest.approx(10e-9) and HELD.read_seconds(8) == pytest.approx(80e-9)
    assert Costs(sample_seconds=50e-9, conversion_seconds=10e-9, held=True).read_seconds(2) == pytest.approx(50e-9)


def test_kinds_of_converters_by_hand() -> None:
    """A cycle of 2 ns and 10 fJ a decision: 8 bits take 16, 512 and 2 ns, and 8, 255 and 255 decisions."""
    for kind, seconds, decisions in (("sar", 16e-9, 8), ("ramp", 512e-9, 255), ("flash", 2e-9, 255)):
        costs = Costs(sample_seconds=3e-9, converter=kind, cycle_seconds=2e-9, decision_joules=10e-15)
        assert costs.for_bits(8).read_seconds(4) == pytest.approx(3e-9 + 4 * seconds)
        assert costs.conversion_joules(8) == pytest.approx(decisions * 10e-15)
        found = read_energy(costs, watts=1e-6, line_energy=0.0, outputs=6, per_converter=4, bits=8)
        assert found.cells == pytest.approx(1e-6 * (3e-9 + 4 * seconds))
        assert found.converters == pytest.approx(6 * decisions * 10e-15)
    assert COSTS.for_bits(8) is COSTS


def test_wordlines_that_rest_below_ground_take_energy_when_they_fall() -> None:
    """One line rises by 6 V twice in three reads of three passes: 6 V at 5 V, and 6 V into -1 V, each time."""
    volts = np.array([[5.0, -1.0], [-1.0, -1.0], [5.0, -1.0]])
    stimulus = Stimulus(volts, np.full((3, 4), 0.5), driven="wordlines", full_volts=5.0, off_volts=-1.0)
    assert line_joules(COSTS, WIRES, stimulus, passes=3) == pytest.approx(2 / 3 * 4 * 1e-16 * 6 * (5 + 1) / 0.25)
    above = Stimulus(volts.clip(min=1.0), np.full((3, 4), 0.5), driven="wordlines", full_volts=5.0, off_volts=1.0)
    assert line_joules(COSTS, WIRES, above, passes=3) == pytest.approx(2 / 3 * 4 * 1e-16 * 4 * 5 / 0.25)
