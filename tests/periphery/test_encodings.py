"""Every encoding against integer arithmetic, and against an ideal array that has only volts and cell codes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from norsim.array.tile import Currents
from norsim.periphery.bit_serial import BitSerial
from norsim.periphery.encoding import Encoding, decode, full_scale_amps, integrated, runs, sensed_amps
from norsim.periphery.gate_coupled import GateCoupled
from norsim.periphery.linear_pair import LinearPair
from norsim.periphery.pulse_width import PulseWidth
from norsim.solver.input_lines import driven

GROUP = 4
REFERENCE = BitSerial(5.0, 0.5, 1.5e-6, "reference", GROUP)
ENCODINGS = {
    "reference": REFERENCE,
    "digital": BitSerial(5.0, 0.5, 1.5e-6, "digital", GROUP),
    "differential": BitSerial(5.0, 0.5, 1.5e-6, "differential", GROUP),
    "linear-pair": LinearPair(5.0, 0.05, 0.3e-6, 0.9e-6),
    "pulse-width": PulseWidth(5.0, 0.5, 1.5e-6, "reference", GROUP),
    # With wordline volts in proportion to codes, as an ideal array needs them; real ones follow from cells.
    "gate-coupled": GateCoupled(5.0, 0.5, 6e-9, "differential", 2, base_amps=2e-9, full_amps=1e-8).with_gate_volts(
        np.linspace(0, 5, 16)
    ),
}
every_encoding = pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS.keys())


class Product(NamedTuple):
    """`weights` `[inputs, outputs]`, their `zero`, activation `codes` `[vectors, inputs]` of `bits` bits."""

    weights: np.ndarray
    zero: int
    codes: np.ndarray
    bits: int

    def exact(self) -> np.ndarray:
        """`[vectors, outputs]` integers."""
        return self.codes.astype(np.int64) @ (self.weights.astype(np.int64) - self.zero)


@st.composite
def products(draw: st.DrawFn) -> Product:
    inputs, outputs, vectors = draw(st.integers(1, 7)), draw(st.integers(1, 11)), draw(st.integers(1, 3))
    bits = draw(st.integers(1, 4))
    weights = draw(arrays(np.uint8, (inputs, outputs), elements=st.integers(0, 15)))
    codes = draw(arrays(np.uint8, (vectors, inputs), elements=st.integers(0, 2**bits - 1)))
    return Product(weights, draw(st.integers(0, 15)), codes, bits)


def ideal_read(encoding: Encoding, product: Product) -> Currents:
    """Read ideal cells on lossless wires: a bit-serial cell is a switched current proportional to its code, a
    linear-pair cell a conductance."""
    cells = encoding.level_amps[encoding.cell_codes(product.weights, product.zero)]
    off = encoding.off_cells(*product.weights.shape)
    cells = cells if off is None else np.where(off, 0.0, cells)
    stimulus = encoding.drive(product.codes, product.weights.shape[1], product.bits)
    gate, drain = encoding.verify_volts
    on = stimulus.wordline_volts / gate
    share = stimulus.bitline_volts / drain
    assert encoding.input_amps is not None or set(np.unique(on)) <= {0.0, 1.0}
    amps = on[:, :, None] * cells * share[:, None, :]
    reads = np.ones(stimulus.vectors)
    return Currents(amps.sum(axis=1), amps.sum(axis=2), reads > 0, 0 * reads, "ideal array")


@every_encoding
@given(product=products())
def test_decoded_pass_values_are_the_integer_product(encoding: Encoding, product: Product) -> None:
    values = encoding.pass_values(product.codes, product.weights, product.zero, product.bits)
    assert values.shape == (len(product.codes), encoding.passes(product.bits), product.weights.shape[1])
    assert np.array_equal(decode(encoding, values, product.codes, product.zero), product.exact())


@every_encoding
@given(product=products())
def test_volts_are_those_of_bits_or_of_codes_over_the_top_drive(encoding: Encoding, product: Product) -> None:
    stimulus = encoding.drive(product.codes, product.weights.shape[1], product.bits)
    if stimulus.driven == "wordlines":
        volts = stimulus.wordline_volts
        slots, each = encoding.slots(product.bits), range(encoding.passes(product.bits))
        bits = [product.codes >> bit & 1 for bit in each] if encoding.input_amps is None else [product.codes]
        steps = np.stack(bits if slots == 1 else [product.codes > slot for slot in range(slots)], axis=1)
    else:
        volts, steps = stimulus.bitline_volts, product.codes
    assert stimulus.full_volts is not None and steps.max() <= encoding.top_drive
    expected = steps.reshape(volts.shape) / encoding.top_drive * stimulus.full_volts
    np.testing.assert_allclose(volts, expected, rtol=1e-12, atol=0)


@every_encoding
@given(product=products())
def test_an_ideal_array_gives_the_pass_values(encoding: Encoding, product: Product) -> None:
    amps = sensed_amps(ideal_read(encoding, product), encoding.sense(product.weights.shape[1]))
    expected = encoding.pass_values(product.codes, product.weights, product.zero, product.bits)
    found = integrated(amps, encoding.slots(product.bits)).reshape(expected.shape) / encoding.lsb_amps
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@every_encoding
@given(product=products())
def test_cells_stay_within_the_levels_and_codes_fit_a_byte(encoding: Encoding, product: Product) -> None:
    cells = encoding.cell_codes(product.weights, product.zero)
    assert cells.dtype == np.uint8
    assert cells.max() < len(encoding.level_amps)


@every_encoding
@given(wordlines=st.integers(1, 12), bitlines=st.integers(1, 20))
def test_capacity_is_what_fits_and_one_more_does_not(encoding: Encoding, wordlines: int, bitlines: int) -> None:
    inputs, outputs = encoding.capacity(wordlines, bitlines)

    def fits(ins: int, outs: int) -> bool:
        shape = encoding.cell_codes(np.zeros((ins, outs), dtype=np.uint8), 0).shape
        return shape[0] <= wordlines and shape[1] <= bitlines

    assert inputs >= 1 and outputs >= 0
    assert outputs == 0 or fits(inputs, outputs)
    assert not fits(inputs, outputs + 1)
    assert not fits(inputs + 1, max(outputs, 1))


@given(outputs=st.integers(1, 30), zero=st.integers(0, 15))
def test_each_group_has_its_reference_column_in_the_middle(outputs: int, zero: int) -> None:
    other = np.uint8((zero + 1) % 16)
    cells = REFERENCE.cell_codes(np.full((3, outputs), other), zero)
    own = [lines[0][1] for lines in REFERENCE.sense(outputs)]
    reference = [lines[1][1] for lines in REFERENCE.sense(outputs)]
    references = set(reference)
    assert own == sorted(own) and set(own) | references == set(range(cells.shape[1]))
    assert not set(own) & references and len(own) == outputs
    assert (cells[:, sorted(references)] == zero).all() and (cells[:, own] == other).all()
    assert all(mine // GROUP == its // GROUP for mine, its in zip(own, reference, strict=True))
    for start in range(0, cells.shape[1], GROUP):
        group = range(start, min(start + GROUP, cells.shape[1]))
        inside = [bitline for bitline in group if bitline in references]
        assert len(inside) == 1
        assert abs(inside[0] - (group[0] + group[-1]) / 2) <= 1


@every_encoding
def test_notes_name_the_lines_that_are_driven_and_sensed(encoding: Encoding) -> None:
    """The names of inputs and outputs are on the lines that have a weight of theirs."""
    names_in, names_out = [f"in {k}" for k in range(3)], [f"out {k}" for k in range(5)]
    notes = encoding.line_notes(names_in, names_out, 7)
    plain = np.full((3, 5), 7, dtype=np.uint8)
    before = encoding.cell_codes(plain, 7)
    assert (len(notes[0]), len(notes[1])) == before.shape
    for source, output, value in ((1, 4, 15), (2, 0, 0)):
        weights = plain.copy()
        weights[source, output] = value
        changed = np.argwhere(encoding.cell_codes(weights, 7) != before)
        assert len(changed) == 1
        here = [notes[0][changed[0][0]], notes[1][changed[0][1]]]
        assert any(note.split(",")[0] == names_in[source] for note in here)
        assert any(note.split(",")[0] == names_out[output] for note in here)
    if encoding is REFERENCE:
        references = [k for k, note in enumerate(notes[1]) if "reference" in note and "code 7" in note]
        assert references == sorted({lines[1][1] for lines in encoding.sense(5)})


@every_encoding
@pytest.mark.parametrize("bits", [1, 3, 4])
def test_full_scale_is_the_strongest_output(encoding: Encoding, bits: int) -> None:
    codes, weights = np.full((1, 6), 2**bits - 1, dtype=np.uint8), np.full((6, 1), 15, dtype=np.uint8)
    strongest = encoding.pass_values(codes, weights, 0, bits).max() * encoding.lsb_amps
    assert full_scale_amps(encoding, 6, 4, bits) == pytest.approx(strongest, rel=1e-12)


@every_encoding
def test_program_verify_reads_a_level_as_the_array_does(encoding: Encoding) -> None:
    """The current of one cell at each code under the strongest drive is that of the level."""
    weights = np.arange(16, dtype=np.uint8)[None, :]
    stimulus = encoding.drive(np.array([[15]], dtype=np.uint8), 16, 4)
    slots = encoding.slots(4)
    gate, drain = encoding.verify_volts
    assert stimulus.wordline_volts.max() == gate
    assert stimulus.bitline_volts.max() == pytest.approx(drain, rel=1e-15)
    values = encoding.pass_values(np.array([[15]], dtype=np.uint8), weights, 0, 4)[0, 0]
    levels = encoding.level_amps
    np.testing.assert_allclose(values * encoding.lsb_amps / slots, levels - levels[0], rtol=1e-12, atol=1e-20)


def test_drive_has_passes_innermost_and_the_reads_of_one_vector_together() -> None:
    stimulus = REFERENCE.drive(np.array([[1, 2], [4, 8]], dtype=np.uint8), 1, 4)
    up = stimulus.wordline_volts / 5.0
    assert up.tolist() == [[1, 0], [0, 1], [0, 0], [0, 0], [0, 0], [0, 0], [1, 0], [0, 1]]
    assert (stimulus.bitline_volts == 0.5).all() and stimulus.bitline_volts.shape == (8, 2)


def test_linear_pair_steps_the_drain_and_holds_the_gate() -> None:
    stimulus = ENCODINGS["linear-pair"].drive(np.array([[0, 3, 15]], dtype=np.uint8), 2, 4)
    assert stimulus.bitline_volts[0] == pytest.approx([0.0, 0.01, 0.05])
    assert stimulus.wordline_volts.tolist() == [[5.0] * 4]


def test_sensed_amps_adds_lines_with_their_signs() -> None:
    one = np.ones(1)
    currents = Currents(np.array([[1.0, 2.0, 4.0]]), np.array([[8.0, 16.0]]), one > 0, 0 * one, "b")
    sense = [[("bitline", 2, 1), ("bitline", 0, -1)], [("source", 1, -1)], [("bitline", 1, 1), ("source", 0, 1)]]
    assert sensed_amps(currents, sense).tolist() == [[3.0, -16.0, 10.0]]


def test_only_a_dac_that_is_off_moves_the_drivers() -> None:
    """Its ends stay exact and its levels between them; an encoding without a DAC draws no random numbers."""

    def forbidden() -> np.random.Generator:
        raise AssertionError("something was drawn")

    serial, pair = BitSerial(5.0, 0.5, 1.5e-6, "reference", 16), LinearPair(5.0, 0.05, 0.3e-6, 0.9e-6)
    assert serial.driven(4.9, 0.3, forbidden) == BitSerial(4.9, 0.5, 1.5e-6, "reference", 16)
    assert pair.driven(4.9, 0.0, forbidden) == LinearPair(4.9, 0.05, 0.3e-6, 0.9e-6)
    levels = pair.driven(5.0, 0.3, lambda: np.random.default_rng(1)).drives(np.arange(16, dtype=np.uint8))
    assert levels[0] == 0 and levels[15] == 15 and 0.05 < np.abs(levels - np.arange(16)).std() < 0.6
    assert levels.min() >= 0 and levels.max() <= 15


DAC = LinearPair(5.0, 0.05, 0.3e-6, 0.9e-6).driven(5.0, 0.2, lambda: np.random.default_rng(0))


@pytest.mark.parametrize("encoding", [*ENCODINGS.values(), DAC], ids=[*ENCODINGS, "linear-pair with DAC errors"])
def test_shares_are_those_of_the_volts(encoding: Encoding) -> None:
    """Of the full volts of the lines that carry the input, read by read."""
    codes = np.random.default_rng(1).integers(0, 16, (5, 7), dtype=np.uint8)
    stimulus = encoding.drive(codes, 3, 4)
    shares = encoding.shares(encoding.drives(codes), encoding.passes(4) * encoding.slots(4))
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares, driven(stimulus).drives(stimulus), rtol=1e-6, atol=0)


def test_pulses_start_together_and_last_as_long_as_their_code() -> None:
    stimulus = ENCODINGS["pulse-width"].drive(np.array([[0, 1, 3], [2, 2, 0]], dtype=np.uint8), 1, 2)
    up = stimulus.wordline_volts / 5.0
    assert up.tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 1], [1, 1, 0], [1, 1, 0], [0, 0, 0]]
    # The second vector's slots 0 and 1 are the same drive.
    kept, lasts, first = runs(up.astype(np.float32), 3)
    assert (len(kept), lasts.tolist(), first.tolist()) == (4, [1, 2, 2, 1], [0, 2])
    assert np.array_equal(np.add.reduceat(kept * lasts[:, None], first, axis=0), integrated(up, 3))
