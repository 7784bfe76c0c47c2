"""Programming by pulses: against the laws of its sources, and against numbers by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.stats import norm

from norsim.array.sectors.program_pulses import ProgramPulses
from norsim.errors import ConfigurationError

TARGETS = np.random.default_rng(0).uniform(4.0, 6.0, (100, 200))
ON = np.zeros(TARGETS.shape, dtype=bool)
FAR = np.full((1, 3), 100.0)


def seed() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.mark.parametrize("above", [-0.5, 0.0, 0.05, 0.8])
def test_a_pulse_shifts_as_far_as_injection_that_falls_by_e_every_fold(above: float) -> None:
    """dV/dt = (s / t_p) exp((u - V) / s), integrated over a pulse by SciPy."""
    fold = 0.12
    found = solve_ivp(lambda _, volts: fold * np.exp((above - volts) / fold), (0, 1), [0.0], rtol=1e-10, atol=1e-14,
                      method="LSODA")  # fmt: skip
    assert ProgramPulses(0.1, fold_volts=fold).shift(np.array([above]))[0] == pytest.approx(found.y[0, -1], rel=1e-6)


@pytest.mark.parametrize("fold", [0.01, 0.1, 0.4])
def test_thresholds_rise_by_the_step_with_each_pulse(fold: float) -> None:
    """Suh et al.: in the steady state by the step, of slow and of fast cells, whatever the injection is."""
    volts = [
        ProgramPulses(0.05, most=most, fold_volts=fold, cell_volts=0.3).program(FAR, FAR < 0, 3.0, seed()).thresholds
        for most in (200, 201)
    ]
    assert np.ptp(volts[0]) > 0.1
    np.testing.assert_allclose(volts[1] - volts[0], 0.05, rtol=1e-9)


def test_cells_land_evenly_within_a_step_whether_they_are_slow_or_fast() -> None:
    alike = ProgramPulses(0.05, start_volts=2.0, fold_volts=0.02)
    fast, spread = (replace(alike, cell_volts=cell).program(TARGETS, ON, 3.0, seed()) for cell in (0.0, 0.3))
    for found in (fast, spread):
        away = found.thresholds - TARGETS
        assert away.min() >= -0.025 and away.max() < 0.025 + 1e-9
        assert away.std() == pytest.approx(0.05 / np.sqrt(12), rel=0.02)
        assert (found.low, found.high, found.unverified) == (0, 0, 0)
    # A cell that is slower by V takes V / step more pulses.
    assert (spread.pulses - fast.pulses).std() == pytest.approx(0.3 / 0.05, rel=0.03)


def test_electrons_spread_a_shift_like_poisson() -> None:
    """C. Monzio Compagnoni et al.: the variance of a shift is the shift times that by one electron."""
    one = ProgramPulses(0.05, start_volts=3.4, most=1, fold_volts=0.05, electron_volts=3e-3)
    shift = one.program(TARGETS, ON, 3.0, seed()).thresholds - 3.0
    mean = 0.05 * np.log1p(np.exp(0.4 / 0.05))
    assert shift.mean() == pytest.approx(mean, rel=1e-3)
    assert shift.var() == pytest.approx(3e-3 * mean, rel=0.03)
    np.testing.assert_allclose(shift / 3e-3, np.round(shift / 3e-3), atol=1e-9)


def test_what_is_too_high_stays_and_what_is_too_low_is_counted() -> None:
    """Cells of 3.1, 3.5 and 3.9 V, a first pulse to 3.3 V, and steps of 0.1 V up to 3.6 V."""
    targets, off = np.array([[3.1, 3.5, 3.9, 3.1]]), np.array([[False, False, False, True]])
    found = ProgramPulses(0.1, start_volts=3.3, most=4, fold_volts=1e-3).program(targets, off, 3.0, seed())
    np.testing.assert_allclose(found.thresholds, [[3.3, 3.5, 3.6, 3.3]], atol=2e-3)
    np.testing.assert_array_equal(found.pulses, [[1, 3, 4, 1]])
    # Of a cell that only must not conduct, none is too high.
    assert (found.low, found.high, found.unverified) == (1, 1, 1)
    wide = ProgramPulses(0.1, start_volts=3.3, most=4, fold_volts=1e-3, window_volts=0.35)
    assert (lambda one: (one.low, one.high))(wide.program(targets, off, 3.0, seed())) == (0, 0)
    above = ProgramPulses(0.1, window_volts=0.2).program(targets, off, 4.0, seed())
    assert above.pulses.sum() == 0 and above.high == 2 and np.all(above.thresholds == 4.0)


def test_a_verify_with_noise_stops_early() -> None:
    """A cell x below its level passes with the probability of the normal distribution at x; over all verifies of its
    staircase this gives the mean and the spread of where it lands."""
    step, noise = 0.02, 0.03
    found = ProgramPulses(step, fold_volts=0.02, noise_volts=noise).program(TARGETS, ON, 3.0, seed())
    places = step * (np.arange(-12, 13)[:, None] + (np.arange(100) + 0.5) / 100)
    passes = norm.cdf(places / noise)
    stops = passes * np.cumprod(np.vstack([np.ones(100), 1 - passes[:-1]]), axis=0) / 100
    mean = (stops * places).sum()
    away = found.thresholds - (TARGETS - step / 2)
    assert mean < 0 and found.low > 0
    assert away.mean() == pytest.approx(mean, abs=5e-4)
    assert away.std() == pytest.approx(np.sqrt((stops * places**2).sum() - mean**2), rel=0.02)


def test_time_and_energy_are_those_of_pulses_and_verifies() -> None:
    """Two wordlines of three cells, two at a time: the slowest of each group decides; verifies come first and after."""
    pulses = ProgramPulses(
        0.1, start_volts=3.1, fold_volts=1e-3, at_once=2, pulse_seconds=1e-6, verify_seconds=1e-7, pulse_joules=1e-9,
        verify_joules=1e-12,
    )  # fmt: skip
    found = pulses.program(np.array([[3.1, 3.4, 3.2], [2.9, 2.9, 3.3]]), np.zeros((2, 3), bool), 3.0, seed())
    np.testing.assert_array_equal(found.pulses, [[1, 4, 2], [0, 0, 3]])
    assert found.seconds == pytest.approx((4 + 2 + 0 + 3) * 1.1e-6 + 4 * 1e-7)
    assert found.joules == pytest.approx(10 * 1.001e-9 + 6 * 1e-12)


def test_pulses_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="step_volts must be finite and at least 0"):
        ProgramPulses(-0.1)
