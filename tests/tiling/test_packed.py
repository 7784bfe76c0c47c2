"""Groups of a convolution that share a tile: every mapping against integers, every backend against ngspice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from norsim.array.tile import Stimulus
from norsim.backends.macro import Macro
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.chip.model import Chip
from norsim.quantization.layer import ConvGeometry, QuantizedLayer
from norsim.tiling.grid import TileGrid, exact_sums, place
from norsim.tiling.on_device.build import device_tile
from norsim.training.through_array import effective_weights
from tests.conftest import reader_by

SmallChip = Callable[..., Chip]
GROUPS = ("bit_serial.reference_every=8", "bit_serial.wires.strap_every=8", "pulse_width.reference_every=8",
          "pulse_width.wires.strap_every=8")  # fmt: skip
TILE = ("tile.wordlines=16", "tile.bitlines=20", *GROUPS)
MAPPINGS = {
    "reference": ("mapping.scheme=reference",),
    "digital": ("mapping.scheme=digital",),
    "differential": ("mapping.scheme=differential",),
    "cells of 3 bits": ("mapping.cell_bits=3",),
    "pulse-width": ("encoding=pulse-width",),
}
ROW_ORDER = "tile.row_order=true"


def grouped(groups: int, inputs: int, outputs: int, bits: int = 4, seed: int = 0) -> QuantizedLayer:
    """A convolution of `groups` groups, each of some inputs and outputs, with random codes of both kinds."""
    codes = np.random.default_rng(seed).integers(0, 2**bits, (groups * outputs, inputs))
    return QuantizedLayer(
        "dw", codes, 2 ** (bits - 1) - 1, np.full(len(codes), 0.5), bits, 0.25, 0, bits,
        geometry=ConvGeometry(groups * inputs, (1, 1), groups=groups),
    )  # fmt: skip


def codes_of(vectors: int, layer: QuantizedLayer) -> np.ndarray:
    shape = (vectors, layer.vector_length)
    return np.random.default_rng(1).integers(0, 2**layer.input_bits, shape, dtype=np.uint8)


def rows_in_order(small: SmallChip, *more: str) -> Chip:
    """Return the chip with tiles of 16 x 20, its inputs not in the order of the layer."""
    return replace(small(*TILE, *more), row_order=True)


@pytest.fixture(scope="module")
def chips(lossless: tuple[str, ...]) -> dict[str, Chip]:
    """Chips of every mapping with perfect wires and converters of 24 bits."""
    made = {name: load_chip("etox65", (*TILE, *lossless, *extra, "adc.bits=24")) for name, extra in MAPPINGS.items()}
    return {name: replace(chip, row_order=name != "reference") for name, chip in made.items()}


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    st.sampled_from(list(MAPPINGS)), st.integers(2, 9), st.integers(1, 9), st.integers(1, 9),
    st.sampled_from([1, 4, 8]), st.integers(0, 99),
)  # fmt: skip
def test_integers_are_exact_on_perfect_wires(
    chips: dict[str, Chip], mapping: str, groups: int, inputs: int, outputs: int, bits: int, seed: int
) -> None:
    """Any number of groups of any size, by nodal: packed, alone on a tile, or split over tiles."""
    layer = grouped(groups, inputs, outputs, 4 if mapping == "pulse-width" else bits, seed)
    grid, codes = place(layer, chips[mapping]), codes_of(3, layer)
    assert sum(len(part.outputs) for part in grid.tiles if part.row == 0) == layer.outputs
    for part in grid.tiles:
        wordlines, bitlines = part.cell_codes().shape
        assert wordlines <= 16 and bitlines <= 20 and np.array_equal(part.ideal_sums(codes), part_sums(part, codes))
    nodal = reader_by("nodal")
    fitted = grid.program().fit(codes, nodal, np.random.default_rng(0))
    assert np.array_equal(np.rint(fitted.multiply(codes, nodal)), exact_sums(layer, codes))


def part_sums(part: object, codes: np.ndarray) -> np.ndarray:
    """The sums of a tile from its weights, as tile.json states them."""
    found: np.ndarray = part.codes(codes).astype(int) @ (part.weights.astype(int) - part.layer.weight_zero)  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(("settings", "tiles"), [
    (("mapping.scheme=reference",), 4), (("mapping.scheme=digital",), 4), (("mapping.scheme=differential",), 4),
    (("encoding=linear-pair",), 3),
])  # fmt: skip
def test_as_many_channels_share_a_tile_as_its_lines_allow(
    small_chip: SmallChip, settings: tuple[str, ...], tiles: int
) -> None:
    """A depthwise convolution of 20 channels with kernels of 3: 5 channels on 16 wordlines, or 6 on 20 bitlines."""
    assert len(place(grouped(20, 3, 1), small_chip(*TILE, *settings)).tiles) == tiles + (tiles == 3)


def test_cells_between_blocks_are_off_and_leak(small_chip: SmallChip) -> None:
    """A channel's bitline gets only the leakage of the cells under the wordlines of the others."""
    layer = grouped(5, 3, 1)
    chip = rows_in_order(small_chip, "mapping.scheme=reference")
    (part,), (array,) = (grid := place(layer, chip).program()).tiles, grid.arrays
    assert part.order is not None and not np.array_equal(part.order, np.arange(15))
    for channel in range(5):
        codes = np.zeros((1, 15), np.uint8)
        codes[:, 3 * channel : 3 * channel + 3] = 15
        drawn = read(array.tile, array.drive(part.codes(codes)), "nodal").bitline[0]
        expected = int(layer.weights[channel].sum()) - 3 * layer.weight_zero
        assert part.ideal_sums(codes)[0].tolist() == [15 * expected * (one == channel) for one in range(5)]
        lines = part.encoding.sense(5)[channel]
        others = [drawn[k] for k in range(len(drawn)) if k not in {index for _, index, _ in lines}]
        # Above zero, because these cells are real; far below one step of a code.
        assert 0 < min(others) and max(others) < 1e-3 * part.encoding.lsb_amps
    off = np.ones((15, 5), bool)
    off[np.arange(15), np.arange(15) // 3] = False
    plus = [parts[0][1] for parts in part.encoding.sense(5)]
    cells = array.tile.thresholds[np.argsort(part.order)][:, plus]
    assert (cells[off] == chip.cell.programmed_volts).all()


PAIRS = ("encoding=linear-pair",)


def test_pairs_between_blocks_are_off_too(small_chip: SmallChip) -> None:
    """Where code 0 conducts, both cells of such a pair are programmed."""
    layer = grouped(5, 3, 1)
    (part,), (array,) = (grid := place(layer, rows_in_order(small_chip, *PAIRS)).program()).tiles, grid.arrays
    off = np.repeat(np.arange(5), 2)[:, None] != np.arange(15) // 3
    volts = array.tile.thresholds[:, np.argsort(part.order)]
    assert (volts[off] == part.chip.cell.programmed_volts).all() and volts[~off].max() < volts[off].min() - 0.1


@pytest.mark.parametrize("settings", [*MAPPINGS.values(), PAIRS], ids=[*MAPPINGS, "linear-pair"])
def test_backends_agree_on_a_packed_tile(small_chip: SmallChip, settings: tuple[str, ...]) -> None:
    """On wires with resistance; ngspice solves each read in a deck of its own."""
    bits = 8 if "mapping.cell_bits=3" in settings else 4
    layer = grouped(4, 3, 1, bits)
    grid = place(layer, rows_in_order(small_chip, *settings)).program()
    part, array = grid.programmed()[0]
    assert part.blocks > 1
    stimulus: Stimulus = array.drive(part.codes(codes_of(5, layer))).take(np.array([0, 3]))
    part = replace(part, layer=replace(layer, input_bits=4))
    found = {name: sensed(part, stimulus, array, name) for name in ("nodal", "macro")}
    for k in range(stimulus.vectors):
        spice = sensed(part, stimulus.take(slice(k, k + 1)), array, "ngspice")[0]
        assert np.abs(spice).max() > 0.02 * part.full_scale_amps
        for name, bound in (("nodal", 1e-8), ("macro", 1e-4)):
            assert np.abs(found[name][k] - spice).max() <= bound * part.full_scale_amps


def sensed(part: object, stimulus: Stimulus, array: object, backend: str) -> np.ndarray:
    """Return the amperes of outputs, one slot a read."""
    from norsim.periphery.encoding import sensed_amps

    currents = read(array.tile, stimulus, backend)  # type: ignore[attr-defined]
    return sensed_amps(currents, part.encoding.sense(len(part.outputs)))  # type: ignore[attr-defined]


@pytest.mark.parametrize("settings", [MAPPINGS["digital"], MAPPINGS["reference"], PAIRS])
def test_a_read_is_the_same_in_one_kernel_step_by_step_and_on_a_device(
    small_chip: SmallChip, settings: tuple[str, ...]
) -> None:
    layer = grouped(12, 3, 1)
    codes = codes_of(9, layer)
    grid = place(layer, rows_in_order(small_chip, "calibration.reads=32", *settings)).program()
    fitted: TileGrid = grid.fit(codes, reader_by("macro"), np.random.default_rng(0))
    sums = fitted.multiply(codes, reader_by("macro"))
    assert len(fitted.tiles) > 1
    for part, array in fitted.programmed():
        own = slice(part.outputs.start, part.outputs.stop)
        amps = part.amps(read(array.tile, array.drive(part.codes(codes)), "macro"))
        step = 8 * max(adc.step_amps for adc in part.adcs) / part.encoding.lsb_amps
        for other in (
            part.read_out(codes, amps.astype(np.float32)).sums,
            device_tile(part, array, Macro(), torch.device("cpu"))
            .read_some(torch.from_numpy(codes), None)
            .sums.numpy(),
        ):
            away = np.abs(sums[:, own] - other)
            # A few currents are at the edge of a code.
            assert np.mean(away < 0.01) > 0.9 and away.max() < 1.5 * step


@pytest.mark.parametrize("settings", [MAPPINGS["digital"], MAPPINGS["reference"]])
def test_the_gradient_of_a_packed_tile_is_that_of_its_groups(
    small_chip: SmallChip, lossless: tuple[str, ...], settings: tuple[str, ...]
) -> None:
    layer = grouped(7, 3, 2)
    grid = place(layer, rows_in_order(small_chip, *lossless, *settings)).program()
    np.testing.assert_allclose(
        effective_weights(grid).numpy(), layer.weights.astype(int) - layer.weight_zero, rtol=2e-3, atol=0.03
    )


# Expansion, outputs, repeats and stride of the blocks of MobileNetV2 (Sandler et al. 2018, table 2).
BLOCKS = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))


