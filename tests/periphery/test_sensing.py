"""The sense path: operational amplifiers in ngspice against the resistance and the offset that stand for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from norsim.array.cell import Cell
from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import EndPart, Wires
from norsim.backends.registry import backend_named, read
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError
from norsim.periphery.sensing import Sensing
from norsim.quantization.layer import QuantizedLayer
from norsim.spice.deck import control, deck
from norsim.spice.rawfile import read_raw
from norsim.spice.simulators.ngspice import run_deck
from norsim.spice.transient import transient_deck
from norsim.tiling.fit import on_chip
from norsim.tiling.grid import place
from norsim.tiling.on_device.reading import read_tiles
from norsim.tiling.program import program_tile
from norsim.tiling.reader import Reader

MakeLayer = Callable[..., QuantizedLayer]
SIZE = ("tile.wordlines=24", "tile.bitlines=16")
# Drops and offsets that change currents by more than a thousandth of full scale.
PATH = (
    "sense.amplifier=transimpedance", "sense.feedback=10 kohm", "sense.gain=80", "sense.input=50 ohm",
    "sense.global_bitline=50 ohm", "sense.multiplexer=100 ohm",
)  # fmt: skip
OFFSETS = ("sense.offset=3 mV", "sense.offset_drift=20 uV/K")
NOTHING = (
    "sense.amplifier=ideal", "sense.gain=1000", "sense.feedback=1 kohm", "sense.feedback_farads=1 pF",
    "sense.input=0 ohm", "sense.global_bitline=0 ohm", "sense.multiplexer=0 ohm", "sense.global_farads=1 pF",
    "sense.offset=0 V", "sense.offset_drift=0 V/K", "sense.read_time=null", "adc.inl=0", "adc.type=flash",
)  # fmt: skip


def test_operational_amplifiers_in_ngspice_sense_what_the_chip_senses(make_layer: MakeLayer, tmp_path: Path) -> None:
    """Bitlines held by amplifiers with feedback resistors, finite gain and an offset, each an element of its own: their
    currents and outputs are those of nodal and of the converters, to 1e-7 of full scale."""
    chip = load_chip("etox65", (*SIZE, *PATH, *OFFSETS))
    layer = make_layer(*chip.encoding.capacity(24, 16))
    part = place(layer, chip).tiles[0]
    array = program_tile(part)
    stimulus = array.drive(np.random.default_rng(0).integers(0, 16, (3, 24), dtype=np.uint8))
    lines, gain, feedback = array.tile.bitlines, 80, 10e3
    offsets = chip.amplifier_offsets(part.draw, lines)
    assert offsets is not None and np.abs(offsets).max() > 3e-3

    text = deck(array.tile, stimulus)
    for name in ("Voff", "Vbl", "Rvirt"):
        text, count = re.subn(rf"^{name}\d+ .*\n", "", text, flags=re.MULTILINE)
        assert count == lines
    amplifiers = "\n".join(
        f"Bop{j} out{j} drive{j} V={gain}*({float(offsets[j])!r}-(v(in{j})-v(drive{j})))\n"
        f"Rf{j} out{j} in{j} {feedback}\nVbl{j} in{j} virt{j} 0"
        for j in range(lines)
    )
    text = re.sub(r"^\.options", lambda found: f"{amplifiers}\n{found[0]}", text, count=1, flags=re.MULTILINE)
    names = [
        *(f"i(vbl{j})" for j in range(lines)),
        *(f"v({node}{j})" for j in range(lines) for node in ("out", "drive")),
    ]
    text = re.sub(r"^\.save.*(\n\+.*)*", f".save {' '.join(names)}", text, flags=re.MULTILINE)
    (tmp_path / "tile.cir").write_text(text)
    run_deck(array.tile.cell, tmp_path, 600)
    table = read_raw(tmp_path / "currents.raw", ["v(v-sweep)", *names], stimulus.vectors)[:, 1:]
    outputs = (table[:, lines::2] - table[:, lines + 1 :: 2]) * (1 + 1 / gain) / feedback

    found = read(array.tile, stimulus, "nodal")
    assert np.abs(table[:, :lines] - found.bitline).max() <= 1e-7 * part.full_scale_amps
    sense = part.encoding.sense(len(part.outputs))
    of_outputs = np.stack([sum(sign * outputs[:, line] for _, line, sign in terms) for terms in sense], axis=1)
    assert np.abs(of_outputs - (part.amps(found) + part.flaws.amps)).max() <= 1e-7 * part.full_scale_amps
    assert np.abs(part.flaws.amps).max() > 1e-4 * part.full_scale_amps


def test_an_integrator_in_ngspice_lets_its_line_move_like_a_resistance(tmp_path: Path) -> None:
    """The mean current of a resistor, and its charge on the capacitor, against exponentials by hand, to 1e-4, and
    against the resistance that stands for the amplifier, to (g R)^2 / 3."""
    gain, farads, window, ohms, offset = 20.0, 1e-12, 20e-9, 20e3, 4e-3
    text = f"""* an integrator
