"""Cells beside those of a tile: their leakage against real cells in ngspice, and all rungs with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from norsim.array.draw import Draw
from norsim.array.sectors.neighbours import Neighbours
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.array.wires import EndPart, Wires
from norsim.backends.programming import leakage
from norsim.backends.registry import backend_named, read
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError
from norsim.quantization.layer import QuantizedLayer
from norsim.spice.deck import deck
from norsim.spice.dialects import vacask
from norsim.tiling.grid import place
from norsim.tiling.on_device.reading import read_tiles
from norsim.tiling.program import ProgrammedTile, program_tile
from norsim.tiling.reader import Reader
from norsim.tiling.tile import PlacedTile

MakeLayer = Callable[..., QuantizedLayer]
SIZE = ("tile.wordlines=24", "tile.bitlines=16")
# Over-erased cells enough to draw a few per cent of full scale from each bitline.
LEAKY = (
    "neighbours.rows=2000", "neighbours.threshold=0.3 V", "neighbours.spread=50 mV", "neighbours.tail=0.05",
    "neighbours.tail_depth=0.3 V",
    "neighbours.idle_rows=true", "bit_serial.wires.bitline_end=300 ohm",
)  # fmt: skip
ABSENT = (
    "neighbours.rows=0", "neighbours.spread=1 V", "neighbours.tail=0.5", "neighbours.tail_depth=2 V",
    "neighbours.threshold=0 V", "silicon.pulses.step=null", "silicon.pulses.most=9", "silicon.reads=0",
    "silicon.read_disturb=1 mV",
)  # fmt: skip


def programmed(make_layer: MakeLayer, *settings: str, inputs: int = 20) -> tuple[PlacedTile, ProgrammedTile]:
    """Return a tile of 24 wordlines, of which `inputs` have inputs."""
    chip = load_chip("etox65", (*SIZE, *settings))
    part = place(make_layer(inputs, chip.encoding.capacity(24, 16)[1]), chip).tiles[0]
    return part, program_tile(part)


@pytest.mark.parametrize("celsius", [27, 85])
def test_the_leakage_is_that_of_real_cells_in_ngspice(celsius: int) -> None:
    """Rows of over-erased cells with wordlines at 0 V, on source lines of their own, between amplifiers and tile."""
    chip = load_chip("etox65", (f"temperature={celsius} degC",))
    cell, wires = replace(chip.cell, lowest_volts=-2.0), replace(chip.wires, bitline_end_ohms=100.0)
    random = np.random.default_rng(0)
    drawn: list[Floats] = []
    amps_of = leakage(chip.cell, chip.encoding)

    def amps(volts: Floats) -> Floats:
        drawn.append(volts)
        return amps_of(volts)

    beside = Neighbours(40, 0.3, 0.1, tail=0.5, tail_volts=0.3)
    leaks = beside.leaks(0, 6, 3.0, amps, np.random.default_rng(1))
    assert leaks is not None
    own = random.uniform(3.6, 6.0, (8, 6))
    real = Tile(np.vstack([drawn[0].reshape(6, 40).T, own]), cell, wires)
    gates = np.where(random.random((3, 8)) < 0.5, 5.0, 0.0)
    volts = np.full((3, 6), 0.5)
    found = read(Tile(own, cell, wires, leaks=leaks), Stimulus(gates, volts), "ngspice")
    exact = read(real, Stimulus(np.pad(gates, ((0, 0), (40, 0))), volts), "ngspice")
    alone = read(Tile(own, cell, wires), Stimulus(gates, volts), "ngspice")
    # The leakage is taken without the millivolt that it drops itself.
    added = (exact.bitline - alone.bitline).max()
    assert added > 7e-6
    np.testing.assert_allclose(found.bitline, exact.bitline, rtol=0, atol=3e-3 * added)


def test_leakage_grows_with_temperature_and_falls_with_the_volts_of_wordlines(make_layer: MakeLayer) -> None:
    sums = []
    for more in ((), ("temperature=85 degC", "silicon.programmed_at=27 degC"), ("bit_serial.wordline_off=-1 V",)):
        _, array = programmed(make_layer, *LEAKY, "neighbours.tail=0", *more)
        assert array.tile.leaks is not None
        sums.append(array.tile.leaks.sum())
    assert sums[1] > 5 * sums[0] and sums[2] < 0.01 * sums[0]


@pytest.mark.parametrize(("celsius", "amps"), [(27, (1.0e-12, 2.9e-15)), (85, (19e-12, 0.12e-12))])
def test_cells_of_the_preset_leak_what_the_documents_say(celsius: int, amps: tuple[float, float]) -> None:
    chip = load_chip("etox65", (f"temperature={celsius} degC",))
    found = leakage(chip.cell, chip.encoding)(np.array([0.4, 0.8]))
    np.testing.assert_allclose(found, amps, rtol=0.03)


def test_every_rung_adds_the_leakage_and_its_drop(make_layer: MakeLayer) -> None:
    """By hand: the bitline is held lower by what the leakage drops in front of it, and its amplifier gives both."""
    part, array = programmed(make_layer, *LEAKY)
    leaks, full = array.tile.leaks, part.full_scale_amps
    assert leaks is not None and leaks.min() > 1e-2 * full
    codes = np.random.default_rng(1).integers(0, 16, (4, 20), dtype=np.uint8)
    stimulus = array.drive(codes)
    lines = {name: read(array.tile, stimulus, name).bitline for name in ("ngspice", "nodal", "macro")}
    assert np.abs(lines["nodal"] - lines["ngspice"]).max() <= 1e-7 * full
    assert np.abs(lines["macro"] - lines["ngspice"]).max() <= 5e-5 * full
    held = replace(stimulus, bitline_volts=stimulus.bitline_volts - 300.0 * leaks)
    by_hand = read(replace(array.tile, leaks=None), held, "ngspice").bitline + leaks
    assert np.abs(lines["ngspice"] - by_hand).max() <= 1e-9 * full
    # What networks read: sums of the compiled kernel, and of torch.
    reader = Reader(backend_named("macro"))
    grid = place(part.layer, part.chip).program()
    (of_kernel,) = grid.read_whole(codes, reader)
    amps = part.amps(read(array.tile, stimulus, "macro"))
    np.testing.assert_allclose(of_kernel.amps.reshape(amps.shape), amps, atol=1e-6 * full)
    (of_torch,) = read_tiles(grid, codes, reader, torch.device("cpu"))
    np.testing.assert_allclose(of_torch.amps, of_kernel.amps, atol=1e-6 * full)


def test_a_deck_has_a_source_for_each_leakage() -> None:
    cell = load_chip("etox65").cell
    tile = Tile([[4.0, 4.5]], cell, Wires(bitline_end_ohms=5.0, strap_every=1), leaks=[1e-6, 0.0])
    assert "Ileak0 bl0 0 1e-06" in deck(tile, Stimulus([[5.0]], [[0.5, 0.5]])).splitlines()
    assert "ileak0 (bl0 0) isource dc=1e-06" in vacask.deck(tile, Stimulus([[5.0]], [[0.5, 0.5]])).splitlines()
    with pytest.raises(ConfigurationError, match="1 leaks for 2 bitlines"):
        replace(tile, leaks=[1e-6])


def test_idle_rows_and_other_sectors_load_the_bitline(make_layer: MakeLayer) -> None:
    """2,004 cells of 0.2 fF are 0.4 pF behind 300 ohm: with the time constant 0.12 ns, as long as the read."""
    _, array = programmed(make_layer, *LEAKY, "sense.read_time=0.12 ns", "bit_serial.wires.wordline=0 ohm",
                          "bit_serial.wires.wordline_end=0 ohm")  # fmt: skip
    assert array.tile.wires.bitline_end == (EndPart("end", 300.0, pytest.approx(2004 * 0.2e-15)),)
    assert array.tile.gains is not None
    assert array.tile.gains.mean() == pytest.approx(1 - np.exp(-0.12e-9 / (300 * 2024 * 0.2e-15)), rel=0.05)
    full, _ = programmed(make_layer, "neighbours.idle_rows=true", inputs=24)
    assert program_tile(full).tile.leaks is None
    _, idle = programmed(make_layer, "neighbours.idle_rows=true", "neighbours.threshold=0.5 V")
    one = leakage(full.chip.cell, full.chip.encoding)(np.array([0.5]))[0]
    np.testing.assert_allclose(idle.tile.leaks, 4 * one)


def test_absent_effects_are_today_s_chip_to_the_last_digit(make_layer: MakeLayer) -> None:
    (one, plain), (other, absent) = programmed(make_layer), programmed(make_layer, *ABSENT)
    assert one.chip.wires == other.chip.wires and absent.tile.leaks is None and absent.pulsed is None
    stimulus = plain.drive(np.random.default_rng(1).integers(0, 16, (2, 20), dtype=np.uint8))
    assert deck(plain.tile, stimulus) == deck(absent.tile, stimulus)


def test_pulses_program_the_tile_that_is_read(make_layer: MakeLayer) -> None:
    """Cells land within half a step of their levels, each time the same; those that pulses cannot reach are counted."""
    _, exact = programmed(make_layer)
    part, array = programmed(make_layer, "silicon.pulses={step: 20 mV, cell_spread: 50 mV, start: 2.5 V}")
    away = array.tile.thresholds - exact.tile.thresholds
    assert 0.005 < away.std() and np.abs(away).max() <= 0.01 + 1e-6
    np.testing.assert_array_equal(program_tile(part).tile.thresholds, array.tile.thresholds)
    seeded = replace(part, chip=replace(part.chip, draw=Draw(1, 0)))
    assert not np.array_equal(program_tile(seeded).tile.thresholds, array.tile.thresholds)
    _, short = programmed(make_layer, "silicon.pulses={step: 20 mV, most: 50}")
    assert short.pulsed is not None
    # Fifty pulses end below 4.0 V.
    assert short.pulsed.low == np.count_nonzero(exact.tile.thresholds > short.tile.thresholds.max() + 0.02) > 0


def test_linear_pair_has_no_neighbours() -> None:
    with pytest.raises(ConfigurationError, match="neighbours are those of sensed bitlines"):
        load_chip("etox65", ("encoding=linear-pair", "neighbours.rows=10"))
