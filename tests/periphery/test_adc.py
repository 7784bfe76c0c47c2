"""The converter: codes and amperes, clipping, monotonicity, and the range fitted to samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from norsim.errors import ConfigurationError
from norsim.periphery.adc import (
    Adc,
    ConverterSpread,
    Flaws,
    Kind,
    Ranges,
    fit_range,
    searched,
    threshold_errors,
)
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


def drawn(kind: Kind, bits: int, outputs: int, per_converter: int = 1) -> Flaws:
    """Return converters with thresholds 0.8 steps from a straight line at mid-scale."""
    spread = ConverterSpread(inl=0.8, kind=kind)
    ideal = Flaws(np.zeros(outputs), np.zeros(outputs), np.zeros(outputs))
    of_tile, of_chip = (lambda: np.random.default_rng(3)), (lambda: np.random.default_rng(4))
    return spread.with_thresholds(ideal, bits, of_tile, of_chip, per_converter)


def test_a_sar_converter_worked_by_hand() -> None:
    """Capacitors of 1, 2.5 and 4.2 units: codes begin half a step below 1, 2.5, 3.5, 4.2, 5.2, 6.7 and 7.7; code 6 is
    tried after 4, so a current between 6.2 and 7.2 has it."""
    weights = np.array([1.0, 2.5, 4.2])
    thresholds = (weights @ (np.arange(8) >> np.arange(3)[:, None] & 1) - 0.5)[None]
    seen = np.array([-3.0, 0.4, 0.6, 1.9, 2.1, 2.9, 3.1, 3.6, 3.8, 6.1, 6.3, 7.1, 7.3, 99.0])[:, None]
    assert searched(seen, thresholds, 3)[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 6, 7, 7]
    # A top bit that is too heavy: the code below it is wide. One that is too light: codes below it are never found.
    light = (np.array([1.0, 2.0, 2.4]) @ (np.arange(8) >> np.arange(3)[:, None] & 1) - 0.5)[None]
    assert set(searched(np.linspace(-1, 9, 400)[:, None], light, 3)[:, 0]) == {0, 1, 2, 4, 5, 6, 7}


@pytest.mark.parametrize("kind", ["sar", "ramp", "flash"])
def test_thresholds_spread_by_their_law(kind: Kind) -> None:
    """The variance is 1 at mid-scale; at a quarter that of a walk, 3/4, or of the capacitors, or of a comparator."""
    errors = threshold_errors(kind, 8, 20_000, np.random.default_rng(0))
    assert errors[:, 128].std() == pytest.approx(1.0, rel=0.02)
    # Bit 6 alone has 64 units of 255: 64 (1 - 64/255) / (128 (1 - 128/255)).
    assert errors[:, 64].var() == pytest.approx(1.0 if kind == "flash" else 0.75, rel=0.05)
    assert np.abs(errors[:, -1]).max() > 1 if kind == "flash" else np.abs(errors[:, -1]).max() < 1e-12
    steps = np.diff(errors, axis=1).var(axis=0)
    # Where the top bit replaces all others, 255 units change; half of the steps change one. A ramp has equal steps.
    assert steps[127] / np.median(steps) == pytest.approx({"sar": 255, "ramp": 1, "flash": 1}[kind], rel=0.5)


def test_converters_that_are_shared_share_thresholds_and_a_ramp_is_that_of_the_chip() -> None:
    for kind in ("sar", "flash"):
        thresholds = drawn(kind, 5, 6, per_converter=2).thresholds
        assert thresholds is not None and thresholds.shape == (6, 32)
        assert np.array_equal(thresholds[::2], thresholds[1::2]) and not np.array_equal(thresholds[0], thresholds[2])
    ramp = drawn("ramp", 5, 6).thresholds
    assert ramp is not None and (ramp == ramp[0]).all() and (np.diff(ramp[0]) >= 0).all()
    ideal = Flaws(np.zeros(1), np.zeros(1), np.zeros(1))
    assert ConverterSpread(kind="flash").with_thresholds(ideal, 24, *[np.random.default_rng] * 2) is ideal
    with pytest.raises(ConfigurationError, match="at most 12 bits, or set adc.inl to 0"):
        drawn("sar", 13, 1)


def test_a_flash_converter_counts_its_comparators() -> None:
    """Bit by bit on sorted thresholds is the number of comparators, in any order, that are below a current."""
    comparators = np.arange(32) - 0.5 + 1.4 * np.random.default_rng(1).standard_normal((3, 32))
    seen = np.random.default_rng(2).uniform(-3, 34, (50, 3))
    counted = (seen[:, :, None] >= comparators[:, 1:]).sum(axis=2)
    ordered = np.concatenate([comparators[:, :1], np.sort(comparators[:, 1:], axis=1)], axis=1)
    assert np.array_equal(searched(seen, ordered, 5), counted)


@pytest.mark.parametrize("kind", [None, "sar", "flash"])
@pytest.mark.parametrize("noisy", [False, True])
def test_the_compiled_conversion_is_that_of_numpy(noisy: bool, kind: Kind | None) -> None:
    random = np.random.default_rng(1)
    adc, amps = Adc(6, -1e-5, 2e-5), random.uniform(-1.2e-5, 2.2e-5, (8, 5))
    flaws = ConverterSpread(0.01, 0.7, 0.4).draw(5, random)
    noise = random.standard_normal(amps.shape) if noisy else None
    if kind is not None:
        flaws = replace(flaws, thresholds=drawn(kind, 6, 5).thresholds, amps=np.linspace(-1e-6, 1e-6, 5))
    scale, shift, places = random.random(5), random.random(5), np.array([1.0, 2.0])
    ranges = Ranges.of((adc,), 5)
    codes, sums = convert_and_add(amps, ranges, flaws, noise, scale, shift, places, 1)
    seen = flaws.steps(amps, ranges) + (0 if noise is None else noise)
    expected = np.clip(np.round(seen), 0, 63)
    if flaws.thresholds is not None:
        straight, expected = expected, searched(seen, flaws.thresholds, 6)
        assert (straight != expected).any()
        assert noisy or np.array_equal(flaws.convert(amps, ranges), expected)
    assert np.array_equal(codes, expected)
    each = (expected * scale + shift).reshape(4, 2, 5)
    np.testing.assert_allclose(sums, each[:, 0] + 2 * each[:, 1])
