"""`eval-network` end to end, with all layers read by ngspice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands.conftest import Run

KEYS = {
    *("network", "dataset", "images", "backend", "encoding", "accuracy", "accuracy_quantized", "accuracy_float"),
    *("accuracy_ci95", "drop_points", "verification", "layers", "seconds", "seed", "versions"),
}  # fmt: skip
PROOF = {"samples", "max_error_full_scale", "rms_error_full_scale", "adc_mismatch_fraction"}
FEW = ["--network", "digits-cnn", "--dataset", "digits", "--images", 1, "--backend", "ngspice"]
LIGHT = ["--set", "calibration.reads=8", "--spice-sample", 4]


def without_time(summary: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in summary.items() if key not in ("seconds", "out")}


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
@pytest.mark.slow
def test_runs_with_the_same_seed_agree_bit_for_bit_for_any_number_of_jobs(
    norsim: Run, tmp_path: Path, encoding: str
) -> None:
    # ngspice takes long to solve the source lines of a wide tile without straps.
    narrow = ["--set", "tile.bitlines=32"] if encoding == "linear-pair" else []
    options = [*FEW, *LIGHT, "--encoding", encoding, *narrow, "--json"]
    first = norsim("eval-network", *options, "--out", tmp_path / "a", "-j", 2)
    again = norsim("eval-network", *options, "--out", tmp_path / "b", "-j", 1)
    assert first.code == again.code == 0
    assert KEYS <= set(first.json) and PROOF <= set(first.json["verification"])
    assert without_time(first.json) == without_time(again.json)
    assert first.json["encoding"] == encoding and first.json["accuracy"] >= 0.5
    assert first.json["verification"]["samples"] == 4
    assert first.json["verification"]["max_error_full_scale"] < 1e-8
    assert [layer["tiles"] for layer in first.json["layers"]][-1] > 1
    assert (tmp_path / "a" / "results.csv").read_bytes() == (tmp_path / "b" / "results.csv").read_bytes()
    assert without_time(json.loads((tmp_path / "a" / "summary.json").read_text())) == without_time(first.json)


def test_ideal_needs_no_simulator_and_equals_the_digital_network(norsim: Run, tmp_path: Path, simulator: Any) -> None:
    simulator(tmp_path / "none")
    ended = norsim("eval-network", "--network", "digits-cnn", "--backend", "ideal", "--out", tmp_path / "r", "--json")
    assert ended.code == 0 and ended.json["images"] == 360
    assert ended.json["accuracy"] == ended.json["accuracy_quantized"] > 0.95
    assert ended.json["drop_points"] == pytest.approx(100 * (ended.json["accuracy_float"] - ended.json["accuracy"]))
    low, high = ended.json["accuracy_ci95"]
    assert low < ended.json["accuracy"] < high


def test_layers_that_do_not_match_stay_digital(norsim: Run, tmp_path: Path) -> None:
    ended = norsim("eval-network", *FEW, *LIGHT, "--layers", "conv1", "--out", tmp_path, "--json")
    assert {layer["name"]: layer["backend"] for layer in ended.json["layers"]} == {
        "conv1": "ngspice", "conv2": "ideal", "fc": "ideal",
    }  # fmt: skip
    assert [layer["reads"] > 0 for layer in ended.json["layers"]] == [True, False, False]


def test_a_missed_bound_ends_in_5_and_keeps_the_result(norsim: Run, tmp_path: Path) -> None:
    def checks() -> Any:
        return json.loads((tmp_path / "manifest.json").read_text())["checks"]

    one_layer = [*FEW, *LIGHT, "--layers", "conv1", "--out", tmp_path]
    assert norsim("eval-network", *one_layer, "--min-accuracy", 0.1, "--tolerance", 1e-6).code == 0
    assert checks() == {"min_accuracy": 0.1, "tolerance": 1e-6}
    missed = norsim("eval-network", *one_layer, "--tolerance", 1e-15, "--overwrite")
    assert missed.code == 5 and "--tolerance" in missed.err
    assert (tmp_path / "summary.json").exists()
    assert checks() == {"min_accuracy": None, "tolerance": 1e-15}
    assert norsim("eval-network", *one_layer, "--tolerance=1e-6", "--resume").code == 0
    assert checks() == {"min_accuracy": None, "tolerance": 1e-6}
    assert norsim("eval-network", *one_layer, "--tol=1e-6").code == 2, "options have no abbreviations"
