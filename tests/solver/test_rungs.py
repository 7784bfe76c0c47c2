"""The same array of thresholds through every rung of the ladder, each within its bound of ngspice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import norsim
from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.programming import aimed, cell_amps
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.data import load
from norsim.data.tensors import images_tensor
from norsim.paths import models_folder
from norsim.periphery.encoding import full_scale_amps
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.grid import place
from norsim.tiling.program import program_tile
from tests.solver.arrays import ENCODINGS, LAYOUTS, OHMS, array_of

BOUNDS = {"ngspice-shared": 1e-8, "nodal": 1e-6, "macro": 1e-4}


@pytest.mark.parametrize("times", [1.0, 10.0], ids=["the default chip", "wires times ten"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nodal_meets_ngspice(encoding: str, times: float) -> None:
    """Random, full and single drives of 64 wordlines and 32 bitlines agree to a millionth of full scale."""
    array = array_of(encoding, 64, 32, times)
    stimulus = array.stimulus(3 if encoding == "bit-serial" else 8, 2)
    found, reference = (read(array.tile, stimulus, backend) for backend in ("nodal", "ngspice"))
    assert array.difference(found, reference) <= 1e-6
    scale = full_scale_amps(array.encoding, array.inputs, 4, 4)
    assert np.abs(found.bitline - reference.bitline).max() <= 1e-6 * scale


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_wires_do_decide_what_nodal_is_tested_on(encoding: str) -> None:
    array, lossless = array_of(encoding, 64, 32, 10.0), array_of(encoding, 64, 32, 0.0)
    stimulus = array.stimulus(3, 2)
    assert array.difference(read(array.tile, stimulus, "nodal"), read(lossless.tile, stimulus, "nodal")) > 1e-3


@pytest.mark.parametrize("top", [0.5, 0.05], ids=["full read volts", "mixed small drain volts"])
@pytest.mark.parametrize("wires", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_nodal_meets_ngspice_in_every_layout(wires: Wires, top: float) -> None:
    """Bits on the wordlines, with equal or different bitline volts; errors are relative to the largest current."""
    cell, random = load_chip("etox65").cell, np.random.default_rng(3)
    tile = Tile(random.choice([3.9, 4.3, 6.0], (12, 10)), cell, wires)
    gates, volts = random.choice([0.0, 5.0], (4, 12)), top * np.ones((4, 10))
    volts = volts if top > 0.1 else volts * random.random((4, 10))
    gates[0], volts[0], gates[1] = 5.0, top, 0.0
    gates[1, 0] = 5.0
    found, reference = (read(tile, Stimulus(gates, volts), backend) for backend in ("nodal", "ngspice"))
    for lines in ("bitline", "source"):
        one, other = getattr(found, lines), getattr(reference, lines)
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= 1e-6 * np.abs(other).max()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_same_thresholds_give_the_same_currents_on_every_rung(encoding: str) -> None:
    array = array_of(encoding, 32, 20)
    stimulus = array.stimulus(3, 4)
    reference = read(array.tile, stimulus, "ngspice")
    for backend, bound in BOUNDS.items():
        found = read(array.tile, stimulus, backend)
        assert found.backend == backend
        assert array.difference(found, reference) <= bound


@pytest.mark.parametrize("wire", OHMS)
def test_every_wire_resistance_is_felt_alike_by_nodal_and_ngspice(wire: str) -> None:
    """One kind of resistance at a time is large enough to change the currents by more than a thousandth."""
    cell = load_chip("etox65").cell
    stimulus = Stimulus(np.full((1, 6), 5.0), np.full((1, 5), 0.5))
    lossless, lossy = (Tile(np.full((6, 5), 3.9), cell, Wires(strap_every=2, **{wire: ohms})) for ohms in (0.0, 1e3))
    without, found, reference = (
        read(lossless, stimulus, "nodal"), read(lossy, stimulus, "nodal"), read(lossy, stimulus, "ngspice")
    )  # fmt: skip
    assert np.abs(found.bitline / without.bitline - 1).max() > 1e-3
    np.testing.assert_allclose(found.bitline, reference.bitline, rtol=1e-6)


def small_network() -> tuple[nn.Module, torch.Tensor]:
    """Return a linear classifier of digits averaged to 4 x 4, fitted by least squares, and its training images."""
    train = load("digits", "train")
    images = images_tensor(train)
    network = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 10)).eval()
    features = torch.nn.functional.pad(network[:2](images), (0, 1), value=1.0)
    targets = torch.nn.functional.one_hot(torch.from_numpy(train.labels), 10).float()
    solved = torch.linalg.lstsq(features, targets).solution
    with torch.no_grad():
        network[2].weight.copy_(solved[:16].T)
        network[2].bias.copy_(solved[16])
    return network, images


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_network_answers_the_same_through_nodal_and_macro_as_through_ngspice(encoding: str) -> None:
    network, images = small_network()
    size = ("tile.wordlines=20", "tile.bitlines=16", "calibration.images=8", "calibration.reads=16")
    chip = load_chip("etox65", (*size, f"encoding={encoding}"))
    analog = norsim.convert(norsim.quantize(network, [images[:256]]), chip)
    norsim.calibrate(analog, images[:8], backend="nodal")
    test = load("digits", "test").take(8, None)
    found = {
        backend: norsim.evaluate(analog, test, backend=backend, spice_sample=2)
        for backend in ("ngspice", "nodal", "macro")
    }
    assert len(set(found["ngspice"].predictions)) > 3
    for backend, bound in {"nodal": 1e-6, "macro": 1e-4}.items():
        result = found[backend]
        assert np.array_equal(result.predictions, found["ngspice"].predictions)
        assert result.verification.samples == 2
        assert (result.verification.max_error_full_scale or 0.0) <= bound


AILING = (
    "silicon.programming={scale: 19.887 nA, knee: 176.31 nA}",
    "silicon.aged={scale: 34.579 nA, knee: 207.34 nA, after: 5 day}",
    "silicon.time=1 day",
    "silicon.drift_cell=20 mV",
    "silicon.telegraph_a_decade=5 mV",
    "silicon.stuck=0.01",
    "silicon.open=0.01",
    "temperature=85 degC",
    "silicon.programmed_at=27 degC",
    "tile.wordlines=64",
    "tile.bitlines=32",
)


@pytest.mark.parametrize(("encoding", "tracking"), [("bit-serial", "true"), ("linear-pair", "false")])
def test_every_rung_sees_the_same_ailing_silicon(
    encoding: str, tracking: str, make_layer: Callable[..., QuantizedLayer]
) -> None:
    """Different thresholds for all cells, broken cells, 85 degrees Celsius, and drivers with or without tracking."""
    chip = load_chip("etox65", (*AILING, f"encoding={encoding}", f"silicon.tracking={tracking}"))
    inputs, outputs = chip.encoding.capacity(64, 32)
    part = place(make_layer(inputs, outputs), chip.specimen(3, 1)).tiles[0]
    array = program_tile(part)
    tile = array.tile
    assert len(np.unique(tile.thresholds)) > tile.thresholds.size // 2
    assert {3.0, 7.5} <= set(tile.thresholds.ravel())
    codes = np.random.default_rng(0).integers(0, 16, (2, inputs), dtype=np.uint8)
    stimulus = array.drive(codes)
    found = {name: part.amps(read(tile, stimulus, name)) for name in ("ngspice", "nodal", "macro")}
    errors = {name: np.abs(amps - found["ngspice"]).max() / part.full_scale_amps for name, amps in found.items()}
    assert errors["nodal"] <= 1e-5
    assert np.abs(found["macro"] - found["nodal"]).max() / part.full_scale_amps <= 1e-4
    # The result is far from the programmed state.
    sound = place(part.layer, load_chip("etox65", (*AILING[-2:], f"encoding={encoding}"))).tiles[0]
    programmed = program_tile(sound)
    nominal = sound.amps(read(programmed.tile, programmed.drive(codes), "nodal"))
    assert np.abs(nominal - found["nodal"]).max() / part.full_scale_amps > 1e-3


@pytest.mark.parametrize("encoding", ["bit-serial", "pulse-width"])
def test_deselected_wordlines_at_other_volts_on_every_rung(encoding: str) -> None:
    """At 3.4 V on deselected wordlines erased cells leak: without a selected one, by hand, as single cells do. At -1 V
    they do not. All rungs agree."""
    section, bits = encoding.replace("-", "_"), 2
    keys = yaml.safe_load((models_folder() / "chips" / "etox65.yaml").read_text())["bit_serial"]
    random, leaks = np.random.default_rng(5), []
    codes = random.integers(0, 2**bits, (3, 24), dtype=np.uint8)
    codes[0] = 0
    for off in (-1.0, 3.4):
        settings = {"encoding": encoding, section: {**keys, "wordline_off": f"{off} V"}}
        chip = load_chip("etox65", settings)
        stimulus, wires = chip.encoding.drive(codes, 15, bits), replace(chip.wires, source_ohms=150.0)
        assert set(np.unique(stimulus.wordline_volts)) == {off, 5.0}
        tile = Tile(random.choice([3.4, 3.7, 4.0, 6.0], (24, 16)), chip.cell, wires)
        found = {backend: read(tile, stimulus, backend).bitline for backend in ("ngspice", "nodal", "macro")}
        scale = chip.encoding.lsb_amps * 24 * 15
        for backend, bound in (("nodal", 1e-6), ("macro", 1e-4)):
            assert np.abs(found[backend] - found["ngspice"]).max() <= bound * scale
        alone = cell_amps(chip.cell, tile.thresholds.ravel(), off, 0.5).reshape(tile.thresholds.shape).sum(axis=0)
        np.testing.assert_allclose(found["ngspice"][0], alone, rtol=2e-2, atol=1e-12)
        leaks.append(float(alone.max()))
        aim, _ = aimed(tile, stimulus, np.full(tile.thresholds.shape, 5e-7), np.random.default_rng(0))
        assert 3.0 < aim.thresholds.min() < aim.thresholds.max() < 4.5
    assert leaks[1] > 1e-9 > 1e3 * abs(leaks[0])
