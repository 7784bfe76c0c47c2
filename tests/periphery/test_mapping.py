"""Weights in slices: every scheme, cell and width against integers, on ideal cells and wires."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from norsim.array.tile import Currents
from norsim.errors import ConfigurationError
from norsim.periphery.adc import Adc, Flaws, Ranges
from norsim.periphery.bit_serial import BitSerial
from norsim.periphery.encoding import Encoding, by_slice, decode, full_scale_amps, integrated, sensed_amps
from norsim.periphery.gate_coupled import GateCoupled
from norsim.periphery.linear_pair import LinearPair
from norsim.periphery.mapping import digits, slice_values
from norsim.periphery.pulse_width import PulseWidth
from norsim.periphery.readout import convert_and_add

GROUP = 16


class Sliced(NamedTuple):
    """An encoding for `weights` `[inputs, outputs]` of a width, their `zero`, and activation `codes` `[vectors,
    inputs]` of `bits` bits."""

    encoding: Encoding
    weights: np.ndarray
    zero: int
    codes: np.ndarray
    bits: int


@st.composite
def sliced(draw: st.DrawFn) -> Sliced:
    """Draw a layer of weights of 1 to 8 bits, activations of 1 to 8 bits, and cells of 1 to 4 bits."""
    kind = draw(st.sampled_from(["reference", "digital", "differential", "linear-pair", "pulse-width", "gate-coupled"]))
    cell_bits, width = draw(st.integers(1, 4)), draw(st.integers(1, 8))
    bits = draw(st.integers(1, 4 if kind in ("linear-pair", "gate-coupled") else 8))
    inputs, outputs, vectors = draw(st.integers(1, 5)), draw(st.integers(1, 9)), draw(st.integers(1, 3))
    encoding: Encoding
    if kind == "linear-pair":
        encoding = LinearPair(5.0, 0.05, 0.3e-6, 0.9e-6, cell_bits)
    elif kind == "gate-coupled":
        straps = draw(st.sampled_from([2 * GROUP, 3 * GROUP, None]))
        encoding = GateCoupled(
            5.0, 0.5, 6e-9, "differential", 2, cell_bits, strap_every=straps, base_amps=2e-9, full_amps=1e-8
        ).with_gate_volts(np.linspace(0, 5, 16))
    else:
        straps = draw(st.sampled_from([GROUP, 2 * GROUP, None]))
        scheme = draw(st.sampled_from(["reference", "digital", "differential"])) if kind == "pulse-width" else kind
        family = PulseWidth if kind == "pulse-width" else BitSerial
        encoding = family(5.0, 0.5, 1.5e-6, scheme, GROUP, cell_bits, strap_every=straps)
    weights = draw(arrays(np.uint8, (inputs, outputs), elements=st.integers(0, 2**width - 1)))
    codes = draw(arrays(np.uint8, (vectors, inputs), elements=st.integers(0, 2**bits - 1)))
    zero = draw(st.integers(0, 2**width - 1))
    return Sliced(encoding.for_weights(width), weights, zero, codes, bits)


def ideal_read(one: Sliced) -> Currents:
    """Read cells whose currents are their levels times the share of the full drive, on lossless wires."""
    encoding = one.encoding
    cells = encoding.level_amps[encoding.cell_codes(one.weights, one.zero)]
    off = encoding.off_cells(*one.weights.shape)
    cells = cells if off is None else np.where(off, 0.0, cells)
    stimulus = encoding.drive(one.codes, one.weights.shape[1], one.bits)
    gate, drain = encoding.verify_volts
    amps = (stimulus.wordline_volts / gate)[:, :, None] * cells * (stimulus.bitline_volts / drain)[:, None, :]
    reads = np.ones(stimulus.vectors)
    return Currents(amps.sum(axis=1), amps.sum(axis=2), reads > 0, 0 * reads, "ideal array")


@given(one=sliced())
def test_integers_come_back_from_an_ideal_array_with_a_wide_converter(one: Sliced) -> None:
    """From currents of ideal cells, through converters of 24 bits that span the full scale, to sums."""
    encoding, outputs = one.encoding, one.weights.shape[1]
    amps = integrated(sensed_amps(ideal_read(one), encoding.sense(outputs)), encoding.slots(one.bits))
    width = 8 if encoding.slices > 1 else len(encoding.level_amps).bit_length() - 1
    full = full_scale_amps(encoding, len(one.weights), width, one.bits)
    ranges = Ranges.of((Adc(24, -full, full),) * encoding.slices, outputs)
    values = np.tile(encoding.slice_values, outputs) / encoding.lsb_amps
    places = encoding.place_values(encoding.passes(one.bits))
    flawless = Flaws(*np.zeros((3, amps.shape[1])))
    _, sums = convert_and_add(
        amps, ranges, flawless, None, values * ranges.step_amps, values * ranges.low_amps, places, encoding.slices
    )  # fmt: skip
    digital = encoding.digital_part(one.codes, one.zero)
    sums = sums if digital is None else sums + digital
    exact = one.codes.astype(np.int64) @ (one.weights.astype(np.int64) - one.zero)
    assert np.array_equal(np.rint(sums), exact)
    values = encoding.pass_values(one.codes, one.weights, one.zero, one.bits)
    np.testing.assert_allclose(amps.reshape(values.shape) / encoding.lsb_amps, values, rtol=0, atol=1e-8)
    assert np.array_equal(decode(encoding, values, one.codes, one.zero), exact)


@given(one=sliced(), bitlines=st.integers(1, 70))
def test_slices_of_a_weight_stay_in_one_group_and_tiles_are_filled(one: Sliced, bitlines: int) -> None:
    encoding = one.encoding
    if not isinstance(encoding, BitSerial):
        return
    inputs, outputs = encoding.capacity(8, bitlines)
    fits = [encoding.cell_codes(np.zeros((1, n), np.uint8), 0).shape[1] for n in (max(outputs, 1), outputs + 1)]
    assert inputs == 8 and (not outputs or fits[0] <= bitlines < fits[1])
    group = encoding.group if encoding.scheme == "reference" else encoding.strap_every
    lines = [{line for _, line, _ in parts} for parts in encoding.sense(max(outputs, 1))]
    for start in range(0, len(lines), encoding.slices):
        own = set().union(*lines[start : start + encoding.slices])
        assert encoding.slices == 1 or group is None or len({line // group for line in own}) == 1


@given(arrays(np.uint8, (3, 2)), st.integers(1, 4))
def test_digits_add_up_to_their_code(codes: np.ndarray, cell_bits: int) -> None:
    slices = -(-8 // cell_bits)
    found = digits(codes, cell_bits, slices)
    assert found.max() < 2**cell_bits and np.array_equal(found @ slice_values(cell_bits, slices), codes)


def test_an_eight_bit_weight_worked_by_hand() -> None:
    """0x9c on cells of 4 bits, zero point 0x80: digits 12 and 9, references 0 and 8; the low digit first."""
    weights, scheme = np.array([[0x9C]], np.uint8), BitSerial(5.0, 0.5, 1.5e-6, "reference", 4)
    encoding = scheme.for_weights(8)
    assert scheme.slices == 1 and encoding.slices == 2 and encoding.slice_values.tolist() == [1, 16]
    # The group's reference comes first, because it has one output: low and high reference, low and high digit.
    assert encoding.cell_codes(weights, 0x80).tolist() == [[0, 8, 12, 9]]
    assert encoding.sense(1) == [
        [("bitline", 2, 1), ("bitline", 0, -1)], [("bitline", 3, 1), ("bitline", 1, -1)],
    ]  # fmt: skip
    assert encoding.pass_values(np.ones((1, 1), np.uint8), weights, 0x80, 1).tolist() == [[[12, 1]]]
    apart = replace(scheme, scheme="differential").for_weights(8)
    assert apart.cell_codes(weights, 0x80).tolist() == [[12, 0, 1, 0]]
    assert apart.cell_codes(weights, 0xFF).tolist() == [[0, 3, 0, 6]]
    notes = encoding.line_notes(["in"], ["out"], 0x80)[1]
    assert notes[2:] == ["out, slice 0", "out, slice 1"] and "code 8" in notes[1]


def test_bitlines_that_are_left_over_in_a_group_are_off() -> None:
    """Three slices on groups of 8: one output and three references use 6, and the next group starts at 8."""
    encoding = BitSerial(5.0, 0.5, 1.5e-6, "reference", 8, cell_bits=3).for_weights(8)
    cells = encoding.cell_codes(np.full((2, 2), 255, np.uint8), 255)
    assert cells.shape == (2, 14) and not cells[:, 6:8].any() and cells[:, :6].all() and cells[:, 8:].all()
    assert encoding.line_notes(["a", "b"], ["x", "y"], 255)[1][6:8] == ["unused", "unused"]


def test_an_axis_of_slices_follows_that_of_passes() -> None:
    values = np.arange(2 * 3 * 8).reshape(2, 3, 8)
    assert by_slice(values, 1) is values
    found = by_slice(values, 2)
    assert found.shape == (2, 3, 2, 4) and found[1, 2, 1].tolist() == values[1, 2, 1::2].tolist()


@pytest.mark.parametrize(
    ("encoding", "problem"),
    [
        (BitSerial(5.0, 0.5, 1e-6, "reference", 12, strap_every=16), "make reference_every a divisor of strap_every"),
        (BitSerial(5.0, 0.5, 1e-6, "reference", 3), "group of 3 bitlines .reference_every. is too small"),
        (BitSerial(5.0, 0.5, 1e-6, "differential", 4, 1, strap_every=8), "8 bitlines .strap_every. is too small"),
    ],
)
def test_slices_that_do_not_fit_a_group_are_refused(encoding: BitSerial, problem: str) -> None:
    assert encoding.for_weights(1) == encoding
    with pytest.raises(ConfigurationError, match=problem):
        encoding.for_weights(8)
