"""`run-layer`: keys, files, and the deviation of the sums from the integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.commands.conftest import Run

KEYS = {
    *("network", "layer", "tile", "backend", "encoding", "vectors", "rows", "columns", "passes"),
    *("full_scale_amps", "converged", "seconds"),
}  # fmt: skip
NO_WIRES = [
    argument
    for section in ("bit_serial", "linear_pair")
    for line in ("bitline", "bitline_end", "source_line", "source_line_end")
    for argument in ("--set", f"{section}.wires.{line}=0 ohm")
] + ["--set", "bit_serial.wires.strap_ends=all"]


def test_json_keys_and_arrays_of_the_file(norsim: Run, tmp_path: Path) -> None:
    options = ["--network", "digits-cnn", "--layer", "fc", "--tile", "1,0", "--vectors", 2, "--json"]
    ended = norsim("run-layer", *options, "--out", tmp_path)
    assert ended.code == 0 and KEYS <= set(ended.json) and ended.json["converged"] is True
    assert (ended.json["rows"], ended.json["columns"], ended.json["passes"]) == (64, 11, 4)
    with np.load(tmp_path / "currents.npz") as run:
        assert run["codes"].shape == (2, 64) and run["weights"].shape == (64, 10)
        assert run["currents"].shape == run["adc"].shape == (2, 4, 10)
        assert run["mac"].shape == run["mac_ideal"].shape == (2, 10)


@pytest.mark.parametrize("backend", ["nodal", "macro", "ideal"])
def test_slices_are_an_axis_after_the_passes(norsim: Run, tmp_path: Path, backend: str) -> None:
    """4-bit weights on cells of 2 bits; codes and currents give the sums."""
    options = ["--network", "digits-cnn", "--layer", "conv2", "--vectors", 3, "--backend", backend, "--tile", "0,0"]
    settings = ["--set", "mapping.cell_bits=2", "--set", "calibration.column_fit=false"]
    assert norsim("run-layer", *options, *settings, "--out", tmp_path).code == 0
    with np.load(tmp_path / "currents.npz") as run:
        outputs = run["weights"].shape[1]
        assert run["currents"].shape == run["adc"].shape == (3, 4, 2, outputs)
        values = np.einsum("vpso,p,s->vo", run["currents"] / (1.6e-6 / 3), 2.0 ** np.arange(4), 4.0 ** np.arange(2))
        full_scale = run["weights"].shape[0] * 15 * 15
        assert np.abs(values - run["mac"]).max() < 0.01 * full_scale
        assert np.abs(run["mac"] - run["mac_ideal"]).max() < 0.01 * full_scale < np.abs(run["mac_ideal"]).max()


@pytest.mark.slow
def test_without_a_tile_the_whole_layer_is_read_and_its_parts_add_up(norsim: Run, tmp_path: Path) -> None:
    ended = norsim("run-layer", "--network", "digits-cnn", "--layer", "fc", "--vectors", 2, "--json", "--out", tmp_path)
    assert ended.json["tiles"] == [[0, 0], [1, 0]] and ended.json["rows"] == [256, 64]
    with np.load(tmp_path / "currents_0_0.npz") as first, np.load(tmp_path / "currents_1_0.npz") as second:
        total, exact = first["mac"] + second["mac"], first["mac_ideal"] + second["mac_ideal"]
    assert np.abs(total - exact).max() < 0.01 * 320 * 15 * 15


@pytest.mark.parametrize("zero_point", ["reference", "digital", "differential"])
def test_without_wires_and_with_a_fine_adc_the_sums_are_the_integers(
    norsim: Run, tmp_path: Path, zero_point: str
) -> None:
    options = ["--network", "digits-cnn", "--layer", "conv2", "--tile", "0,0", "--vectors", 6]
    settings = [*NO_WIRES, "--set", "adc.bits=16", "--set", f"mapping.scheme={zero_point}"]
    assert (
        norsim("run-layer", *options, *settings, "--set", "calibration.column_fit=false", "--out", tmp_path).code == 0
    )
    with np.load(tmp_path / "currents.npz") as run:
        full_scale = run["weights"].shape[0] * 15 * 15
        assert np.abs(run["mac"] - run["mac_ideal"]).max() <= 0.002 * full_scale
        assert np.abs(run["mac_ideal"]).max() > 0.01 * full_scale
