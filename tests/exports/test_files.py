"""`norsim export` for testers, NeuroSim and aihwkit: files that say of a network what its arrays do."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import norsim as package
from norsim.backends.programming import cell_amps
from norsim.exports import aihwkit, neurosim, tester
from norsim.tiling.modules import layer_codes, tiled_layers

IMAGES = torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def network(chip: Any) -> nn.Module:
    """A convolution and a linear layer on tiles of a chip, calibrated."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(48, 5))
    placed = package.convert(package.quantize(model, IMAGES), chip)
    package.calibrate(placed, IMAGES)
    return placed


@pytest.fixture(scope="module")
def noisy() -> nn.Module:
    """A network on small tiles whose cells were programmed with a spread, and have noise from read to read."""
    size = ("tile.wordlines=16", "tile.bitlines=8", "bit_serial.reference_every=4", "bit_serial.wires.strap_every=4")
    spread = ("silicon.programming={scale: 20 nA, knee: 176 nA}", "silicon.reading={scale: 12 nA, knee: 215 nA}")
    return network(package.load_chip("etox65", (*size, *spread, "calibration.reads=20")))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def matrix(text: str) -> Any:
    return np.loadtxt(io.StringIO(text), delimiter=",", ndmin=2)


@pytest.mark.parametrize("in_situ", [False, True])
def test_a_tester_gets_each_cell_with_a_threshold_that_conducts_its_current(small_chip: Any, in_situ: bool) -> None:
    """ngspice reads cells of the listed thresholds, alone, at the listed volts."""
    keys = ("calibration.reads=20", "silicon.programming={scale: 20 nA, knee: 176 nA}")
    placed = network(small_chip(*keys, f"silicon.in_situ={str(in_situ).lower()}"))
    files = dict(tester.files(placed, IMAGES))
    tiles = rows(files.pop("tiles.csv"))
    assert [tile["file"] for tile in tiles] == list(files)
    grids = {name: layer.grid for name, layer in tiled_layers(placed).items()}
    assert len(tiles) == sum(len(grid.tiles) for grid in grids.values())
    cells, levels = [], []
    for tile in tiles:
        part = grids[tile["layer"]].at(int(tile["tile_row"]), int(tile["tile_column"]))
        assert (int(tile["first_input"]), int(tile["last_output"])) == (part.inputs.start, part.outputs.stop - 1)
        found = rows(files[tile["file"]])
        size = (int(tile["wordlines"]), int(tile["bitlines"]))
        assert {(int(cell["wordline"]), int(cell["bitline"])) for cell in found} == set(np.ndindex(size))
        assert len(found) == np.prod(size)
        codes = np.array([int(cell["level"]) for cell in found]).reshape(size)
        # An output's cells have the weight codes, in the order of wordlines.
        plus = part.encoding.columns.places(len(part.outputs))[0]
        assert np.array_equal(codes[:, plus], part.weights)
        cells += [(float(cell["threshold_volts"]), float(cell["target_amps"])) for cell in found]
        levels += codes.ravel().tolist()
    volts, amps = np.array(cells).T
    cell, ends = grids["0"].chip.verify_cell, (float(tiles[0][f"verify_{line}_volts"]) for line in ("gate", "drain"))
    read = cell_amps(cell, volts, *ends)
    on = np.array(levels) > 0
    # A threshold is written to 1 uV, 1e-5 of a current.
    assert np.abs(read[on] / amps[on] - 1).max() < 5e-5
    assert not amps[~on].any() and read[~on].max() < 1e-12
    alone = np.array(levels)[on] * 1.6e-6 / 15
    if in_situ:
        # The load of the wires lowers currents, so that cells alone conduct more; by parts per thousand here.
        assert 1e-4 < np.mean(amps[on] / alone - 1) < 5e-2
    else:
        assert np.allclose(amps[on], alone, rtol=1e-6)


