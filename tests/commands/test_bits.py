"""`--bits` where a network is quantized, and `norsim bits`, which proposes them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from norsim.commands.network.bits import report_proposal
from norsim.data import load
from norsim.evaluation.mixed_precision.proposal import text_of
from norsim.quantization.by_layer.bits import Bits, read_bits
from norsim.quantization.quantize import Observed
from norsim.saved.network_folder import save_network
from norsim.training.recipes import Recipe
from norsim.training.train import train
from norsim.zoo.registry import spec_of

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def float_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a network that was trained for a short time, with its float weights."""
    place = tmp_path_factory.mktemp("float") / "net"
    data = load("digits", "train"), load("digits", "test").take(100)
    recipe = Recipe(2, 0, 64, 0.1, 0.02, bits="conv1=8/8,*=4/4")
    save_network(train(spec_of("digits-cnn", 0.5), *data, recipe, place), place, "norsim train")
    return place


def test_a_network_is_quantized_to_the_bits_of_its_layers(norsim: Run, float_folder: Path, tmp_path: Path) -> None:
    card = json.loads((float_folder / "card.json").read_text())
    kept = {name: (layer["weight_bits"], layer["input_bits"]) for name, layer in card["layers"].items()}
    assert kept == {"conv1": (8, 8), "conv2": (4, 4), "fc": (4, 4)} and card["recipe"]["bits"] == "conv1=8/8,*=4/4"
    words = ("eval-network", "--network", float_folder, "--images", 30, "--backend", "ideal", "--json")
    trained = norsim(*words, "--out", tmp_path / "trained").json
    given = norsim(*words, "--bits", "fc=2,*=8/5", "--activation-range", 99.9, "--out", tmp_path / "given")
    rows = {row["name"]: (row["weight_bits"], row["activation_bits"]) for row in given.json["layers"]}
    assert rows == {"conv1": (8, 5), "conv2": (8, 5), "fc": (2, 2)}
    assert {row["name"]: row["weight_bits"] for row in trained["layers"]} == {"conv1": 8, "conv2": 4, "fc": 4}
    card = json.loads((tmp_path / "given" / "network" / "card.json").read_text())
    assert card["recipe"]["activation_range"] == "99.9"
    # The options are part of what a run is resumed by.
    assert json.loads((tmp_path / "given" / "manifest.json").read_text())["options"]["bits"] == "fc=2/2,*=8/5"
    other = norsim(*words, "--bits", 8, "--out", tmp_path / "given", "--resume")
    assert other.code == 2 and "bits" in other.err
    table = norsim(*words[:-1], "--bits", 8, "--out", tmp_path / "eight").out
    assert "8-bit, digital" in table and "4-bit" not in table
    again = norsim("eval-network", "--network", tmp_path / "given" / "network", *words[3:], "--out", tmp_path / "again")
    assert again.json["accuracy"] == given.json["accuracy"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--bits", "conv9=8,*=4"), "bits conv9=8/8,*=4/4: 'conv9' matches no layer"),
        (("--bits", "conv1=8"), "layer 'conv2' and 1 more are not given"),
        (("--bits", "9"), "code width is 9 bits; expected an integer from 1 to 8 (--bits)"),
        (("--set", "layers.conv9.adc.bits=9"), "(--set layers.PATTERN.KEY=VALUE, or the chip file)"),
        (("--bits", "8", "--mean", "0.1", "--std", "0.2"), "--mean and --std need --weights or --model"),
    ],
)
def test_what_does_not_fit_the_network_is_an_error(
    norsim: Run, float_folder: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    ended = norsim("eval-network", "--network", float_folder, "--backend", "ideal", *words, "--out", tmp_path / "run")
    assert ended.code == 2 and message in " ".join(ended.err.split()), ended.err


def test_a_folder_without_float_weights_cannot_be_quantized_again(norsim: Run, tmp_path: Path) -> None:
    ended = norsim("eval-network", "--network", "digits-cnn", "--bits", 8, "--out", tmp_path / "run")
    assert ended.code == 2 and "no float weights" in ended.err and "(--weights FILE)" in ended.err


def test_patterns_are_checked_before_a_training(norsim: Run, tmp_path: Path) -> None:
    ended = norsim("train", "--network", "digits-cnn", "--bits", "fc9=8,*=4", "--out", tmp_path / "run")
    assert ended.code == 2 and "'fc9' matches no layer" in ended.err
    assert not (tmp_path / "run" / "log.csv").exists()


def test_bits_are_proposed_for_a_budget(
    norsim: Run, float_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("bits", "--network", float_folder, "--images", 200, "--verify-images", 300)
    found = norsim(*words, "--energy", 0.3, "--out", tmp_path / "run", "--json").json
    assert found["converter_energy"] <= 0.3 and found["images"] == {"calibrate": 512, "choose": 200, "verify": 300}
    layers = {row["name"]: Bits(row["weight_bits"], row["activation_bits"]) for row in found["layers"]}
    assert read_bits(found["bits"]).of(list(layers)) == layers and text_of(layers) == found["bits"]
    whole = sum(row["converters_joules_image_widest"] for row in found["layers"])
    spent = sum(row["converters_joules_image"] for row in found["layers"])
    assert spent / whole == pytest.approx(found["converter_energy"]) and found["bits_widest"] == "8/8"
    low, high = found["loss"]["ci95"]
    assert low <= found["loss"]["points"] <= high
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["bits"] == found["bits"]
    rows = list(csv.DictReader((tmp_path / "run" / "sensitivities.csv").read_text().splitlines()))
    assert len(rows) == 3 * (2 + 7) and {row["layer"] for row in rows} == {"conv1", "conv2", "fc"}
    better = 100 * (found["accuracy_proposed"] - found["uniform"]["accuracy"])
    assert found["uniform"]["proposed_better_by"]["points"] == pytest.approx(better)
    report_proposal({**found, "max_loss_points": found["loss"]["points"] - 1}, tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"--bits '{found['bits']}'"
    text = " ".join(" ".join(lines).split())
    assert "Accuracy on 300 other training images, in integers" in text and "That is more than --max-loss" in text


def test_an_interrupted_search_continues(
    norsim: Run, float_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("bits", "--network", float_folder, "--images", 60, "--verify-images", 60, "--max-loss", 2, "--json")
    made: list[Any] = []
    usual, last = Observed._corrected, [1000]

    def counted(*given: Any) -> Any:
        if len(made) == last[0]:
            raise KeyboardInterrupt
        made.append(given)
        return usual(*given)

    monkeypatch.setattr(Observed, "_corrected", counted)
    whole = norsim(*words, "--out", tmp_path / "whole").json
    of_whole = len(made)
    last[0] = of_whole + 20
    assert norsim(*words, "--out", tmp_path / "run").code == 130
    last[0] = 1000
    other = norsim(*words, "--seed", 1, "--out", tmp_path / "run", "--resume")
    assert other.code == 2 and "seed" in other.err
    made.clear()
    resumed = norsim(*words, "--out", tmp_path / "run", "--resume").json
    # Of the 20 networks, one only shows which widths there are, and is made again.
    assert len(made) == of_whole - 19
    for content in (whole, resumed):
        del content["seconds"], content["out"]
    assert resumed == whole


def test_what_stays_digital_gets_no_bits(norsim: Run, float_folder: Path, tmp_path: Path) -> None:
    words = ("bits", "--network", float_folder, "--images", 50, "--verify-images", 50, "--energy", 0.5, "--json")
    found = norsim(*words, "--digital", "fc", "--out", tmp_path / "run").json
    assert [row["name"] for row in found["layers"]] == ["conv1", "conv2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give one budget: --max-loss POINTS or --energy SHARE"),
        (("--max-loss", 1, "--energy", 0.5), "give one budget"),
        (("--energy", 0.01), "the least is 0.125 of the widest codes'"),
    ],
)
def test_a_search_needs_one_budget_that_can_be_met(
    norsim: Run, float_folder: Path, tmp_path: Path, words: tuple[Any, ...], message: str
) -> None:
    ended = norsim("bits", "--network", float_folder, "--images", 50, *words, "--out", tmp_path / "run", "-q")
    assert ended.code == 2 and message in " ".join(ended.err.split()), ended.err
