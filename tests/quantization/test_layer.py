"""QuantizedLayer: its errors, its arithmetic, and the search for scales."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest

from norsim.errors import ConfigurationError, PlacementError
from norsim.quantization.layer import CLIP_FRACTIONS, ConvGeometry, QuantizedLayer, fit_grid, fit_percentile


def layer(**changes: Any) -> QuantizedLayer:
    fields: dict[str, Any] = {
        "name": "fc",
        "weights": np.array([[0, 15, 7], [8, 7, 6]]),
        "weight_zero": 7,
        "weight_scale": np.array([0.5, 0.25]),
        "weight_bits": 4,
        "input_scale": 0.1,
        "input_zero": 2,
        "input_bits": 4,
        "bias": np.array([1.0, -1.0]),
    }
    return QuantizedLayer(**(fields | changes))


def test_hand_worked_outputs() -> None:
    fc = layer()
    codes = fc.encode([0.0, 0.1, 1.0])
    assert codes.tolist() == [2, 3, 12]
    sums = (fc.weights.astype(int) - 7) @ (codes.astype(int) - 2)
    assert sums.tolist() == [8, -10]
    np.testing.assert_allclose(fc.decode(sums), [0.5 * 0.1 * 8 + 1, -0.25 * 0.1 * 10 - 1], rtol=1e-6)
    np.testing.assert_allclose(replace(fc, bias=None).decode(sums), [0.4, -0.25], rtol=1e-6)


def test_codes_clip_and_ties_go_to_even() -> None:
    fc = layer(input_scale=1.0)
    assert fc.encode([-9.0, 0.5, 1.5, 99.0]).tolist() == [0, 2, 4, 15]


def test_arrays_are_read_only_copies() -> None:
    weights = np.zeros((2, 3), dtype=np.uint8)
    fc = layer(weights=weights)
    weights[0, 0] = 9
    assert fc.weights[0, 0] == 0
    for array in (fc.weights, fc.weight_scale, fc.bias):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(FrozenInstanceError):
        fc.name = "other"  # type: ignore[misc]
    assert fc.weights.dtype == np.uint8 and fc.weight_scale.dtype == np.float32
    assert (fc.outputs, fc.inputs) == (2, 3)


@pytest.mark.parametrize("code", [16, -1])
def test_weight_outside_the_levels_names_layer_value_place_and_range(code: int) -> None:
    weights = np.full((2, 3), 7)
    weights[1, 2] = code
    with pytest.raises(PlacementError) as caught:
        layer(weights=weights)
    for part in ("'fc'", f"code {code}", "output 1, input 2", "0 to 15"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"weights": np.zeros((2, 3))}, "integer codes"),
        ({"weights": np.zeros(3, dtype=int)}, r"\[outputs, inputs\]"),
        ({"weight_scale": np.ones(3)}, "weight_scale has shape"),
        ({"weight_scale": np.array([1.0, 0.0])}, "not above 0"),
        ({"weight_scale": np.array([1.0, np.nan])}, "not finite"),
        ({"bias": np.array([np.inf, 0])}, "bias has"),
        ({"weight_zero": 16}, "weight_zero is 16"),
        ({"weight_zero": 0.5}, "expected an integer"),
        ({"input_zero": -1}, "input_zero is -1"),
        ({"input_scale": float("nan")}, "input_scale is nan"),
        ({"input_bits": 9}, "1 to 8"),
        ({"geometry": ConvGeometry(1, (2, 2))}, "its geometry needs 4"),
        ({"geometry": ConvGeometry(9, (1, 1), groups=3)}, "cannot be divided into 3 groups"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        layer(**changes)


@pytest.mark.parametrize(
    "changes",
    [{"stride": (0, 1)}, {"padding": (-1, 0)}, {"kernel": (3,)}, {"groups": 2}, {"dilation": (1.0, 1)}],
)
def test_impossible_geometry_is_refused(changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"in_channels": 3, "kernel": (3, 3)}
    with pytest.raises(ConfigurationError):
        ConvGeometry(**(fields | changes))


def test_grid_search_finds_an_exact_grid() -> None:
    codes = np.random.default_rng(0).integers(0, 16, (3, 200))
    codes[:, 0], codes[:, 1] = 0, 15
    steps = np.array([[0.1], [0.25], [2.0]])
    values = ((codes - 6) * steps).astype(np.float32)
    scale, zero = fit_grid(values, 4)
    assert zero == 6
    np.testing.assert_allclose(scale, steps[:, 0], rtol=1e-6)


def test_grid_search_clips_an_outlier_and_survives_zeros() -> None:
    values = np.abs(np.random.default_rng(0).normal(size=(1, 5000))).astype(np.float32)
    values[0, 0] = 20
    scale, zero = fit_grid(values, 4)
    assert zero == 0 and scale[0] * 15 < 10
    scale, zero = fit_grid(np.zeros((2, 4), dtype=np.float32), 4)
    assert zero == 0 and (scale > 0).all()
    assert fit_grid(-values, 4)[1] >= 14


def plain_fit(values: np.ndarray, zero: int, top: int) -> tuple[np.ndarray, float]:
    """The search for scales, written plainly."""
    above = values.max(1) / (top - zero) if zero < top else np.zeros(len(values))
    below = -values.min(1) / zero if zero else np.zeros(len(values))
    best_scale, best_error = np.zeros(len(values), np.float32), np.full(len(values), np.inf)
    for fraction in CLIP_FRACTIONS:
        scale = (np.maximum(above, below) * fraction).astype(np.float32)
        grid = np.clip(np.rint(values / scale[:, None]), -zero, top - zero) * scale[:, None]
        error = np.square(grid - values).sum(1, dtype=np.float64)
        best_scale, best_error = np.where(error < best_error, scale, best_scale), np.minimum(error, best_error)
    return best_scale, float(best_error.sum())


@pytest.mark.parametrize("bits", [1, 3, 4, 8])
@pytest.mark.parametrize(("rows", "count"), [(1, 9000), (7, 40)])
def test_the_scales_are_those_of_a_plain_search(bits: int, rows: int, count: int) -> None:
    random, top = np.random.default_rng(bits), 2**bits - 1
    for low in (-1.0, 0.0):
        values = (random.standard_t(4, (rows, count)) * 0.05).astype(np.float32).clip(low)
        scale, zero = fit_grid(values, bits)
        near = range(max(zero - 3, 0), min(zero + 3, top) + 1) if low else [0]
        fits = {other: plain_fit(values, other, top) for other in near}
        np.testing.assert_array_equal(scale, fits[zero][0])
        assert fits[zero][1] <= min(error for _, error in fits.values()) * (1 + 1e-12)


def test_a_percentile_sets_the_ends_of_the_codes() -> None:
    """Of 10,001 even values, 50 are above the 99.5th percentile; the lowest code moves only if there are negative
    ones."""
    values = np.linspace(0, 2, 10001, dtype=np.float32)
    scale, zero = fit_percentile(values, 4, 99.5)
    assert zero == 0 and scale[0] * 15 == pytest.approx(1.99)
    scale, zero = fit_percentile(values - 1, 8, 99.5)
    assert zero in (127, 128) and scale[0] * 255 == pytest.approx(1.98)
    assert fit_percentile(values, 4, 100)[0][0] * 15 == pytest.approx(2)
    assert fit_percentile(-values, 4, 90)[1] == 15
    # One value in a thousand is not 0.
    rare = np.zeros(1000, np.float32)
    rare[3] = 3
    assert fit_percentile(rare, 2, 99)[0][0] == 1
    assert fit_percentile(0 * rare, 2, 99) == (np.float32(1 / 3), 0)
