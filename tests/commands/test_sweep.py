"""`sweep` and `--trials`: a new draw for each chip, points in order, reproducible from the seed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from norsim.evaluation.proof.defaults import SPICE_SAMPLE
from tests.commands.conftest import Run

ON_DIGITS = ["--network", "digits-cnn", "--images", 60]


def test_a_sweep_has_one_row_per_point_and_a_curve(norsim: Run, tmp_path: Path) -> None:
    ended = norsim("sweep", *ON_DIGITS, "--vary", "adc.bits=2,8", "--out", tmp_path, "--json")
    assert ended.code == 0, ended.err
    coarse, fine = ended.json["points"]
    lowest = min(ended.json["points"], key=lambda point: point["accuracy"])
    assert all(lowest[key] == value for key, value in ended.json["worst"].items())
    assert (coarse["adc.bits"], fine["adc.bits"]) == ("2", "8")
    assert coarse["accuracy"] < fine["accuracy"] - 0.1 and fine["accuracy"] > 0.9
    assert fine["low"] < fine["accuracy"] <= fine["high"] and fine["max_error_full_scale"] < 1e-4
    with open(tmp_path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["accuracy"]) for row in rows] == [coarse["accuracy"], fine["accuracy"]]
    drawn = (tmp_path / "curves.svg").read_text()
    assert drawn.startswith("<?xml") and "adc.bits</text>" in drawn and "currentColor" in drawn
    kept = json.loads((tmp_path / "summary.json").read_text())
    assert kept["points"] == ended.json["points"]


@pytest.mark.slow
def test_a_point_of_a_sweep_is_the_evaluation_with_that_setting(norsim: Run, tmp_path: Path) -> None:
    cells = ["--set", "silicon.drift_cell=30 mV", "--seed", 3, "--trials", 2, "--backend", "macro"]
    swept = norsim("sweep", *ON_DIGITS, *cells, "--vary", "silicon.stuck=0,0.001", "--out", tmp_path / "s", "--json")
    alone = norsim(
        "eval-network", *ON_DIGITS, *cells, "--set", "silicon.stuck=0.001", "--out", tmp_path / "e", "--json"
    )
    assert swept.code == alone.code == 0, swept.err + alone.err
    assert swept.json["points"][1]["accuracy"] == alone.json["accuracy"]
    assert alone.json["trials"]["count"] == 2 == len(set(alone.json["trials"]["accuracies"]))
    assert alone.json["accuracy"] == pytest.approx(sum(alone.json["trials"]["accuracies"]) / 2)
    assert alone.json["verification"]["samples"] == SPICE_SAMPLE
    with open(tmp_path / "e" / "results.csv", newline="") as file:
        assert {"array", "array_1"} <= set(next(csv.reader(file)))
    # Reads of all chips can be verified again later.
    again = norsim("verify", tmp_path / "e", "--samples", 8, "--json")
    assert again.code == 0 and again.json["max_error_full_scale"] < 1e-4


def test_a_sweep_over_time_says_when_its_converters_are_fitted(
    norsim: Run, tmp_path: Path, linear_digits: Path
) -> None:  # fmt: skip
    words = ["sweep", "--network", linear_digits, "--trust-model", "--dataset", "digits", "--images", 5]
    words += ["--spice-sample", 0, "--set", "silicon.lost_a_decade=0.01", "--vary", "silicon.time=0 s,1 day"]
    for name, more, fresh in (("a", [], True), ("b", ["--set", "calibration.fresh=false"], False)):
        ended = norsim(*words, *more, "--out", tmp_path / name)
        assert ended.code == 0, ended.err
        kept = json.loads((tmp_path / name / "summary.json").read_text())
        assert kept["fitted_fresh"] == fresh
        assert ("Converters are fitted just after programming" in " ".join(ended.out.split())) == fresh
        assert f"fresh: {str(fresh).lower()}" in (tmp_path / name / "best.yaml").read_text()


def test_the_yield_is_counted_and_modelled(norsim: Run, tmp_path: Path, linear_digits: Path) -> None:
    words = ["eval-network", "--network", linear_digits, "--trust-model", "--dataset", "digits", "--images", 40]
    words += ["--spice-sample", 0, "--set", "adc.offset=4", "--trials", 3, "--yield-above", 0.5]
    ended = norsim(*words, "--out", tmp_path)
    assert ended.code == 0, ended.err
    trials = json.loads((tmp_path / "summary.json").read_text())["trials"]
    found = trials["yield"]
    assert trials["sigma_ci95"][0] <= trials["sigma"] <= trials["sigma_ci95"][1]
    assert found["accuracy"] == 0.5 and found["share"] == np.mean(np.array(trials["accuracies"]) >= 0.5)
    assert found["model_ci95"][0] <= found["model_share"] <= found["model_ci95"][1]
    said = " ".join(ended.out.split())
    assert f"50 % is reached by {100 * found['share']:.0f} % of these chips" in said
    assert f"and by {100 * found['model_share']:.0f} % of all chips" in said
    assert f"{100 * trials['sigma']:.2f} points" in said


def test_two_keys_make_all_combinations(norsim: Run, tmp_path: Path) -> None:
    keys = ["--vary", "adc.bits=3,8", "--vary", "adc.offset=0,1", "--spice-sample", 0]
    ended = norsim("sweep", *ON_DIGITS[:2], "--images", 5, *keys, "--out", tmp_path, "--json")
    points = [(row["adc.bits"], row["adc.offset"]) for row in ended.json["points"]]
    assert points == [("3", "0"), ("3", "1"), ("8", "0"), ("8", "1")]


@pytest.mark.parametrize(
    ("vary", "problem"),
    [
        ("adc.bits", "expected KEY=V1,V2"),
        ("adc.bits=8,", "expected KEY=V1,V2"),
        ("adc.bits=8,8", "occurs twice"),
        ("adc.bitz=8", "--vary: setting 'adc.bitz=8': there is no key 'bitz'; did you mean 'bits'"),
        ("adc.bits=8,99", "adc.bits: Input should be less than or equal to 24"),
        ("silicon.drift_cell=20", "a quantity with its unit"),
    ],
)
def test_an_invalid_sweep_ends_in_2_and_writes_nothing(norsim: Run, tmp_path: Path, vary: str, problem: str) -> None:
    ended = norsim("sweep", *ON_DIGITS, "--vary", vary, "--out", tmp_path / "r")
    assert ended.code == 2 and problem in ended.err
    assert not (tmp_path / "r").exists()


def test_a_yield_needs_several_chips(norsim: Run, tmp_path: Path) -> None:
    ended = norsim("eval-network", *ON_DIGITS, "--yield-above", 0.9, "--out", tmp_path / "r")
    assert ended.code == 2 and "--trials" in ended.err


def test_converter_noise_differs_between_chips_and_is_reproducible(norsim: Run, tmp_path: Path) -> None:
    noisy = [*ON_DIGITS, "--set", "adc.noise=20", "--trials", 2, "--spice-sample", 2]
    runs = [norsim("eval-network", *noisy, "--no-cache", "--out", tmp_path / name, "--json") for name in ("a", "b")]
    assert runs[0].json["trials"] == runs[1].json["trials"]
    with open(tmp_path / "a" / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["array"] for row in rows] != [row["array_1"] for row in rows]


def test_a_read_that_is_too_short_loses_accuracy(norsim: Run, tmp_path: Path) -> None:
    """Behind a slow global bitline; a read of many time constants has the accuracy of the digital network."""
    slow = ["--set", "sense.input=50 ohm", "--set", "sense.global_farads=2 pF", "--set", "calibration.column_fit=false"]
    times = ["--vary", "sense.read_time=100 ps,5 ns", "--spice-sample", 0]
    ended = norsim("sweep", *ON_DIGITS, *slow, *times, "--out", tmp_path / "run", "--json")
    assert ended.code == 0, ended.err
    short, long = (point["accuracy"] for point in ended.json["points"])
    assert short < 0.6 and abs(long - ended.json["accuracy_quantized"]) < 0.02