def test_neurosim_gets_weights_bits_conductances_and_their_moments(noisy: nn.Module) -> None:
    files = dict(neurosim.files(noisy, IMAGES[:2]))
    layers, codes = tiled_layers(noisy), layer_codes(noisy, IMAGES[:1])
    levels = rows(files["levels.csv"])
    for name, layer in layers.items():
        quantized = layer.grid.layer
        signed = quantized.weights.T.astype(float) - quantized.weight_zero
        assert np.array_equal(8 * matrix(files[f"weight_{name}.csv"]), signed)
        assert np.abs(signed).max() <= 15
        bits = matrix(files[f"input_{name}.csv"]).reshape(quantized.vector_length, -1, 4)
        assert np.array_equal(bits @ [8, 4, 2, 1], codes[name].T)
        for part, array in layer.grid.programmed():
            siemens = matrix(files[f"conductance_{name}_tile_{part.row}_{part.column}.csv"])
            read = cell_amps(array.tile.cell, array.tile.thresholds.ravel(), 5.0, 0.5).reshape(siemens.shape) / 0.5
            on, level = read > 1e-9, part.cell_codes()
            assert np.allclose(siemens[on], read[on], rtol=5e-5) and siemens[~on].max() < 1e-9
            own = [one for one in levels if (one["layer"], one["tile_row"]) == (name, str(part.row))]
            for one in (row for row in own if row["tile_column"] == str(part.column)):
                cells = read[level == int(one["level"])]
                assert int(one["cells"]) == len(cells)
                assert float(one["mean_siemens"]) == pytest.approx(cells.mean(), rel=1e-4, abs=1e-12)
                assert float(one["standard_deviation_siemens"]) == pytest.approx(cells.std(), rel=1e-3, abs=1e-12)
    # The noise of a read in current, as in IEDM 2022 21.7, over the volts of a bitline.
    top = next(one for one in levels if one["level"] == "15")
    expected = 12e-9 * (1 - np.exp(-1600 / 215)) / 0.5
    assert float(top["read_standard_deviation_siemens"]) == pytest.approx(expected, rel=1e-6)
    assert float(top["target_siemens"]) == pytest.approx(3.2e-6)
    known = {row["parameter"]: float(row["value"]) for row in rows(files["parameters.csv"])}
    assert known["resistanceOn"] == pytest.approx(0.5 / 1.6e-6, rel=1e-4) and known["levelOutput"] == 256
    assert known["cellBit"] == 4 and known["numRowSubArray"] == 16 and known["wireResistanceCol"] == 0.4


@pytest.fixture(scope="module")
def exported(noisy: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aihwkit")
    for name, text in aihwkit.files(noisy, IMAGES):
        (folder / name).write_text(text)
    return folder


def test_moments_of_tiles_are_those_of_their_reads(noisy: nn.Module, exported: Path) -> None:
    """Gain, offset and deviation against the reads of another call, whose noise is drawn again."""
    layers, codes = tiled_layers(noisy), layer_codes(noisy, IMAGES)
    for name, entry in json.loads((exported / "tiles.json").read_text())["layers"].items():
        layer = layers[name]
        reads = layer.grid.read_whole(codes[name], layer.reader_of_call(len(IMAGES)))
        for part, read, tile in zip(layer.grid.tiles, reads, entry["tiles"], strict=True):
            own = codes[name][:, slice(*tile["inputs"])].astype(float)
            line = own @ np.array(tile["weights"]).T * tile["gain"] + tile["offset"]
            rest, count = read.sums - line, read.sums.size
            assert part.outputs == range(*tile["outputs"])
            assert np.abs(rest.mean(axis=0)).max() <= 5 * tile["sigma"] / np.sqrt(len(own)) + 1e-9
            assert np.std(rest) == pytest.approx(tile["sigma"], rel=5 / np.sqrt(2 * count))


def test_aihwkit_draws_sums_with_these_moments(noisy: nn.Module, exported: Path) -> None:
    pytest.importorskip(
        "aihwkit", reason="aihwkit is built from source, with cmake and a BLAS; CONTRIBUTING.md says how"
    )
    spec = importlib.util.spec_from_file_location("tiles", exported / "aihwkit_tiles.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(1)
    content = json.loads((exported / "tiles.json").read_text())["layers"]
    for name, layer in module.load(exported / "tiles.json").items():
        codes, entry = layer_codes(noisy, IMAGES)[name], content[name]
        again = torch.from_numpy(codes).float().repeat(40, 1)
        for tile, own in zip(entry["tiles"], layer.tiles, strict=True):
            inputs = again[:, slice(*tile["inputs"])]
            line = inputs.double().numpy() @ np.array(tile["weights"]).T * tile["gain"] + tile["offset"]
            rest = own(inputs).detach().double().numpy() - line
            assert np.abs(rest.mean(axis=0)).max() < 5 * tile["sigma"] / np.sqrt(len(rest)) + 1e-4
            assert np.std(rest) == pytest.approx(tile["sigma"], rel=5 / np.sqrt(2 * rest.size) + 1e-4)
        quantized = tiled_layers(noisy)[name].grid.layer
        real = layer.decode(layer(again[: len(codes)])).detach().numpy()
        exact = quantized.decode(tiled_layers(noisy)[name].grid.layer.zero_sums * 0.0 + _sums(quantized, codes))
        assert np.corrcoef(real.ravel(), exact.ravel())[0, 1] > 0.95


def _sums(layer: Any, codes: Any) -> Any:
    return codes.astype(float) @ (layer.weights.T.astype(float) - layer.weight_zero) - layer.zero_sums


@pytest.mark.parametrize("exporter", [aihwkit.files, neurosim.files, tester.files])
def test_a_network_without_arrays_is_refused(exporter: Any) -> None:
    with pytest.raises(package.ConfigurationError, match="no layer of the network is on the array"):
        exporter(nn.Linear(2, 2), IMAGES)
