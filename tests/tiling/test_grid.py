"""Layers on tiles: spans, errors, sums from the array, and calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.programming import cell_amps
from norsim.backends.registry import backend_named, read
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError, PlacementError
from norsim.jobs.workers import Threads
from norsim.periphery.encoding import full_scale_amps
from norsim.quantization.layer import ConvGeometry, QuantizedLayer, weight_span
from norsim.tiling.fit import fit_lines
from norsim.tiling.grid import TileGrid, exact_sums, place
from norsim.tiling.program import program_tile
from tests.conftest import reader_by

MakeLayer = Callable[..., QuantizedLayer]
SmallChip = Callable[..., Chip]
Solver = Callable[[Tile, Stimulus], Currents]

# The capacity of a tile of 8 x 8: (inputs, outputs).
CAPACITIES = {
    "reference": (("mapping.scheme=reference",), (8, 6)),
    "digital": (("mapping.scheme=digital",), (8, 8)),
    "differential": (("mapping.scheme=differential",), (8, 4)),
    "linear-pair": (("encoding=linear-pair",), (8, 4)),
}
every_capacity = pytest.mark.parametrize(("settings", "capacity"), CAPACITIES.values(), ids=CAPACITIES.keys())


def random_codes(vectors: int, inputs: int, seed: int = 1, top: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top, (vectors, inputs), dtype=np.uint8)


@every_capacity
@pytest.mark.parametrize("shape", [(1, 1), (8, 4), (19, 14), (16, 12), (9, 9)])
def test_tiles_cover_each_weight_once_and_fit(
    small_chip: SmallChip, make_layer: MakeLayer,
    settings: tuple[str, ...], capacity: tuple[int, int], shape: tuple[int, int],
) -> None:  # fmt: skip
    layer, chip = make_layer(*shape), small_chip(*settings)
    grid = place(layer, chip)
    again = np.full((layer.outputs, layer.inputs), -1)
    for part in grid.tiles:
        own = np.ix_(part.outputs, part.inputs)
        assert (again[own] == -1).all()
        again[own] = part.weights.T
        assert len(part.inputs) <= capacity[0] and len(part.outputs) <= capacity[1]
        wordlines, bitlines = chip.encoding.cell_codes(part.weights, layer.weight_zero).shape
        assert wordlines <= chip.wordlines and bitlines <= chip.bitlines
        assert grid.at(part.row, part.column) is part
        assert part.inputs.start == part.row * capacity[0] and part.outputs.start == part.column * capacity[1]
    assert np.array_equal(again, layer.weights)
    assert len(grid.tiles) == -(-shape[0] // capacity[0]) * -(-shape[1] // capacity[1])


def test_a_tile_holds_the_levels_of_its_codes_and_describes_its_lines(
    small_chip: SmallChip, make_layer: MakeLayer
) -> None:
    geometry = ConvGeometry(3, (2, 2))
    grid = place(make_layer(12, 8, name="conv1", geometry=geometry), small_chip())
    part = grid.at(1, 1)
    assert (part.name, part.inputs, part.outputs) == ("conv1 tile 1,1", range(8, 12), range(6, 8))
    array = program_tile(part)
    tile = array.tile
    codes = grid.chip.encoding.cell_codes(part.weights, grid.layer.weight_zero)
    assert np.array_equal(tile.thresholds, array.levels.thresholds[codes])
    assert tile.wires == grid.chip.wires and tile.cell == grid.chip.cell
    assert tile.wordline_notes[1] == "input 9: channel 2, kernel (0, 1)"
    assert tile.bitline_notes[0] == "layer conv1, output channel 6"
    assert tile.name == "layer conv1, tile 1,1: inputs 8 to 11, outputs 6 to 7"
    layer_codes = random_codes(2, 12)
    assert np.array_equal(part.codes(layer_codes), layer_codes[:, 8:12])
    assert part.full_scale_amps == full_scale_amps(grid.chip.encoding, 4, 4, 4)


def test_the_error_for_an_unknown_place_names_the_valid_ones(small_chip: SmallChip, make_layer: MakeLayer) -> None:
    grid = place(make_layer(19, 14), small_chip())
    with pytest.raises(PlacementError, match="'fc' has no tile 3,0: rows 0 to 2, columns 0 to 2"):
        grid.at(3, 0)


@pytest.mark.parametrize(
    ("settings", "fields", "problem"),
    [
        (
            ("mapping.cell_bits=2",),
            {"weight_bits": 5},
            "takes 6 bitlines of one group, but a group of 4",
        ),
        (("bit_serial.reference_every=3",), {"weight_bits": 5}, "do not fit between straps every 4 bitlines"),
        (("encoding=linear-pair",), {"input_bits": 5}, "has 5-bit activations, but linear-pair takes at most 4 bits"),
        (("tile.bitlines=1",), {}, "a tile of 8 x 1 is too small for one output of a bit-serial"),
        (
            ("encoding=linear-pair", "tile.wordlines=1"),
            {},
            "a tile of 1 x 8 is too small for one output of a linear-pair",
        ),
    ],
)
def test_a_layer_that_does_not_fit_is_refused(
    small_chip: SmallChip, make_layer: MakeLayer,
    settings: tuple[str, ...], fields: dict[str, object], problem: str,
) -> None:  # fmt: skip
    with pytest.raises(PlacementError, match=problem):
        place(make_layer(8, 4, **fields), small_chip(*settings))


def test_groups_larger_than_a_tile_have_their_own_tiles(small_chip: SmallChip, make_layer: MakeLayer) -> None:
    """Three groups of 10 inputs and 8 outputs, on tiles of 8 by 6: the integers of each block."""
    grid = place(make_layer(10, 24, geometry=ConvGeometry(30, (1, 1), groups=3)), small_chip())
    assert len(grid.tiles) == 2 * 6 and grid.layer.vector_length == 30
    last = grid.at(1, 5)
    assert (last.inputs, last.outputs, last.blocks) == (range(28, 30), range(22, 24), 1)
    assert weight_span(grid.layer, last.inputs, last.outputs) == range(8, 10)
    codes = random_codes(5, 30)
    weights = grid.layer.weights.astype(int) - grid.layer.weight_zero
    expected = np.concatenate([codes[:, 10 * g : 10 * g + 10] @ weights[8 * g : 8 * g + 8].T for g in range(3)], 1)
    assert np.array_equal(grid.multiply(codes, reader_by("ideal")), expected)
    found = np.zeros((5, 24))
    for part in grid.tiles:
        found[:, part.outputs.start : part.outputs.stop] += part.codes(codes) @ (
            part.weights.astype(int) - grid.layer.weight_zero
        )
    assert np.array_equal(found, expected)


def test_a_weight_outside_the_levels_is_refused(make_layer: MakeLayer) -> None:
    with pytest.raises(PlacementError, match="weight code 16 at output 0, input 1 is outside the levels 0 to 15"):
        make_layer(2, 1, weights=np.array([[3, 16]]))


@pytest.mark.parametrize("zero_point", ["reference", "digital", "differential"])
def test_without_wires_bit_serial_gives_the_integers(
    small_chip: SmallChip, make_layer: MakeLayer, lossless: tuple[str, ...], zero_point: str
) -> None:
    """Over 2 x 2 or 2 x 3 tiles; a quarter of a code step is a 10,000th of full scale."""
    chip = small_chip(*lossless, "adc.bits=16", f"mapping.scheme={zero_point}")
    layer = make_layer(11, 9, weight_zero=6)
    grid = place(layer, chip)
    assert len(grid.tiles) == {"reference": 4, "digital": 4, "differential": 6}[zero_point]
    codes = random_codes(3, 11)
    sums, exact = grid.program().multiply(codes, reader_by("ngspice", Threads(2))), exact_sums(layer, codes)
    assert np.abs(exact).max() > 100
    assert np.abs(sums - exact).max() < 0.25 < 0.002 * 11 * 15 * 15


@pytest.mark.parametrize(("weight_bits", "input_bits"), [(2, 3), (3, 1), (1, 4)])
def test_narrower_codes_also_give_the_integers(
    small_chip: SmallChip, make_layer: MakeLayer, lossless: tuple[str, ...], weight_bits: int, input_bits: int
) -> None:
    layer = make_layer(8, 3, weight_bits=weight_bits, input_bits=input_bits)
    codes = random_codes(4, 8, top=2**input_bits)
    sums = place(layer, small_chip(*lossless, "adc.bits=16")).program().multiply(codes, reader_by("ngspice"))
    assert np.abs(sums - exact_sums(layer, codes)).max() < 0.1


def test_linear_pair_without_wires_deviates_like_its_single_cells(
    small_chip: SmallChip, make_layer: MakeLayer, lossless: tuple[str, ...]
) -> None:
    chip, layer = small_chip(*lossless, "encoding=linear-pair"), make_layer(6, 3, weight_zero=5)
    (part,) = place(layer, chip).tiles
    codes = random_codes(5, 6)
    array = program_tile(part)
    amps = part.amps(read(array.tile, array.drive(codes)))
    levels = array.levels.thresholds
    # cell[x, q]: one cell at weight code q under activation code x.
    gate, drain = chip.encoding.verify_volts
    cell = np.stack([cell_amps(chip.cell, levels, gate, drain * x / 15) for x in range(16)])
    signed = layer.weights.astype(np.int64) - 5
    plus, minus = np.maximum(signed, 0), np.maximum(-signed, 0)
    drives = codes[:, None, :]
    expected = (cell[drives, plus] - cell[drives, minus]).sum(axis=2)
    assert np.abs(amps - expected).max() < 1e-6 * np.abs(expected).max()
    linear = exact_sums(layer, codes) * chip.encoding.lsb_amps
    bend = np.abs(expected - linear).max() / np.abs(linear).max()
    assert 1e-3 < bend < 0.1  # cells are slightly below linear, as predicted


def test_linear_pair_with_narrower_activations_keeps_its_unit(
    small_chip: SmallChip, make_layer: MakeLayer, lossless: tuple[str, ...]
) -> None:
    layer = make_layer(8, 4, input_bits=3)
    codes = random_codes(6, 8, top=8)
    chip = small_chip(*lossless, "encoding=linear-pair", "adc.bits=16")
    sums, exact = (
        place(layer, chip).program().multiply(codes, reader_by("ngspice")),
        exact_sums(layer, codes),
    )
    slope = (sums * exact).sum() / np.square(exact).sum()
    assert slope == pytest.approx(1.0, abs=0.05)
    assert np.abs(sums - exact).max() < 0.1 * np.abs(exact).max()


LOSSY = ("bit_serial.wires.bitline=200 ohm", "bit_serial.wires.source_line=1 kohm",
         "linear_pair.wires.source_line=1 kohm", "linear_pair.wires.source_line_end=1 kohm")  # fmt: skip


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_calibration_brings_the_sums_closer_to_the_integers(
    small_chip: SmallChip, make_layer: MakeLayer, encoding: str
) -> None:
    layer, codes = make_layer(8, 4), random_codes(12, 8)
    errors = {}
    for fit in ("false", "true"):
        grid = place(layer, small_chip(*LOSSY, f"encoding={encoding}", f"calibration.column_fit={fit}")).program()
        fitted = grid.fit(codes, reader_by("ngspice"), np.random.default_rng(0))
        for name, one in (("full scale", grid), (f"column fit {fit}", fitted)):
            deviation = one.multiply(codes, reader_by("ngspice")) - exact_sums(layer, codes)
            errors[name] = np.sqrt(np.square(deviation).mean())
        assert fitted.tiles[0].adcs[0].step_amps < grid.tiles[0].adcs[0].step_amps
    assert errors["column fit true"] < 0.6 * errors["column fit false"] < errors["full scale"]


def test_calibration_of_an_exact_line_recovers_gain_and_offset(
    small_chip: SmallChip, make_layer: MakeLayer, register: Callable[[Solver], str], switched: Solver
) -> None:
    """Cells conduct 0.5 uA per volt too little, plus a constant of 2 uA: the column fit corrects both."""
    layer, codes = make_layer(8, 6), random_codes(40, 8)

    def bent(tile: Tile, stimulus: Stimulus) -> Currents:
        codes_of = np.searchsorted(-levels, -tile.thresholds)
        cells = replace(tile, thresholds=6.0 - 0.05 * codes_of)
        currents = switched(cells, stimulus)
        own = np.isin(np.arange(tile.bitlines), [lines[0][1] for lines in grid.chip.encoding.sense(6)])
        return replace(currents, bitline=currents.bitline + 2e-6 * own)

    grid = place(layer, small_chip("adc.bits=16")).program()
    levels = grid.arrays[0].levels.thresholds
    name = register(bent)
    (part,) = grid.fit(codes, reader_by(name), np.random.default_rng(0)).tiles
    # A code step is 0.05 uA instead of 1.6 / 15 uA.
    np.testing.assert_allclose(part.gain, 1.6 / 15 / 0.05, rtol=1e-3)
    np.testing.assert_allclose(part.offset, -2.0 / 0.05, rtol=1e-3)


def test_calibration_of_a_tile_does_not_depend_on_its_neighbours(
    small_chip: SmallChip, make_layer: MakeLayer, register: Callable[[Solver], str], switched: Solver
) -> None:
    reader = reader_by(register(switched))
    grid, codes = place(make_layer(19, 14), small_chip()), random_codes(50, 19)
    whole = grid.program().fit(codes, reader, np.random.default_rng(7))
    for part in whole.tiles:
        only = replace(grid, tiles=(grid.at(part.row, part.column),))
        (alone,) = only.program().fit(codes, reader, np.random.default_rng(7)).tiles
        assert alone.adcs == part.adcs
        assert np.array_equal(alone.gain, part.gain) and np.array_equal(alone.offset, part.offset)


def test_multiplying_with_ideal_reads_no_array(
    small_chip: SmallChip, make_layer: MakeLayer, register: Callable[[Solver], str]
) -> None:
    def forbidden(tile: Tile, stimulus: Stimulus) -> Currents:
        raise AssertionError("the array was read")

    register(forbidden)
    layer, codes = make_layer(19, 14), random_codes(3, 19)
    assert np.array_equal(place(layer, small_chip()).multiply(codes, reader_by("ideal")), exact_sums(layer, codes))


def test_exact_sums_are_those_of_integers(make_layer: MakeLayer) -> None:
    layer, codes = make_layer(5, 3), random_codes(4, 5)
    integers = codes.astype(np.int64) @ (layer.weights.astype(np.int64) - layer.weight_zero).T
    assert np.array_equal(exact_sums(layer, codes), integers)


def test_fitted_lines_are_least_squares_and_a_flat_column_keeps_its_slope() -> None:
    random = np.random.default_rng(2)
    x, y = random.normal(size=(30, 3)), random.normal(size=(30, 3))
    x[:, 1] = 4.0
    weights = random.uniform(1, 4, 30)
    slope, intercept = fit_lines(x, y, weights, flat_slope=2.5)
    for column in (0, 2):
        expected = np.polyfit(x[:, column], y[:, column], 1, w=np.sqrt(weights))
        assert [slope[column], intercept[column]] == pytest.approx(list(expected))
    assert slope[1] == 2.5 and intercept[1] == pytest.approx(np.average(y[:, 1], weights=weights) - 10.0)


def repeated_reads(grid: TileGrid, codes: np.ndarray) -> list[tuple[Tile, Stimulus]]:
    arrays = zip(grid.tiles, grid.program().arrays, strict=True)
    return [(array.tile, array.drive(part.codes(codes))) for part, array in arrays]


def test_reader_solves_equal_reads_once_and_splits_long_ones(
    small_chip: SmallChip, make_layer: MakeLayer, register: Callable[..., str], switched: Solver
) -> None:
    solved: list[int] = []

    def counting(tile: Tile, stimulus: Stimulus) -> Currents:
        solved.append(stimulus.vectors)
        return switched(tile, stimulus)

    codes = np.tile(random_codes(60, 11), (3, 1))
    requests = repeated_reads(place(make_layer(11, 3), small_chip()), codes)
    name = register(counting, reads_per_deck=50)
    for jobs in (1, 2):
        solved.clear()
        found = reader_by(name, Threads(jobs)).currents(requests)
        for (tile, stimulus), currents in zip(requests, found, strict=True):
            assert np.array_equal(currents.bitline, switched(tile, stimulus).bitline)
            assert np.array_equal(currents.source, switched(tile, stimulus).source)
        distinct = [len(np.unique(stimulus.wordline_volts, axis=0)) for _, stimulus in requests]
        assert sum(solved) == sum(distinct) < 720 / 3
        assert max(solved) == 50 and len(solved) == sum(-(-n // 50) for n in distinct) > 2


def test_reader_gives_the_same_bits_with_more_jobs(small_chip: SmallChip, make_layer: MakeLayer) -> None:
    requests = repeated_reads(place(make_layer(11, 3), small_chip()), random_codes(4, 11))
    one, two = (reader_by("ngspice", Threads(jobs)).currents(requests) for jobs in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.bitline, b.bitline) and np.array_equal(a.residual, b.residual)


def test_reader_refuses_an_unknown_backend() -> None:
    with pytest.raises(ConfigurationError, match="no backend 'spectre'; choose one of ideal, ngspice"):
        backend_named("spectre")
    with pytest.raises(ConfigurationError, match="at least one job is needed, not 0"):
        Threads(0)
