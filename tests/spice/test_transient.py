"""Transient reads end at the DC solution, lines charge as in theory, and lagging gates act like higher thresholds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from norsim.array.cell import Cell
from norsim.array.settling import gate_shares
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError, SolveError
from norsim.periphery.encoding import sense_matrix
from norsim.quantization.layer import QuantizedLayer
from norsim.spice.transient import Transient, mean_amps, read_in_time, settling_seconds, transient_deck
from norsim.tiling.grid import place
from norsim.tiling.program import program_tile
from tests.solver.arrays import ENCODINGS, array_of


@pytest.fixture
def probe() -> Cell:
    """A cell that draws 1 uA per volt on its gate, and has no gate capacitance."""
    netlist = ".subckt probe d g s b vt=3\nGcell d s g b 1u\n.ends probe"
    return Cell("probe", netlist, "", "vt", erased_volts=1.0, programmed_volts=6.0)


def gates_in_time(probe: Cell, wires: Wires, bitlines: int, seconds: float) -> tuple[Floats, Floats]:
    """Simulate in ngspice a wordline that steps to 1 V: times, and gate volts `[times, bitlines]` along it."""
    tile = Tile(np.full((1, bitlines), 3.0), probe, wires)
    found = read_in_time(tile, Stimulus([[1.0]], [[0.5] * bitlines], driven="wordlines"), seconds)
    return found.seconds, found.bitline / 1e-6


LADDERS = {
    "a driver without resistance": Wires(strap_every=1, wordline_ohms=100.0, wordline_farads=1e-15),
    "a driver like the line": Wires(strap_every=1, wordline_ohms=100.0, wordline_end_ohms=3e3, wordline_farads=1e-15),
    "a driver alone": Wires(strap_every=1, wordline_end_ohms=3e3, wordline_farads=1e-15),
}


@pytest.mark.parametrize("wires", LADDERS.values(), ids=LADDERS.keys())
def test_a_wordline_charges_in_ngspice_as_its_ladder_does(probe: Cell, wires: Wires) -> None:
    seconds, gates = gates_in_time(probe, wires, 24, 4e-10)
    for k in (20, 60, 150, 400):
        assert np.abs(gates[k] - gate_shares(wires, 24, float(seconds[k]))).max() <= 2e-3


def test_a_long_ladder_settles_as_the_analytic_line_does(probe: Cell) -> None:
    """The far end of a distributed line: 1 - (4/pi) sum (-1)^n / (2n+1) exp(-((2n+1) pi/2)^2 t / RC).

    They agree to 0.1 %, within one part in the number of cells.
    """
    cells, ohms, farads = 128, 15.0, 1e-15
    product = (cells * ohms) * (cells * farads)
    seconds, gates = gates_in_time(
        probe, Wires(strap_every=1, wordline_ohms=ohms, wordline_farads=farads), cells, 4 * product
    )

    def line(at: float) -> float:
        odd = np.arange(1, 40, 2)
        signs = np.where(odd % 4 == 1, 1.0, -1.0)
        return float(1 - 4 / np.pi * (signs / odd * np.exp(-((odd * np.pi / 2) ** 2) * at / product)).sum())

    fine = np.linspace(0.5 * product, 4 * product, 20_000)
    analytic = fine[int(np.argmax([line(at) >= 0.999 for at in fine]))]
    found = settling_seconds(Transient(seconds, gates, gates), gates[:, -1:], np.ones(1), 1e-3)
    assert found == pytest.approx(analytic, rel=0.02)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_read_ends_where_nodal_says(encoding: str) -> None:
    array = array_of(encoding, 12, 10)
    wires = replace(
        array.tile.wires, wordline_ohms=15.0, wordline_end_ohms=500.0, wordline_farads=1.5e-16,
        bitline_farads=2e-16, source_farads=1e-16,
    )  # fmt: skip
    tile = replace(array.tile, wires=wires)
    stimulus = array.stimulus(2, 1).take(slice(0, 1))
    found, settled = read_in_time(tile, stimulus, 2e-10), read(tile, stimulus, "nodal")
    assert found.bitline[-1] == pytest.approx(settled.bitline[0], rel=1e-3)
    assert found.bitline[-1] == pytest.approx(settled.bitline[0], rel=1e-6)
    assert 0 < settling_seconds(found, found.bitline, settled.bitline[0], 1e-3 * settled.bitline.max()) < 2e-10


def test_gates_that_lag_act_like_higher_thresholds(make_layer: Callable[..., QuantizedLayer]) -> None:
    """On a wordline that is so slow that capacitive coupling from gates to bitlines is negligible, they agree with
    ngspice's transient to a hundredth of full scale."""
    wires = ("bit_serial.wires.wordline=20 kohm", "bit_serial.wires.wordline_farads=15 fF")
    slow = (*wires, "tile.wordlines=12", "tile.bitlines=16")
    chip = load_chip("etox65", slow)
    inputs, outputs = chip.encoding.capacity(12, 16)
    layer = make_layer(inputs, outputs)
    part = place(layer, chip).tiles[0]
    codes = np.full((1, inputs), 15, dtype=np.uint8)
    array = program_tile(part)
    stimulus = array.drive(part.codes(codes)).take(slice(0, 1))
    in_time = read_in_time(array.tile, stimulus, 4e-7)
    for k in (25, 50, 100, 300):
        picoseconds = 1e12 * float(in_time.seconds[k])
        late = place(layer, load_chip("etox65", (*slow, f"bit_serial.wordline_rise={picoseconds} ps"))).tiles[0]
        found = read(program_tile(late).tile, stimulus, "nodal").bitline[0]
        assert np.abs(found - in_time.bitline[k]).max() / part.full_scale_amps <= 1e-2
    # The lag matters: the first of these reads is far from settled.
    assert np.abs(in_time.bitline[25] - in_time.bitline[-1]).max() / part.full_scale_amps > 0.05


