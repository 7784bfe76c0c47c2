"""Energy and time of a network's layers, from their tiles and the chip's converters, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import norsim
from norsim.backends.registry import backend_named
from norsim.chip.model import Chip
from norsim.evaluation.chip_costs import chip_costs, costs_of_layers, vectors_of
from norsim.evaluation.clipping import Use
from norsim.evaluation.costs import image_costs, layer_table
from norsim.tiling.macs import count_macs
from norsim.tiling.modules import layer_codes, tiled_layers

IMAGES, OUTPUTS = 5, 10
COSTS = ("cost.sample=3 ns", "cost.conversion=20 ns", "cost.adc_step=5 fJ", "cost.pump_efficiency=0.4")
# Two rows of tiles of 8 x 8 with 6 outputs each, for 12 inputs; two columns, of 6 and 4 outputs.
TILES = ((0, 0, 6), (0, 1, 4), (1, 0, 6), (1, 1, 4))


@pytest.fixture(scope="module")
def network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    images = torch.rand(40, 12)
    return norsim.quantize(nn.Sequential(nn.Linear(12, OUTPUTS)), images[:30]), images


@pytest.fixture
def calibrated(network: Any, small_chip: Callable[..., Chip]) -> Callable[..., nn.Module]:
    quantized, images = network

    def make(*settings: str) -> nn.Module:
        converted = norsim.convert(quantized, small_chip(*COSTS, "calibration.reads=40", *settings))
        norsim.calibrate(converted, images[:30], backend="nodal")
        return converted

    return make


def row_of(model: nn.Module) -> dict[str, Any]:
    """Return the only layer's row, for two vectors of four passes an image on its four tiles."""
    macs = count_macs(model, torch.rand(2, 12))
    (row,) = layer_table(model, backend_named("nodal"), {"0": Use(IMAGES * 2 * 4 * 4)}, IMAGES, macs)
    return row


@pytest.mark.parametrize(("shared", "conversions", "converters"), [(1, 1, 20), (4, 4, 2 + 1 + 2 + 1), (8, 6, 4)])
def test_time_energy_and_number_of_shared_converters(
    calibrated: Callable[..., nn.Module], shared: int, conversions: int, converters: int
) -> None:
    model, alone = calibrated(f"adc.shared_by={shared}"), calibrated()
    (layer,) = tiled_layers(model).values()
    assert [(part.row, part.column, len(part.outputs)) for part in layer.grid.tiles] == list(TILES)
    row, other = row_of(model), row_of(alone)
    reads = 8
    assert row["macs_image"] == 2 * 12 * OUTPUTS and row["converters"] == converters
    # The tile with the most outputs for a converter decides the time of the layer.
    assert row["seconds_image"] == pytest.approx(reads * (3e-9 + conversions * 20e-9))
    assert row["converters_joules_image"] == pytest.approx(reads * 20 * 256 * 5e-15)
    assert row["lines_joules_image"] == pytest.approx(other["lines_joules_image"])
    # Each tile's cells conduct for as many conversions as its own outputs need.
    (single,) = tiled_layers(alone).values()
    for part, same in zip(layer.grid.tiles, single.grid.tiles, strict=True):
        own = min(shared, len(part.outputs))
        assert part.energy.cells / same.energy.cells == pytest.approx((3 + 20 * own) / 23)
    cost = image_costs([row])
    parts = [row[f"{part}_joules_image"] for part in ("cells", "lines", "converters")]
    assert min(parts) > 0 and cost["joules_image"] == pytest.approx(sum(parts))
    assert cost["tops_per_watt"] == pytest.approx(2 * row["macs_image"] / cost["joules_image"] / 1e12)


def test_held_currents_stop_the_cells_after_the_sample(calibrated: Callable[..., nn.Module]) -> None:
    held, conducting = row_of(calibrated("cost.held=true", "adc.shared_by=2")), row_of(calibrated("adc.shared_by=2"))
    assert held["cells_joules_image"] / conducting["cells_joules_image"] == pytest.approx(3 / 43)
    assert held["seconds_image"] == pytest.approx(8 * 40e-9)


def test_lines_are_billed_for_their_rising_edges_in_all_of_the_calibration(
    calibrated: Callable[..., nn.Module], network: Any
) -> None:
    """Counted bit by bit from the codes, not from volts: a 1 after a 0, or a 1 in the first pass."""
    model, (_, images) = calibrated(), network
    (layer,) = tiled_layers(model).values()
    codes = layer_codes(model, images[:30])["0"]
    rises = np.zeros(codes.shape, dtype=int)
    for p in range(4):
        before = codes >> (p - 1) & 1 if p else np.zeros_like(codes)
        rises += (codes >> p & 1) & (1 - before)
    chip = layer.grid.chip
    for part in layer.grid.tiles:
        bitlines = part.cell_codes().shape[1]
        per_read = rises[:, part.inputs.start : part.inputs.stop].sum() / (len(codes) * 4)
        expected = per_read * bitlines * chip.wires.wordline_farads * chip.encoding.wordline_volts**2 / 0.4
        assert part.energy.lines == pytest.approx(expected)


