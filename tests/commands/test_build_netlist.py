"""The deck of `build-netlist`, run by hand, has the currents that `run-layer` reports."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from norsim.spice.rawfile import read_raw
from tests.commands.conftest import Run

CELL = re.compile(r"^X(\d+)_(\d+) .* vt=(\S+)$", re.MULTILINE)
TILES = [("conv1", "0,0"), ("conv2", "0,0"), ("fc", "1,0")]


def by_hand(folder: Path) -> np.ndarray:
    """Return `[vectors, passes, outputs]` amperes, using only tile.cir and tile.json."""
    subprocess.run(["ngspice", "-b", "tile.cir"], cwd=folder, check=True, capture_output=True)
    tile = json.loads((folder / "tile.json").read_text())
    names = sorted({name for lines in tile["sense"] for name, _ in lines})
    raw = read_raw(folder / "currents.raw", names, len(tile["points"]))
    columns = [sum(sign * raw[:, names.index(name)] for name, sign in lines) for lines in tile["sense"]]
    currents = np.full((tile["vectors"], tile["passes"], tile["outputs"]), np.nan)
    for point, (vector, number) in enumerate(tile["points"]):
        currents[vector, number] = [column[point] for column in columns]
    return currents


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
@pytest.mark.parametrize(("layer", "tile"), TILES)
def test_a_deck_run_by_hand_gives_the_currents_of_run_layer(
    norsim: Run, tmp_path: Path, layer: str, tile: str, encoding: str
) -> None:
    options = ["--network", "digits-cnn", "--layer", layer, "--tile", tile, "--vectors", 2, "--encoding", encoding]
    # ngspice takes long to solve the source lines of a wide tile without straps.
    options += ["--set", "tile.bitlines=32"] if encoding == "linear-pair" else []
    assert norsim("build-netlist", *options, "--out", tmp_path / "deck").code == 0
    assert norsim("run-layer", *options, "--out", tmp_path / "run").code == 0
    with np.load(tmp_path / "run" / "currents.npz") as reported:
        currents = reported["currents"]
    # run-layer solves equal reads once, so ngspice starts from other solutions: its tolerance is 1e-6.
    np.testing.assert_allclose(by_hand(tmp_path / "deck"), currents, rtol=0, atol=1e-8 * np.abs(currents).max())


def test_a_sliced_deck_run_by_hand_is_read_back(norsim: Run, tmp_path: Path) -> None:
    """A weight is in the cells that `sense` and `slice_values` state, and nodal has the currents of the deck."""
    options = ["--network", "digits-cnn", "--layer", "conv1", "--vectors", 2, "--set", "mapping.cell_bits=3"]
    assert norsim("build-netlist", *options, "--out", tmp_path).code == 0
    tile = json.loads((tmp_path / "tile.json").read_text())
    assert (tile["slices"], tile["slice_values"]) == (2, [1, 8]) and np.shape(tile["sense"])[:2] == (2, tile["outputs"])
    cells, total = np.array(tile["cell_codes"]), np.zeros((tile["inputs"], tile["outputs"]), dtype=int)
    for value, outputs in zip(tile["slice_values"], tile["sense"], strict=True):
        for output, lines in enumerate(outputs):
            total[:, output] += value * sum(sign * cells[:, int(re.sub(r"\D", "", name))] for name, sign in lines)
    np.testing.assert_array_equal(total, np.array(tile["weights"]) - tile["weight_zero"])
    subprocess.run(["ngspice", "-b", "tile.cir"], cwd=tmp_path, check=True, capture_output=True)
    against = ["--against", "nodal", "--tolerance", 1e-6, "--json"]
    ended = norsim("import-results", tmp_path, tmp_path / "currents.raw", *against)
    assert ended.code == 0 and ended.json["max_mac_error"] < 0.01 * tile["inputs"] * 15 * 15
    with np.load(tmp_path / "currents.npz") as found:
        assert found["currents"].shape == (2, 4, 2, tile["outputs"])
        assert np.abs(found["mac"] - found["mac_ideal"]).max() == pytest.approx(ended.json["max_mac_error"])


def test_a_deck_of_pulses_has_a_read_for_each_slot(norsim: Run, tmp_path: Path) -> None:
    """Added up by hand, its currents are those of run-layer, and import-results reads them back."""
    options = ["--network", "digits-cnn", "--layer", "conv1", "--vectors", 2, "--encoding", "pulse-width"]
    assert norsim("build-netlist", *options, "--out", tmp_path / "deck").code == 0
    tile = json.loads((tmp_path / "deck" / "tile.json").read_text())
    assert (tile["passes"], tile["slots"]) == (1, 15) and tile["points"][16] == [1, 0, 1]
    assert norsim("run-layer", *options, "--out", tmp_path / "run", "--tile", "0,0").code == 0
    subprocess.run(["ngspice", "-b", "tile.cir"], cwd=tmp_path / "deck", check=True, capture_output=True)
    raw = tmp_path / "deck" / "currents.raw"
    names = sorted({name for lines in tile["sense"] for name, _ in lines})
    table = read_raw(raw, names, 30).reshape(2, 15, -1).sum(axis=1)
    with np.load(tmp_path / "run" / "currents.npz") as run:
        assert run["currents"].shape == (2, 1, tile["outputs"])
        for output, lines in enumerate(tile["sense"]):
            total = sum(sign * table[:, names.index(name)] for name, sign in lines)
            assert np.abs(run["currents"][:, 0, output] - total).max() <= 1e-7 * tile["full_scale_amps"]
        assert np.abs(run["mac"] - run["mac_ideal"]).max() < 0.01 * tile["inputs"] * 15 * 15
    assert norsim("import-results", tmp_path / "deck", raw, "--against", "nodal", "--tolerance", 1e-6).code == 0


@pytest.mark.parametrize("zero_point", ["reference", "digital", "differential", "linear-pair"])
def test_every_cell_of_the_deck_encodes_its_weight(norsim: Run, tmp_path: Path, zero_point: str) -> None:
    encoding = "linear-pair" if zero_point == "linear-pair" else "bit-serial"
    setting = [] if zero_point == "linear-pair" else ["--set", f"mapping.scheme={zero_point}"]
    network = ["--network", "digits-cnn", "--layer", "conv2", "--vectors", 1]
    assert norsim("build-netlist", *network, "--encoding", encoding, *setting, "--out", tmp_path).code == 0
    tile = json.loads((tmp_path / "tile.json").read_text())
    found = {(int(i), int(j)): float(vt) for i, j, vt in CELL.findall((tmp_path / "tile.cir").read_text())}
    assert len(found) == tile["rows"] * tile["columns"]
    levels = np.array(tile["level_thresholds"])
    codes = np.array(
        [[np.abs(levels - found[i, j]).argmin() for j in range(tile["columns"])] for i in range(tile["rows"])]
    )
    assert all(found[i, j] == levels[codes[i, j]] for i, j in found)
    weights, zero = np.array(tile["weights"]), tile["weight_zero"]
    assert weights.shape == (tile["inputs"], tile["outputs"])
    if encoding == "linear-pair":
        signed = codes[0::2].astype(int) - codes[1::2]
        np.testing.assert_array_equal(signed.T, weights - zero)
        return
    for output, lines in enumerate(tile["sense"]):
        total = sum(sign * codes[:, int(re.sub(r"\D", "", name))].astype(int) for name, sign in lines)
        np.testing.assert_array_equal(total, weights[:, output] - (0 if zero_point == "digital" else zero))


def test_the_deck_describes_each_line(norsim: Run, tmp_path: Path) -> None:
    norsim("build-netlist", "--network", "digits-cnn", "--layer", "conv2", "--vectors", 1, "--out", tmp_path)
    text = (tmp_path / "tile.cir").read_text()
    assert "* wordline 17: input 17: channel 1, kernel (2, 2)" in text
    assert "* bitline 0: layer conv2, output channel 0" in text
    assert text.count("reference column of its group") == 2


def test_vectors_are_read_from_a_file(norsim: Run, tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(0, 16, (3, 64)).astype(np.uint8)
    np.save(tmp_path / "codes.npy", codes)
    options = ["--network", "digits-cnn", "--layer", "fc", "--tile", "1,0", "--vectors", tmp_path / "codes.npy"]
    assert norsim("run-layer", *options, "--backend", "ideal", "--out", tmp_path / "run").code == 0
    with np.load(tmp_path / "run" / "currents.npz") as run:
        np.testing.assert_array_equal(run["codes"], codes)
        weights = run["weights"].astype(int) - run["weight_zero"]
        np.testing.assert_array_equal(run["mac_ideal"], codes.astype(int) @ weights)