def mobilenet_layers() -> list[tuple[int, int, int]]:
    """Return inputs of a group, outputs and groups of every layer of MobileNetV2."""
    found, inputs = [(27, 32, 1)], 32
    for expansion, outputs, repeats in BLOCKS:
        for _ in range(repeats):
            hidden = inputs * expansion
            found += [(inputs, hidden, 1)] if expansion > 1 else []
            found += [(9, hidden, hidden), (hidden, outputs, 1)]
            inputs = outputs
    return [*found, (inputs, 1280, 1), (1280, 1000, 1)]


@pytest.mark.parametrize(("bits", "most"), [(4, 500), (8, 700)])
def test_a_mobilenet_takes_hundreds_of_tiles(bits: int, most: int) -> None:
    chip, tiles, weights = load_chip("etox65"), 0, 0
    for inputs, outputs, groups in mobilenet_layers():
        codes = np.zeros((outputs, inputs), np.uint8)
        geometry = ConvGeometry(groups * inputs, (1, 1), groups=groups)
        layer = QuantizedLayer("one", codes, 0, np.ones(outputs), bits, 1.0, 0, bits, geometry=geometry)
        tiles, weights = tiles + len(place(layer, chip).tiles), weights + codes.size
    assert 3.4e6 < weights < 3.5e6 and tiles <= most
