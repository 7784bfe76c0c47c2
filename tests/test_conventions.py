"""Conventions for all parts of norsim: rows and columns, signs, bit order, code zero, order of inputs."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from norsim.array.cell import Cell
from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.programming import program_levels
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.periphery.bit_serial import BitSerial
from norsim.periphery.code_vectors import CodeVectors
from norsim.periphery.encoding import decode
from norsim.periphery.linear_pair import LinearPair
from norsim.quantization.modules import QuantConv2d
from norsim.quantization.quantize import quantize
from norsim.tiling.convert import convert
from norsim.tiling.convolutions.modules import TiledConv2d
from norsim.tiling.modules import digital

SENSED = Wires(rows_per_source_line=1, strap_every=None)
SERIAL = BitSerial(5.0, 0.5, 1.5e-6, "reference", 16)
PAIR = LinearPair(5.0, 0.05, 0.3e-6, 0.9e-6)


@pytest.mark.parametrize(("i", "j"), [(0, 2), (1, 0)])
def test_thresholds_are_wordlines_by_bitlines(resistor_cell: Cell, i: int, j: int) -> None:
    """The current of a single conducting cell is on its bitline and on the source line of its wordline."""
    thresholds = np.full((2, 3), 20.0)
    thresholds[i, j] = 0.5
    currents = read(Tile(thresholds, resistor_cell, SENSED), Stimulus(np.zeros((1, 2)), np.full((1, 3), 0.5)))
    assert (currents.bitline.shape, currents.source.shape) == ((1, 3), (1, 2))
    assert (currents.bitline[0].argmax(), currents.source[0].argmax()) == (j, i)
    assert currents.bitline[0, j] == pytest.approx(1e-5 + 0.5 / 2e6, rel=1e-6)


def test_a_wordline_drives_the_gates_of_its_own_row() -> None:
    tile = Tile(np.full((3, 2), 4.0), load_chip("etox65").cell, SENSED)
    currents = read(tile, Stimulus(np.diag([5.0] * 3), np.full((3, 2), 0.5)))
    on = currents.source > 1e-7
    assert np.array_equal(on, np.eye(3, dtype=np.bool_))


def test_wordline_zero_and_bitline_zero_are_nearest_to_driver_and_sense_amplifier(resistor_cell: Cell) -> None:
    """A cell near both ends has less wire resistance than any other."""
    wires = Wires(bitline_ohms=1e4, source_ohms=1e4, rows_per_source_line=1, strap_every=None)
    amps = {}
    for i, j in product(range(2), range(2)):
        thresholds = np.full((2, 2), 20.0)
        thresholds[i, j] = 0.5
        volts = np.zeros((1, 2))
        volts[0, j] = 0.5
        amps[i, j] = read(Tile(thresholds, resistor_cell, wires), Stimulus(np.zeros((1, 2)), volts)).source[0, i]
    assert amps[0, 0] > max(amps[0, 1], amps[1, 0]) and min(amps[0, 1], amps[1, 0]) > amps[1, 1]


@pytest.mark.parametrize("strap_every", [None, 16])
def test_current_is_positive_into_a_bitline_and_out_of_a_source_line(
    resistor_cell: Cell, strap_every: int | None
) -> None:
    tile = Tile([[5.0]], resistor_cell, Wires(strap_every=strap_every))
    currents = read(tile, Stimulus([[0.0]] * 2, [[0.5], [-0.5]]))
    assert currents.bitline[:, 0] == pytest.approx([1e-6, -1e-6], rel=1e-9)
    assert currents.source[:, 0] == pytest.approx([1e-6, -1e-6], rel=1e-9)
    lifted = read(tile, Stimulus([[0.0]], [[0.5]], source_volts=1.5))
    assert lifted.bitline[0, 0] == pytest.approx(-2e-6, rel=1e-9)
    assert lifted.source[0, 0] == pytest.approx(-2e-6, rel=1e-9)


def test_strapped_lines_share_one_return(resistor_cell: Cell) -> None:
    tile = Tile(np.full((4, 3), 5.0), resistor_cell, Wires(0.0, 0.0, 10.0, 0.0, 2, 2))
    currents = read(tile, Stimulus(np.zeros((2, 4)), np.full((2, 3), 0.5)))
    assert tile.source_lines == 2 and currents.source.shape == (2, 1)


def test_the_lowest_bit_goes_first() -> None:
    codes = np.array([[0b0001], [0b0010], [0b0100], [0b1000]], dtype=np.uint8)
    up = SERIAL.drive(codes, 1, 4).wordline_volts[:, 0].reshape(4, 4) > 0
    assert np.array_equal(up, np.eye(4, dtype=np.bool_))
    for number, code in enumerate(codes[:, 0]):
        values = np.zeros((1, 4, 1))
        values[0, number] = 1.0
        assert decode(SERIAL, values, codes[:1] * 0, 0) == np.array([[float(code)]])


def test_activation_code_zero_is_no_volts() -> None:
    zero = np.zeros((1, 3), dtype=np.uint8)
    assert not SERIAL.drive(zero, 2, 4).wordline_volts.any()
    assert not PAIR.drive(zero, 2, 4).bitline_volts.any()


def test_weight_code_zero_is_the_highest_threshold_and_the_least_current() -> None:
    for encoding in ("bit-serial", "linear-pair"):
        chip = load_chip("etox65", (f"encoding={encoding}",))
        levels = program_levels(chip.cell, chip.encoding)
        assert (np.diff(levels.thresholds) < 0).all() and (np.diff(levels.achieved_amps) > 0).all()
    assert SERIAL.level_amps[0] == 0.0 and PAIR.level_amps[0] == PAIR.base_amps


@pytest.mark.parametrize("encoding", [SERIAL, PAIR], ids=["bit-serial", "linear-pair"])
def test_a_weight_at_the_zero_point_adds_nothing(encoding: BitSerial | LinearPair) -> None:
    codes, weights = np.full((1, 2), 15, dtype=np.uint8), np.full((2, 3), 9, dtype=np.uint8)
    assert not encoding.pass_values(codes, weights, 9, 4).any()
    assert (encoding.pass_values(codes, weights + 1, 9, 4) > 0).all()


def test_bit_serial_inputs_are_wordlines_and_linear_pair_inputs_are_bitlines() -> None:
    weights = np.array([[15, 0], [8, 8], [0, 15]], dtype=np.uint8)
    assert SERIAL.cell_codes(weights, 8).shape == (3, 3)
    # Wordlines: output 0 plus, output 0 minus, output 1 plus, output 1 minus.
    assert PAIR.cell_codes(weights, 8).tolist() == [[7, 0, 0], [0, 0, 8], [0, 0, 7], [8, 0, 0]]


def recorded_codes(part: nn.Module, images: torch.Tensor) -> np.ndarray:
    assert isinstance(part, TiledConv2d)
    part.record = []
    with digital(part):
        part(images)
    return CodeVectors.joined(part.record)[:]


@pytest.fixture
def convolution() -> nn.Conv2d:
    torch.manual_seed(4)
    return nn.Conv2d(2, 3, (3, 2), stride=(1, 2), padding=(1, 2), bias=False)


@pytest.fixture
def signed_images() -> torch.Tensor:
    return torch.randn(2, 2, 4, 5, generator=torch.Generator().manual_seed(5))


def test_inputs_of_a_convolution_are_in_the_order_of_unfold(
    convolution: nn.Conv2d, signed_images: torch.Tensor
) -> None:
    quantized = quantize(convolution, [signed_images])
    assert isinstance(quantized, QuantConv2d)
    found = recorded_codes(convert(quantized, load_chip("etox65")), signed_images)
    codes, zero = quantized.input_codes(signed_images), int(quantized.input_zero)
    padded = functional.pad(codes.double(), (2, 2, 1, 1), value=zero)
    columns = functional.unfold(padded, (3, 2), stride=(1, 2))
    assert np.array_equal(found, columns.transpose(1, 2).reshape(-1, 12).numpy())
    # The same with loops: images, then output rows, then output columns; channel, kernel row, kernel column.
    by_loops = [
        [padded[n, c, y + ky, 2 * x + kx] for c, ky, kx in product(range(2), range(3), range(2))]
        for n, y, x in product(range(2), range(4), range(4))
    ]
    assert np.array_equal(found, np.array(by_loops))


def test_weights_of_a_convolution_are_in_the_same_order(convolution: nn.Conv2d, signed_images: torch.Tensor) -> None:
    quantized = quantize(convolution, [signed_images])
    assert isinstance(quantized, QuantConv2d)
    layer = quantized.quantized_layer("conv")
    steps = (quantized.quantized_weight() / quantized.weight_scale.abs()[:, None, None, None]).round()
    for o, c, ky, kx in product(range(3), range(2), range(3), range(2)):
        assert layer.weights[o, (c * 3 + ky) * 2 + kx] == steps[o, c, ky, kx] + layer.weight_zero


def test_padding_of_a_convolution_is_the_code_of_zero(convolution: nn.Conv2d, signed_images: torch.Tensor) -> None:
    quantized = quantize(convolution, [signed_images])
    analog = convert(quantized, load_chip("etox65"))
    assert isinstance(analog, TiledConv2d)
    zero = analog.grid.layer.input_zero
    assert zero > 0
    far_from_zero = torch.full_like(signed_images, 100.0)
    vectors = recorded_codes(analog, far_from_zero).reshape(2, 4, 4, 2, 3, 2)
    assert (vectors[:, :, 0] == zero).all()  # two columns of padding on the left
    assert (vectors[:, 0, :, :, 0] == zero).all()  # one row of padding on top
    assert (vectors[:, 1:3, 1:3] == 15).all()
