"""Layers whose weights are cut into slices, on tiles: every backend against integers and against ngspice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from norsim.array.tile import Stimulus
from norsim.backends.macro import Macro
from norsim.backends.registry import read
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError, PlacementError
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling import fit
from norsim.tiling.fit import fit_as_vector, with_fit
from norsim.tiling.grid import TileGrid, exact_sums, place
from norsim.tiling.on_device.build import device_tile
from norsim.tiling.read_noise import ReadNoise
from norsim.training.through_array import effective_weights
from tests.conftest import reader_by

MakeLayer = Callable[..., QuantizedLayer]
SmallChip = Callable[..., Chip]
SCHEMES = {
    "reference": ("mapping.scheme=reference",),
    "digital": ("mapping.scheme=digital",),
    "differential": ("mapping.scheme=differential",),
    "cells of 3 bits": ("mapping.cell_bits=3",),
    "cells of 1 bit": ("mapping.cell_bits=1", "mapping.scheme=digital"),
}
GROUPS = ("tile.bitlines=16", "bit_serial.reference_every=8", "bit_serial.wires.strap_every=8")


def codes_of(vectors: int, inputs: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (vectors, inputs), dtype=np.uint8)


def wide(make_layer: MakeLayer, inputs: int, outputs: int) -> QuantizedLayer:
    return make_layer(inputs, outputs, weight_bits=8, input_bits=8)


@pytest.mark.parametrize("settings", SCHEMES.values(), ids=SCHEMES)
def test_eight_bit_integers_are_exact_on_perfect_wires(
    small_chip: SmallChip, make_layer: MakeLayer, lossless: tuple[str, ...], settings: tuple[str, ...]
) -> None:
    """By nodal with converters of 24 bits, on ragged tiles with more than one group."""
    layer, codes = wide(make_layer, 11, 7), codes_of(4, 11)
    grid = place(layer, small_chip(*GROUPS, *lossless, *settings, "adc.bits=24")).program()
    nodal = reader_by("nodal")
    fitted = grid.fit(codes, nodal, np.random.default_rng(0))
    exact = exact_sums(layer, codes)
    assert np.array_equal(np.rint(fitted.multiply(codes, nodal)), exact) and np.abs(exact).max() > 2**14


LINEAR = ("encoding=linear-pair", "cell.netlist=linear.sp", "cell.subcircuit=linear", "cell.models=[]")


def test_a_linear_cell_carries_eight_bits_on_its_drain(
    small_chip: SmallChip, make_layer: MakeLayer, lossless: tuple[str, ...]
) -> None:
    """Integers of 8-bit weights and activations, by ngspice; a real cell is refused, with what it can carry."""
    layer, codes = wide(make_layer, 5, 2), codes_of(4, 5)
    settings = (*lossless, "linear_pair.dac_bits=8", "adc.bits=24")
    grid = place(layer, small_chip(*LINEAR, *settings)).program()
    fitted = grid.fit(codes, reader_by("ngspice"), np.random.default_rng(0))
    assert np.array_equal(np.rint(fitted.multiply(codes, reader_by("ngspice"))), exact_sums(layer, codes))
    with pytest.raises(ConfigurationError, match="2.7 steps from the line, .* Use a dac_bits of at most 5"):
        place(layer, small_chip("encoding=linear-pair", *settings)).program()


PAIRS = ("encoding=linear-pair", "mapping.cell_bits=3")


@pytest.mark.parametrize("settings", [*SCHEMES.values(), PAIRS], ids=[*SCHEMES, "linear-pair"])
def test_backends_agree_on_a_sliced_tile(
    small_chip: SmallChip, make_layer: MakeLayer, settings: tuple[str, ...]
) -> None:
    """ngspice solves each read in a deck of its own, because a solve that starts from another one ends less close."""
    bits = 4 if settings is PAIRS else 8
    chip = small_chip(*GROUPS, "tile.wordlines=12", *settings)
    grid = place(make_layer(8, 2, weight_bits=8, input_bits=bits), chip).program()
    part, array = grid.programmed()[0]
    stimulus: Stimulus = array.drive(part.codes(codes_of(9, 8) >> 8 - bits))
    stimulus = stimulus.take(np.array([0, 4, 8]) if settings is PAIRS else np.array([0, 11, 22]))
    found = {name: part.amps(read(array.tile, stimulus, name)) for name in ("nodal", "macro")}
    for k in range(stimulus.vectors):
        spice = part.amps(read(array.tile, stimulus.take(slice(k, k + 1)), "ngspice"))[0]
        assert spice.shape == (part.conversions,) and np.abs(spice).max() > 0.02 * part.full_scale_amps
        for name, bound in (("nodal", 1e-8), ("macro", 1e-4)):
            assert np.abs(found[name][k] - spice).max() <= bound * part.full_scale_amps


@pytest.fixture(scope="module")
def fitted(small_chip: SmallChip) -> TileGrid:
    """Return a layer with noisy, flawed converters on tiles of two slices, fitted."""
    layer = QuantizedLayer(
        "fc", np.random.default_rng(0).integers(0, 256, (7, 11)), 120, np.full(7, 0.5), 8, 0.25, 0, 8
    )  # fmt: skip
    spread = ("adc.offset=0.5", "adc.gain=0.01", "adc.noise=0.3", "adc.shared_by=3")
    grid = place(layer, small_chip(*GROUPS, *spread, "calibration.reads=32")).program()
    return grid.fit(codes_of(9, 11), reader_by("macro"), np.random.default_rng(0))


def test_each_slice_has_a_range_and_each_conversion_a_fit(fitted: TileGrid) -> None:
    for part in fitted.tiles:
        assert len(part.adcs) == 2 and part.adcs[0] != part.adcs[1]
        assert len(part.gain) == len(part.offset) == part.conversions == 2 * len(part.outputs)
        assert len(set(np.round(part.flaws.gain, 12))) == -(-part.conversions // 3)
    state = fit_as_vector(fitted.tiles)
    again = with_fit(place(fitted.layer, fitted.chip).tiles, state)
    assert np.array_equal(fit_as_vector(again), state)
    assert [part.adcs for part in again] == [part.adcs for part in fitted.tiles]


def test_a_read_is_the_same_in_one_kernel_step_by_step_and_on_a_device(fitted: TileGrid) -> None:
    codes = codes_of(21, 11)
    noise = ReadNoise(3, images=21)
    sums = fitted.multiply(codes, reader_by("macro", noise=noise))
    total, of_torch = np.zeros_like(sums), np.zeros_like(sums)
    for part, array in fitted.programmed():
        own = slice(part.outputs.start, part.outputs.stop)
        drawn = noise.of_tile(part, array, 21)
        steps = drawn.of_converters(21 * 8)
        amps = part.amps(read(array.tile, array.drive(part.codes(codes)), "macro"))
        total[:, own] += part.read_out(codes, amps.astype(np.float32), steps).sums
        tile = device_tile(part, array, Macro(), torch.device("cpu"))
        found = tile.read_some(torch.from_numpy(codes), noise.of_tile(part, array, 21))
        assert found.amps.shape == (21, 8, part.conversions)
        of_torch[:, own] += found.sums.numpy()
    # A few currents are at the edge of a code.
    most = 128 * 16 * max(part.adcs[1].step_amps for part in fitted.tiles) / fitted.chip.encoding.lsb_amps
    for other in (total, of_torch):
        assert np.mean(np.abs(sums - other) < 0.01) > 0.9 and np.abs(sums - other).max() < 1.5 * most


def test_the_gradient_of_a_tile_adds_up_its_slices(
    small_chip: SmallChip, make_layer: MakeLayer, lossless: tuple[str, ...]
) -> None:
    layer = wide(make_layer, 6, 3)
    grid = place(layer, small_chip(*GROUPS, *lossless)).program()
    np.testing.assert_allclose(
        effective_weights(grid).numpy(), layer.weights.astype(int) - layer.weight_zero, rtol=2e-3, atol=0.3
    )


def test_more_conversions_take_more_energy(small_chip: SmallChip, make_layer: MakeLayer) -> None:
    parts = []
    for bits in (4, 8):
        grid = place(make_layer(8, 3, weight_bits=bits), small_chip(*GROUPS)).program()
        codes = np.random.default_rng(1).integers(0, 16, (9, 8), dtype=np.uint8)
        parts.append(grid.fit(codes, reader_by("macro"), np.random.default_rng(0)).tiles[0])
    assert parts[1].energy.converters == pytest.approx(2 * parts[0].energy.converters)
    assert parts[1].energy.cells > 1.5 * parts[0].energy.cells


def test_a_group_that_is_too_small_is_refused_by_name(small_chip: SmallChip, make_layer: MakeLayer) -> None:
    with pytest.raises(PlacementError, match="'fc': with the scheme reference a weight of 8 bits takes 16 bitlines"):
        place(wide(make_layer, 8, 3), small_chip("mapping.cell_bits=1"))


def test_a_cell_of_one_bit_has_a_ratiometric_reference(small_chip: SmallChip, make_layer: MakeLayer) -> None:
    chip = small_chip(
        *GROUPS, "mapping.cell_bits=1", "mapping.scheme=digital", "adc.reference=ratiometric", "calibration.fresh=true",
        "silicon.programmed_at=25 degC", "temperature=60 degC",
    )  # fmt: skip
    grid = place(wide(make_layer, 8, 2), chip).program()
    found = grid.fit(codes_of(4, 8), reader_by("nodal"), np.random.default_rng(0))
    assert all(np.isfinite(part.gain).all() for part in found.tiles)


def test_high_bits_decide_the_fit_of_a_column(
    small_chip: SmallChip, make_layer: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wires compress the reads of low bits, which drive many wordlines; activations are as small as those of ReLU."""
    layer = wide(make_layer, 64, 6)
    codes = np.random.default_rng(1).exponential(20, (400, 64)).clip(0, 255).astype(np.uint8)
    chip = small_chip(*GROUPS, "tile.wordlines=64", "bit_serial.wires.source_line=100 ohm", "adc.bits=10")
    macro, grid, exact = reader_by("macro"), place(layer, chip).program(), exact_sums(layer, codes)

    def error() -> float:
        fitted = grid.fit(codes, macro, np.random.default_rng(0))
        return float(np.square(fitted.multiply(codes, macro) - exact).mean() ** 0.5)

    weighted = error()
    monkeypatch.setattr(fit, "ALIKE", np.inf)
    assert weighted < 0.5 * error()