Vdrive drive 0 0.5
Bop out drive V={gain}*({offset}-(v(in)-v(drive)))
Cf out in {farads} ic=0
Vm in line 0
Rline line 0 {ohms}
.options reltol=1e-6 method=gear
.save i(vm) v(out)
.tran {window / 1000} {window} 0 {window / 1000} uic
"""
    cell = Cell("none", ".subckt none d g s b vt=1\n.ends", "", "vt", 1.0, 2.0)
    commands = control(cell, "set filetype=binary", "run", "linearize", "write currents.raw")
    (tmp_path / "tile.cir").write_text(text + "\n".join(commands))
    run_deck(cell, tmp_path, 60)
    _, amps, out = read_raw(tmp_path / "currents.raw", ["time", "i(vm)", "v(out)"], 1001).T
    mean = float((amps[1:] + amps[:-1]).mean() / 2)
    held = 0.5 + offset * gain / (1 + gain)
    x = window / (ohms * farads * (1 + gain))
    assert mean == pytest.approx(held / ohms * -np.expm1(-x) / x, rel=1e-4)
    assert out[-1] - out[0] == pytest.approx(mean * window / farads * gain / (1 + gain), rel=1e-4)
    sensing = Sensing("integrating", gain, 0.0, farads, window)
    assert sensing.offset_share * offset + 0.5 == held
    share = sensing.virtual_ohms / ohms
    away = abs(held / (ohms + sensing.virtual_ohms) / mean - 1)
    assert 1e-5 < away <= share**2 / 3


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_nodal_and_macro_meet_ngspice_behind_a_sense_path(encoding: str, make_layer: MakeLayer) -> None:
    offsets = OFFSETS if encoding == "bit-serial" else ()
    path = PATH if encoding == "bit-serial" else ("sense.input=30 ohm", "sense.multiplexer=60 ohm")
    chip = load_chip("etox65", (*SIZE, *path, *offsets, f"encoding={encoding}"))
    layer = make_layer(*chip.encoding.capacity(24, 16))
    parts = [place(layer, one).tiles[0] for one in (chip, load_chip("etox65", (*SIZE, f"encoding={encoding}")))]
    codes = np.random.default_rng(1).integers(0, 16, (4, layer.inputs), dtype=np.uint8)
    arrays = [program_tile(part) for part in parts]
    stimulus = arrays[0].drive(codes)
    amps = {name: parts[0].amps(read(arrays[0].tile, stimulus, name)) for name in ("ngspice", "nodal", "macro")}
    full = parts[0].full_scale_amps
    assert np.abs(amps["nodal"] - amps["ngspice"]).max() <= 1e-7 * full
    assert np.abs(amps["macro"] - amps["ngspice"]).max() <= 5e-5 * full
    plain = parts[1].amps(read(arrays[1].tile, stimulus, "nodal"))
    assert np.abs(plain - amps["ngspice"]).max() > 1e-3 * full


def test_a_deck_has_an_element_for_each_part() -> None:
    """Of bitlines, with an offset, and of source lines, whose global line is a capacitor in time."""
    cell = load_chip("etox65").cell
    path = Sensing("transimpedance", 99.0, 2e3, input_ohms=3.0, multiplexer_ohms=40.0, global_farads=1e-12)
    wires = path.at_the_end_of(Wires(bitline_end_ohms=5.0, strap_every=1), "wordlines")
    tile = Tile([[4.0, 4.5]], cell, wires, offsets=[0.25, 0.0])
    lines = deck(tile, Stimulus([[5.0]], [[0.5, 0.5]])).splitlines()
    start = lines.index("Vdrive0 drive0 0 0.5")
    assert lines[start + 1 : start + 7] == [
        "Voff0 off0 drive0 0.25", "Vbl0 off0 end0 0", "Rvirt0 end0 virt0 20.0", "Ramp0 virt0 amp0 3.0",
        "Rmux0 amp0 mux0 40.0", "Rend0 mux0 bl0 5.0",
    ]  # fmt: skip
    sensed = path.at_the_end_of(Wires(source_end_ohms=5.0, rows_per_source_line=1, strap_every=None), "bitlines")
    assert (sensed.source_end_ohms, sensed.bitline_end_ohms) == (68.0, 0.0)
    drive = Stimulus([[5.0]], [[0.05, 0.05]], driven="bitlines")
    of_lines = transient_deck(Tile([[4.0, 4.5]], cell, sensed), drive, 1e-9).splitlines()
    for line in (
        "Rvirts0 sense0 virts0 20.0",
        "Rmuxs0 amps0 muxs0 40.0",
        "Rends0 muxs0 sl0 5.0",
        "Camps0 amps0 0 1e-12",
    ):
        assert line in of_lines


def test_a_path_of_zeros_is_today_s_chip_to_the_last_digit(make_layer: MakeLayer) -> None:
    plain, zeros = (load_chip("etox65", (*SIZE, *settings)) for settings in ((), NOTHING))
    assert zeros.wires == plain.wires and zeros.costs.for_bits(8).read_seconds(3) == plain.costs.read_seconds(3)
    layer = make_layer(*plain.encoding.capacity(24, 16))
    codes = np.random.default_rng(1).integers(0, 16, (2, 24), dtype=np.uint8)
    grids = [place(layer, chip).program() for chip in (plain, zeros)]
    one, other = (deck(grid.arrays[0].tile, grid.arrays[0].drive(codes)) for grid in grids)
    assert one == other
    reads = [grid.read_whole(codes, Reader(backend_named("macro")))[0] for grid in grids]
    assert np.array_equal(reads[0].adc, reads[1].adc) and np.array_equal(reads[0].sums, reads[1].sums)


def test_offsets_drift_from_the_temperature_of_programming(make_layer: MakeLayer) -> None:
    """20 uV/K over 58 K beside 3 mV, drawn once per amplifier; a fresh chip has the offsets of 27 degC."""
    hot = (*SIZE, "tile.bitlines=512", "silicon.programmed_at=27 degC", "temperature=85 degC", *PATH)
    drift, both = load_chip("etox65", (*hot, OFFSETS[1])), load_chip("etox65", (*hot, *OFFSETS))
    place_of = drift.draw.at((0, 0))
    moved, all_of, fresh = (
        chip.amplifier_offsets(place_of, 512) for chip in (drift, both, both.fresh())
    )  # fmt: skip
    assert moved is not None and all_of is not None and fresh is not None
    np.testing.assert_allclose(all_of - fresh, moved, atol=1e-15)
    assert moved.std() == pytest.approx(20e-6 * 58, rel=0.1) and fresh.std() == pytest.approx(3e-3, rel=0.1)
    part = place(make_layer(24, 10), both).tiles[0]
    now, then = np.asarray(part.flaws.amps), np.asarray(on_chip(part, both.fresh()).flaws.amps)
    assert np.abs(now - then).max() > 1e-9
    assert np.array_equal(np.asarray(on_chip(on_chip(part, both.fresh()), both).flaws.amps), now)


def test_offsets_and_thresholds_convert_alike_in_numpy_in_the_kernels_and_in_torch(make_layer: MakeLayer) -> None:
    for kind in ("sar", "flash"):
        chip = load_chip("etox65", (*SIZE, *PATH, *OFFSETS, "adc.bits=6", "adc.inl=1.5", f"adc.type={kind}"))
        layer = make_layer(*chip.encoding.capacity(24, 16))
        grid = place(layer, chip).program()
        codes = np.random.default_rng(2).integers(0, 16, (40, 24), dtype=np.uint8)
        reader = Reader(backend_named("macro"))
        (plain,), (sums,) = grid.read_whole(codes, reader), [grid.multiply(codes, reader)]
        (in_torch,) = read_tiles(grid, codes, Reader(backend_named("macro"), in_torch=True), torch.device("cpu"))
        by_hand = grid.tiles[0].convert(plain.amps.astype(np.float64))
        for found in (plain.adc, in_torch.adc):
            # Single precision decides otherwise where a current is at a threshold.
            assert (found != by_hand).mean() < 2e-3
        np.testing.assert_allclose(sums, plain.sums, rtol=1e-5, atol=1e-3)
        straight = np.rint(grid.tiles[0].flaws.steps(plain.amps.astype(np.float64), grid.tiles[0].ranges))
        assert np.abs(by_hand - straight).max() >= 1


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (["sense.amplifier=transimpedance"], "sense: a transimpedance amplifier needs feedback"),
        (["sense.amplifier=integrating", "sense.window=1 ns"], "sense: an integrating amplifier needs feedback_farads"),
        (["sense.window=1 ns"], "a window of integration needs amplifier: integrating, not ideal"),
        (
            ["sense.amplifier=integrating", "sense.feedback_farads=1 pF", "sense.window=9 ns", "sense.read_time=3 ns"],
            "window of integration is longer than read_time",
        ),
        (["encoding=linear-pair", "sense.offset=1 mV"], "sense.offset .* senses source lines"),
        (["encoding=pulse-width", "sense.read_time=3 ns"], "sense.read_time is that of one sample, but pulse-width"),
        (["sense.read_time=3 ns", "bit_serial.wordline_rise=1 ns"], "bit_serial.wordline_rise sets; give one"),
    ],
)
def test_a_path_that_cannot_be_says_why(settings: list[str], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load_chip("etox65", settings)


def test_parts_must_add_up() -> None:
    with pytest.raises(ConfigurationError, match="add up to 30 ohm, not to bitline_end_ohms, 20"):
        Wires(bitline_end_ohms=20.0, bitline_end_parts=(EndPart("amp", 10.0), EndPart("end", 20.0)))