def test_outputs_that_share_a_converter_share_its_errors(network: Any, small_chip: Callable[..., Chip]) -> None:
    errors = ("adc.gain=0.01", "adc.offset=2", "adc.bow=1")
    converted = norsim.convert(network[0], small_chip("adc.shared_by=4", *errors))
    (layer,) = tiled_layers(converted).values()
    flaws = layer.grid.tiles[0].flaws
    for values in (flaws.gain, flaws.offset, flaws.bow):
        assert values.shape == (6,) and len(set(values[:4])) == len(set(values[4:])) == 1 and values[3] != values[4]
    (layer,) = tiled_layers(norsim.convert(network[0], small_chip(*errors))).values()
    assert len(set(layer.grid.tiles[0].flaws.gain)) == 6


def test_a_whole_chip_is_the_sum_of_its_tiles_layers_and_shared_circuits(
    calibrated: Callable[..., nn.Module],
) -> None:
    """Two vectors an image, of four passes, on tiles of 6, 4, 6 and 4 outputs with a converter for up to four of
    them."""
    model = calibrated("adc.shared_by=4", "cost.circuits.supply=1 V", "cost.circuits.feature=45 nm")
    row = row_of(model)
    assert vectors_of([row]) == {"0": 2.0}
    (layer,) = list(costs_of_layers(model, {"0": 2.0}))
    found = chip_costs([layer])
    (tiled,) = tiled_layers(model).values()
    chip, its = tiled.grid.chip, tiled.grid.chip.costs.circuits
    for kind in ("cells", "lines", "converters"):
        assert found["joules"][kind] == pytest.approx(row[f"{kind}_joules_image"])
    seconds = 8 * (3e-9 + 4 * 20e-9)
    assert found["latency_seconds"] == found["interval_seconds"] == pytest.approx(seconds)
    assert found["joules"]["amplifiers"] == pytest.approx(6 * its.amplifier_watts * seconds)
    # 8 bits of a code, 4 of the activation and one of two rows of tiles.
    width = 8 + 4 + 1
    adds = 8 * 20 * width * (its.adder_joules + its.register_joules)
    products = 2 * width * (20 * 8 + OUTPUTS * 16) * its.multiplier_joules
    assert found["joules"]["digital"] == pytest.approx((adds + products) * (1 / 0.9) ** 2)
    bits = 2 * (12 + OUTPUTS) * 4
    assert found["joules"]["buffers"] == pytest.approx(bits * its.buffer_joules * (1 / 0.9) ** 2)
    side = found["square_metres"] ** 0.5
    assert found["joules"]["transfers"] == pytest.approx(bits * its.wire_joules_metre / 1.44 * 2 / 3 * side)
    assert found["joules_image"] == pytest.approx(sum(found["joules"].values()))
    areas = found["areas"]
    assert found["square_metres"] == pytest.approx(sum(areas.values()))
    assert areas["cells"] == pytest.approx(4 * chip.wordlines * chip.bitlines * 10 * 45e-9**2)
    assert areas["converters"] == pytest.approx(6 * its.converter_square_metres)
    assert areas["buffers"] == pytest.approx(2 * OUTPUTS * 4 * 200 * 45e-9**2)
    assert areas["pumps"] == its.pump_square_metres
    assert found["tops"] == pytest.approx(2e-12 * 2 * 12 * OUTPUTS / seconds)


def test_the_area_of_converters_is_that_of_their_kind(calibrated: Callable[..., nn.Module]) -> None:
    """Six of them, as above: a flash of 8 bits has 255 comparators."""
    (layer,) = list(costs_of_layers(calibrated("adc.shared_by=4", "adc.type=flash"), {"0": 2.0}))
    its = layer.circuits
    assert layer.square_metres()["converters"] == pytest.approx(6 * 255 * its.amplifier_square_metres)


def test_a_network_that_reads_no_array_has_an_area_and_no_energy(calibrated: Callable[..., nn.Module]) -> None:
    found = chip_costs(list(costs_of_layers(calibrated(), {})))
    assert found["joules_image"] == 0 and found["tops_per_watt"] is None and found["tops"] is None
    assert found["square_metres"] > 0