SLOW_GATES = ("bit_serial.wires.wordline=20 kohm", "bit_serial.wires.wordline_farads=15 fF")
SENSE = ("sense.input=2 kohm", "sense.multiplexer=1 kohm")
# Settings, the window of an integration, the simulated time, and times of samples with a bound of the error of a line
# and a loss that is exceeded, both in full scales.
READS = {
    "gates and a slow global bitline": (
        (*SLOW_GATES, *SENSE, "sense.global_farads=20 pF"), 0.0, 4e-7,
        [(5e-8, 1e-3, 0.35), (1e-7, 1e-3, 0.3), (2e-7, 1e-3, 0.05)],
    ),
    "the time constant of fast gates and a fast line": (
        ("sense.input=50 ohm", "sense.multiplexer=50 ohm", "sense.global_farads=2 pF"), 0.0, 2e-9,
        [(1e-10, 1e-1, 0.1), (2e-10, 4e-2, 0.04), (4e-10, 6e-3, 0.005)],
    ),
    "bitlines": (
        (*SENSE, "sense.global_farads=2 pF", "bit_serial.wires.bitline_farads=20 fF"), 0.0, 4e-8,
        [(2e-9, 6e-3, 0.25), (5e-9, 3e-3, 0.1), (1e-8, 1e-3, 0.03)],
    ),
    "an integrator": (
        (
            *SENSE, "sense.global_farads=2 pF", "sense.amplifier=integrating", "sense.feedback_farads=1 pF",
            "sense.gain=1000", "sense.window=6 ns",
        ), 6e-9, 4e-8, [(7e-9, 5e-3, 0.15), (1e-8, 2e-3, 0.05)],
    ),
    "drains and source lines": (
        (
            "encoding=linear-pair", "sense.input=300 ohm", "sense.global_farads=2 pF", "sense.multiplexer=100 ohm",
            "linear_pair.wires.bitline_end=2 kohm", "linear_pair.wires.bitline_farads=20 fF",
        ), 0.0, 6e-9, [(3e-10, 1e-2, 0.1), (8e-10, 1e-2, 0.05)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "window", "seconds", "samples"), READS.values(), ids=READS.keys())
def test_a_sample_that_is_taken_early_is_that_of_the_transient(
    settings: tuple[str, ...], window: float, seconds: float, samples: list[tuple[float, float, float]],
    make_layer: Callable[..., QuantizedLayer],
) -> None:  # fmt: skip
    """From the edge of the input to the sample, or to the end of the integration, through gates, cells, lines and
    amplifiers: the analytic gains of cells in nodal against ngspice over time, by line and by output."""
    size = ("tile.wordlines=12", "tile.bitlines=16")
    settled = load_chip("etox65", (*size, *settings))
    inputs = settled.encoding.capacity(12, 16)[0]
    layer = make_layer(*settled.encoding.capacity(12, 16))
    part = place(layer, settled).tiles[0]
    array = program_tile(part)
    codes = np.random.default_rng(1).integers(0, 16, (1, inputs), dtype=np.uint8)
    codes[0, :3] = 15
    stimulus = array.drive(codes).take(slice(0, 1))
    lines = "bitline" if settled.encoding.inputs_on == "wordlines" else "source"
    in_time = read_in_time(array.tile, stimulus, seconds)
    currents, end = getattr(in_time, lines), getattr(read(array.tile, stimulus, "nodal"), lines)[0]
    assert np.abs(currents[-1] - end).max() <= 1e-3 * part.full_scale_amps
    for at, bound, lost in samples:
        chip = load_chip("etox65", (*size, *settings, f"sense.read_time={1e12 * at} ps"))
        found = getattr(read(program_tile(place(layer, chip).tiles[0]).tile, stimulus, "nodal"), lines)[0]
        seen = mean_amps(in_time.seconds, currents, at, window)
        assert np.abs(found - seen).max() <= bound * part.full_scale_amps
        # What gates couple into bitlines is common to all, so the reference columns take it out.
        outputs = (found - seen) @ sense_matrix(part.encoding.sense(len(part.outputs)), lines, len(end))
        assert np.abs(outputs).max() <= 1.5e-3 * part.full_scale_amps
        assert np.abs(found - end).max() > lost * part.full_scale_amps


def test_a_read_that_ends_before_any_current_arrives_is_refused(make_layer: Callable[..., QuantizedLayer]) -> None:
    chip = load_chip("etox65", (*SENSE, "sense.global_farads=2 pF", "sense.read_time=1 ps"))
    with pytest.raises(ConfigurationError, match="make sense.read_time longer"):
        program_tile(place(make_layer(4, 2), chip).tiles[0])


def test_a_long_read_is_a_settled_one(make_layer: Callable[..., QuantizedLayer]) -> None:
    """After a thousand time constants gains are 1, and currents those of a chip without a time, to 1e-9."""
    path = ("tile.wordlines=12", "tile.bitlines=16", *SENSE, "sense.global_farads=2 pF")
    layer = make_layer(12, 10)
    late, settled = (
        program_tile(place(layer, load_chip("etox65", (*path, *more))).tiles[0])
        for more in (("sense.read_time=100 us",), ())
    )
    assert late.tile.gains is not None and np.abs(late.tile.gains - 1).max() <= 1e-9
    stimulus = settled.drive(np.full((1, 12), 15, np.uint8))
    one, other = (read(array.tile, stimulus, "nodal").bitline for array in (late, settled))
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_currents_that_do_not_settle_are_told() -> None:
    found = Transient(np.linspace(0, 1e-9, 5), np.zeros((5, 1)), np.zeros((5, 1)))
    with pytest.raises(SolveError, match="simulate longer"):
        settling_seconds(found, np.linspace(0, 1, 5)[:, None], np.full(1, 2.0), 0.1)
    assert settling_seconds(found, np.ones((5, 1)), np.ones(1), 0.1) == 0.0


@pytest.mark.parametrize(
    "stimulus", [Stimulus([[1.0], [0.0]], [[0.5], [0.5]], driven="wordlines"), Stimulus([[1.0]], [[0.5]])]
)
def test_a_transient_is_of_one_read_that_says_what_it_drives(probe: Cell, stimulus: Stimulus) -> None:
    with pytest.raises(ConfigurationError, match="needs one read"):
        read_in_time(Tile([[3.0]], probe, Wires()), stimulus, 1e-9)


def test_the_deck_in_time_steps_the_input_and_nothing_else() -> None:
    for encoding, steps in (("bit-serial", "Vwl0"), ("linear-pair", "Vdrive0")):
        array = array_of(encoding, 6, 6)
        text = transient_deck(array.tile, array.stimulus(2, 0).take(slice(0, 1)), 1e-9)
        stepped = [line.split()[0] for line in text.splitlines() if "PWL(" in line]
        assert steps in stepped and {name.rstrip("0123456789") for name in stepped} == {steps.rstrip("0")}
