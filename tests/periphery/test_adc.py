"""The converter: codes and amperes, clipping, monotonicity, and the range fitted to samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from norsim.errors import ConfigurationError
from norsim.periphery.adc import Adc, ConverterSpread, Flaws, Ranges, fit_range
from norsim.periphery.readout import convert_and_add

SAMPLES = arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e-4, 1e-4, allow_subnormal=False))


@st.composite
def converters(draw: st.DrawFn) -> Adc:
    low = draw(st.floats(-1e-4, 1e-4))
    return Adc(draw(st.integers(1, 16)), low, low + draw(st.floats(1e-7, 1e-3)))


@given(converters(), st.data())
def test_every_code_survives_amperes(adc: Adc, data: st.DataObject) -> None:
    top = 2**adc.bits - 1
    codes = np.array([0, top, *data.draw(st.lists(st.integers(0, top), max_size=20))], dtype=np.int32)
    assert np.array_equal(adc.convert(adc.amps(codes)), codes)
    assert adc.amps(codes)[:2] == pytest.approx([adc.low_amps, adc.high_amps], rel=1e-12, abs=1e-18)


@given(converters(), st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_within_the_range_a_conversion_errs_by_half_a_step(adc: Adc, places: list[float]) -> None:
    amps = adc.low_amps + np.array(places) * (adc.high_amps - adc.low_amps)
    error = np.abs(adc.amps(adc.convert(amps)) - amps)
    assert error.max() <= 0.5 * adc.step_amps * (1 + 1e-6)


@given(converters(), st.floats(1e-9, 1.0))
def test_beyond_the_range_it_clips(adc: Adc, far: float) -> None:
    codes = adc.convert(np.array([adc.low_amps - far, adc.high_amps + far]))
    assert codes.tolist() == [0, 2**adc.bits - 1]


@given(converters(), SAMPLES)
def test_more_current_is_never_a_lower_code(adc: Adc, samples: np.ndarray) -> None:
    assert (np.diff(adc.convert(np.sort(samples))) >= 0).all()


def test_codes_keep_the_shape_and_the_kind_of_the_currents() -> None:
    adc, amps = Adc(8, -1.0, 1.0), np.random.default_rng(3).uniform(-1.1, 1.1, (2, 3, 4))
    codes = adc.convert(amps)
    assert codes.shape == (2, 3, 4) and np.array_equal(codes, np.rint(codes))
    of_tensor = adc.convert(torch.from_numpy(amps))
    assert isinstance(of_tensor, torch.Tensor) and np.array_equal(of_tensor.numpy(), codes)


def test_a_four_bit_converter_worked_by_hand() -> None:
    adc = Adc(4, -5e-6, 10e-6)
    assert adc.step_amps == pytest.approx(1e-6)
    assert adc.convert(np.array([-9e-6, -5e-6, -4.4e-6, 0.0, 0.6e-6, 9.4e-6, 99e-6])).tolist() == [
        0,
        0,
        1,
        5,
        6,
        14,
        15,
    ]


@pytest.mark.parametrize("bits", [0, 25, -8])
def test_impossible_resolution_is_refused(bits: int) -> None:
    with pytest.raises(ConfigurationError, match=f"1 to 24 bits, not {bits}"):
        Adc(bits, 0.0, 1.0)


@pytest.mark.parametrize(
    ("low", "high"),
    [(1.0, 1.0), (1.0, 0.0), (0.0, np.inf), (-np.inf, 0.0), (np.nan, 1.0), (0.0, np.nan)],
)
def test_empty_and_endless_ranges_are_refused(low: float, high: float) -> None:
    with pytest.raises(ConfigurationError, match="range .* is empty"):
        Adc(8, low, high)


def mean_square(adc: Adc, samples: np.ndarray) -> float:
    return float(np.square(adc.amps(adc.convert(samples)) - samples).mean())


@given(SAMPLES, st.integers(1, 10))
def test_fitted_range_is_no_worse_than_the_whole_span_and_within_it(samples: np.ndarray, bits: int) -> None:
    low, high = min(samples.min(), 0.0), max(samples.max(), 0.0)
    adc = fit_range(samples, bits, least_amps=1e-9)
    assert adc.bits == bits
    if high - low < 1e-9:
        assert (adc.low_amps, adc.high_amps) == (low, low + 1e-9)
    else:
        assert low <= adc.low_amps <= 0.0 <= adc.high_amps <= high
        assert adc.high_amps - adc.low_amps >= 0.5 * (high - low) * (1 - 1e-9)
        assert mean_square(adc, samples) <= mean_square(Adc(bits, low, high), samples) * (1 + 1e-9)


def test_evenly_spread_samples_are_covered_whole() -> None:
    samples = np.linspace(-2e-6, 13e-6, 16)
    adc = fit_range(samples, 4, least_amps=1e-9)
    assert adc.low_amps == pytest.approx(-2e-6) and adc.high_amps == pytest.approx(13e-6)
    assert adc.convert(samples).tolist() == list(range(16))


def test_a_rare_peak_is_clipped_for_a_finer_step() -> None:
    samples = np.append(np.linspace(0.0, 1e-6, 10_000), 2e-6)
    adc = fit_range(samples, 4, least_amps=1e-9)
    assert 0.9e-6 < adc.high_amps < 1.2e-6
    assert mean_square(adc, samples) < 0.5 * mean_square(Adc(4, 0.0, 2e-6), samples)


@pytest.mark.parametrize(
    ("samples", "low", "high"),
    [([0.0, 0.0], 0.0, 1e-7), ([2e-8], 0.0, 1e-7), ([-2e-8, 1e-8], -2e-8, 8e-8)],
)
def test_a_span_that_is_too_small_is_widened(samples: list[float], low: float, high: float) -> None:
    adc = fit_range(np.array(samples), 8, least_amps=1e-7)
    assert (adc.low_amps, adc.high_amps) == pytest.approx((low, high), abs=1e-20)


@given(arrays(np.int64, (6, 3), elements=st.integers(1, 5)), st.integers(1, 8))
def test_counted_samples_have_the_range_of_all_of_them(counts: np.ndarray, bits: int) -> None:
    samples = np.linspace(-1e-6, 3e-6, 18).reshape(6, 3) ** 3
    one = fit_range(samples, bits, 1e-30, counts)
    each = fit_range(np.repeat(samples.ravel(), counts.ravel()), bits, 1e-30)
    assert mean_square(one, np.repeat(samples.ravel(), counts.ravel())) == pytest.approx(
        mean_square(each, np.repeat(samples.ravel(), counts.ravel())), rel=1e-9
    )


def test_equal_samples_are_converted_to_themselves() -> None:
    for amps in (3e-6, -3e-6):
        adc = fit_range(np.full(5, amps), 8, least_amps=1e-9)
        assert adc.amps(adc.convert(np.array([amps, 0.0]))) == pytest.approx([amps, 0.0], rel=1e-12, abs=1e-20)


def flawless(outputs: int) -> Flaws:
    return Flaws(*np.zeros((3, outputs)))


def test_a_converter_without_flaws_is_the_ideal_one() -> None:
    adc, amps = Adc(8, -1e-5, 2e-5), np.random.default_rng(0).uniform(-2e-5, 3e-5, (50, 4))
    assert np.array_equal(flawless(4).convert(amps, Ranges.of((adc,), 4)), adc.convert(amps))


@pytest.mark.parametrize(
    ("flaws", "currents", "codes"),
    [
        # One step is 1 uA, code 0 is -5 uA, code 15 is 10 uA.
        (Flaws(np.array([0.1]), np.zeros(1), np.zeros(1)), [0.0, 5e-6, -5e-6], [5, 10, 0]),
        (Flaws(np.zeros(1), np.array([-2.0]), np.zeros(1)), [0.0, 10e-6], [3, 13]),
        # A bow of 2 steps: the full bow in the middle, three quarters of it at a quarter, none at the ends.
        (Flaws(np.zeros(1), np.zeros(1), np.array([2.0])), [-5e-6, 2.4e-6, -1.3e-6, 10e-6], [0, 9, 5, 15]),
    ],
)
def test_flaws_worked_by_hand(flaws: Flaws, currents: list[float], codes: list[int]) -> None:
    found = flaws.convert(np.array(currents)[:, None], Ranges.of((Adc(4, -5e-6, 10e-6),), 1))
    assert found[:, 0].tolist() == codes


def test_flaws_of_many_converters_spread_as_they_should() -> None:
    spread = ConverterSpread(gain=0.01, offset=0.7, bow=0.4)
    found = spread.draw(20_000, np.random.default_rng(0))
    for values, sigma in ((found.gain, 0.01), (found.offset, 0.7), (found.bow, 0.4)):
        assert values.std() == pytest.approx(sigma, rel=0.02)
        assert abs(values.mean()) <= 4 * sigma / np.sqrt(20_000)


@pytest.mark.parametrize("noisy", [False, True])
def test_the_compiled_conversion_is_that_of_numpy(noisy: bool) -> None:
    random = np.random.default_rng(1)
    adc, amps = Adc(6, -1e-5, 2e-5), random.uniform(-1.2e-5, 2.2e-5, (8, 5))
    flaws = ConverterSpread(0.01, 0.7, 0.4).draw(5, random)
    noise = random.standard_normal(amps.shape) if noisy else None
    scale, shift, places = random.random(5), random.random(5), np.array([1.0, 2.0])
    ranges = Ranges.of((adc,), 5)
    codes, sums = convert_and_add(amps, ranges, flaws, noise, scale, shift, places, 1)
    seen = flaws.steps(amps, ranges) + (0 if noise is None else noise)
    expected = np.clip(np.round(seen), 0, 63)
    assert np.array_equal(codes, expected)
    each = (expected * scale + shift).reshape(4, 2, 5)
    np.testing.assert_allclose(sums, each[:, 0] + 2 * each[:, 1])
