"""`eval-network` end to end, with all layers read by ngspice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from norsim.array.tile import Stimulus, Tile
from norsim.backends.macro import Macro
from norsim.solver.macro.tables import Tabulated
from tests.commands.conftest import Run

KEYS = {
    *("network", "dataset", "images", "backend", "encoding", "accuracy", "accuracy_quantized", "accuracy_float"),
    *("accuracy_ci95", "drop_points", "verification", "end_to_end", "layers", "seconds", "seed", "versions"),
}  # fmt: skip
PROOF = {
    *("witness", "samples", "layers", "max_error_steps", "max_error_full_scale", "rms_error_full_scale"),
    *("worse_fraction_95", "adc_mismatch_fraction", "adc_mismatch_ci95", "tiles", "passes"),
}  # fmt: skip
END_TO_END = {
    *("rungs", "images", "changed", "changed_ci95", "accuracy_difference", "accuracy_difference_ci95"),
    *("max_logit_difference", "small_margin_fraction"),
}  # fmt: skip
FEW = ["--network", "digits-cnn", "--dataset", "digits", "--images", 1, "--backend", "ngspice"]
CIFAR = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10"
NONE = dict.fromkeys(("min_accuracy", "tolerance", "tolerance_steps", "max_changed"))
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
    assert first.json["verification"]["max_error_full_scale"] < 1e-7
    assert first.json["end_to_end"] is None and first.json["verification"]["tiles"] is None
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
    assert checks() == {**NONE, "min_accuracy": 0.1, "tolerance": 1e-6}
    missed = norsim("eval-network", *one_layer, "--tolerance", 1e-15, "--overwrite")
    assert missed.code == 5 and "--tolerance" in missed.err
    assert (tmp_path / "summary.json").exists()
    assert checks() == {**NONE, "tolerance": 1e-15}
    assert norsim("eval-network", *one_layer, "--tolerance=1e-6", "--resume").code == 0
    assert checks() == {**NONE, "tolerance": 1e-6}
    assert norsim("eval-network", *one_layer, "--tol=1e-6").code == 2, "options have no abbreviations"


def spoiled(monkeypatch: pytest.MonkeyPatch, wrong: str, share: float, lines: slice) -> None:
    """Make macro's model of one tile wrong: a share of full scale is added to the currents of some lines."""
    make = Macro.model

    def model(self: Macro, tile: Tile, stimulus: Stimulus) -> Tabulated:
        found = make(self, tile, stimulus)
        if not tile.name.startswith(f"layer {wrong}:"):
            return found
        fixed = found.fixed.copy()
        # The first of the field's terms is 1.
        fixed[0, 0, lines] += share * found.model.full_scale_amps
        return replace(found, fixed=fixed)

    monkeypatch.setattr(Macro, "model", model)


def test_an_error_in_one_tile_of_the_last_layer_misses_the_tolerance(
    norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--network", "digits-cnn", "--images", 8, "--spice-sample", 0, "--proof-images", 0, "--json", "--no-cache"]
    assert norsim("eval-network", *words, "--tolerance", 1e-4, "--out", tmp_path / "right").code == 0
    spoiled(monkeypatch, "fc, tile 1,0", 1e-3, slice(0, 1))
    ended = norsim("eval-network", *words, "--tolerance", 5e-4, "--out", tmp_path / "wrong")
    assert ended.code == 5 and "in the reads of every tile" in ended.err
    tiles = ended.json["verification"]["tiles"]
    assert tiles["worst_tile"] == "fc tile 1,0" and tiles["drawn"] == tiles["reads"] == 16
    assert tiles["max_error_full_scale"] == pytest.approx(1e-3, rel=0.1)
    steps = 0.9 * tiles["max_error_steps"]
    ended = norsim("eval-network", *words, "--tolerance-steps", steps, "--out", tmp_path / "steps")
    assert ended.code == 5 and "converter steps is above the tolerance" in ended.err


@pytest.mark.skipif(not CIFAR.is_dir(), reason="no CIFAR-10 beside the repository")
@pytest.mark.soak
def test_an_error_in_one_tile_of_a_late_layer_of_resnet20_misses_the_tolerance(
    norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole network is on the array: 36 tiles, one of which is wrong by 1e-3 of full scale."""
    words = ["--network", "resnet20", "--data", CIFAR, "--images", 2, "--spice-sample", 0, "--proof-images", 0,
             "--set", "calibration.images=20", "--set", "calibration.reads=16", "--json", "--no-cache"]  # fmt: skip
    right = norsim("eval-network", *words, "--tolerance", 1e-4, "--out", tmp_path / "right")
    assert right.code == 0 and right.json["verification"]["tiles"]["reads"] == 4 * 36, right.err
    spoiled(monkeypatch, "layer3.2.conv2, tile 1,0", 1e-3, slice(0, 1))
    wrong = norsim("eval-network", *words, "--tolerance", 5e-4, "--out", tmp_path / "wrong")
    assert wrong.code == 5 and "in the reads of every tile" in wrong.err
    assert wrong.json["verification"]["tiles"]["worst_tile"] == "layer3.2.conv2 tile 1,0"
    assert wrong.json["verification"]["tiles"]["max_error_full_scale"] == pytest.approx(1e-3, rel=0.1)


def test_a_bias_that_changes_predictions_shows_end_to_end(
    norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The converters were fitted without the bias; in the evaluation, macro has it and nodal has not."""
    words = ["--network", "digits-cnn", "--images", 100, "--spice-sample", 0, "--proof-images", 100, "--no-cache"]
    right = norsim("eval-network", *words, "--json", "--max-changed", 0.1, "--out", tmp_path / "right")
    assert right.code == 0 and END_TO_END <= set(right.json["end_to_end"]), right.err
    assert right.json["end_to_end"]["images"] == 100 and right.json["end_to_end"]["changed"] <= 2
    spoiled(monkeypatch, "fc, tile 0,0", 0.02, slice(0, 1))
    wrong = norsim("eval-network", *words, "--max-changed", 0.1, "--out", tmp_path / "wrong")
    assert wrong.code == 5 and "predictions differ between macro and nodal" in wrong.err
    assert "End to end: macro and nodal classify" in wrong.out
    summary = json.loads((tmp_path / "wrong" / "summary.json").read_text())
    proof, lost = summary["end_to_end"], right.json["accuracy"] - summary["accuracy"]
    assert proof["changed"] > 20 and proof["accuracy_difference"] == pytest.approx(lost, abs=0.03) and lost > 0.1
    assert proof["accuracy_difference_ci95"][0] > 0


def test_clipping_is_counted_by_layer_and_warned_of(norsim: Run, tmp_path: Path) -> None:
    words = ["--network", "digits-cnn", "--images", 20, "--spice-sample", 0, "--proof-images", 0, "--json"]
    ended = norsim("eval-network", *words, "--out", tmp_path / "fits")
    layers = ended.json["layers"]
    assert all(0 <= layer[key] < 0.01 for layer in layers for key in ("clipped_low", "clipped_high"))
    assert "clip" not in ended.err
    # An offset of a third of the range pushes many currents beyond its end.
    ended = norsim("eval-network", *words, "--set", "adc.offset=80", "--out", tmp_path / "off")
    worst = max(layer["clipped_low"] + layer["clipped_high"] for layer in ended.json["layers"])
    assert worst > 0.01 and "warning: the converters of" in ended.err and "of their currents" in ended.err
