"""`train` writes a network that `eval-network` accepts, in the requested width, reproducibly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from norsim.commands.network.train import mean_of
from tests.commands.conftest import Run


def phases_of(folder: Path) -> list[str]:
    """Return the phases that ended, as events.jsonl has them, between start and end."""
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert (events[0]["event"], events[-1]["event"]) == ("started", "finished")
    ended = [event for event in events if event["event"] == "phase ended"]
    assert all(event["seconds"] >= 0 for event in ended)
    return [event["phase"] for event in ended]


SHORT = ["--network", "digits-cnn", "--recipe", "float_epochs=2", "--recipe", "quantized_epochs=1", "-j", 1]


def test_a_trained_network_is_evaluated(norsim: Run, tmp_path: Path) -> None:
    ended = norsim("train", *SHORT, "--out", tmp_path / "net", "--json")
    assert ended.code == 0 and ended.json["accuracy_quantized"] > 0.5 and ended.json["device"] == "cpu"
    card = json.loads((tmp_path / "net" / "card.json").read_text())
    assert card["device"] == "cpu" and card["command"].endswith("--device cpu")
    assert phases_of(tmp_path / "net") == ["import", "data", "train", "quantize", "train", "classify"]
    again = norsim("train", *SHORT, "--out", tmp_path / "again", "--quiet")
    assert again.code == 0 and again.err == ""
    weights = "weights.safetensors"
    assert (tmp_path / "net" / weights).read_bytes() == (tmp_path / "again" / weights).read_bytes()
    found = norsim(
        "eval-network", "--network", tmp_path / "net", "--backend", "ideal", "--out", tmp_path / "run", "--json"
    )
    assert found.json["accuracy"] == ended.json["accuracy_quantized"]


def test_a_network_of_another_width_is_trained_stored_and_evaluated(norsim: Run, tmp_path: Path) -> None:
    ended = norsim("train", *SHORT, "--width", "0.5", "--out", tmp_path / "net", "--json")
    assert ended.code == 0 and ended.json["width"] == 0.5 and ended.json["size_ratio"] > 4
    card = json.loads((tmp_path / "net" / "card.json").read_text())
    assert card["width"] == 0.5 and card["layers"]["conv1"]["shape"] == [4, 1, 3, 3]
    assert card["quantized_accuracy"] == ended.json["accuracy_quantized"] and "--width 0.5" in card["command"]
    found = norsim(
        "eval-network", "--network", tmp_path / "net", "--backend", "ideal", "--out", tmp_path / "run", "--json"
    )
    assert found.json["accuracy"] == card["quantized_accuracy"]
    assert found.json["accuracy_float"] == card["float_accuracy"]


def test_training_starts_from_float_weights_and_refuses_those_of_another_network(norsim: Run, tmp_path: Path) -> None:
    first = norsim("train", *SHORT, "--out", tmp_path / "first", "--json")
    start = tmp_path / "first" / "float.safetensors"
    still = ["--network", "digits-cnn", "--recipe", "float_epochs=0", "--recipe", "quantized_epochs=1", "-j", 1]
    on = norsim("train", *still, "--start", start, "--out", tmp_path / "on", "--json")
    assert on.code == 0 and on.json["accuracy_float"] == first.json["accuracy_float"]
    assert (tmp_path / "on" / "float.safetensors").read_bytes() == start.read_bytes()
    for name, options, problem in (
        ("wide", ["--width", "2", "--start", start], "does not fit the network"),
        ("garbage", ["--start", tmp_path / "first" / "card.json"], "is JSON; expected a safetensors file"),
    ):
        ended = norsim("train", *still, *options, "--out", tmp_path / name)
        assert ended.code == 2 and problem in ended.err and not (tmp_path / name).exists()


def test_a_checkpoint_of_another_device_ends_in_2(norsim: Run, tmp_path: Path) -> None:
    one = ("train", *SHORT, "--recipe", "batch_size=128", "--out", tmp_path)
    assert norsim(*one, "--quiet").code == 0
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    torch.save(saved | {"device": "cuda NVIDIA H100"}, tmp_path / "checkpoint.pt")
    ended = norsim(*one, "--resume")
    assert ended.code == 2 and "was computed on cuda NVIDIA H100" in ended.err and "(--device)" in ended.err


@pytest.mark.parametrize("width", ["0", "-1", "65", "nan", "wide"])
def test_an_unusable_width_ends_in_2(norsim: Run, tmp_path: Path, width: str) -> None:
    ended = norsim("train", *SHORT, f"--width={width}", "--out", tmp_path / "net")
    assert ended.code == 2 and "width" in ended.err and not (tmp_path / "net").exists()


def test_the_mean_of_weights_is_taken_by_entry_and_keeps_counters() -> None:
    one = {"weight": torch.tensor([1.0, 2.0]), "count": torch.tensor(3)}
    other = {"weight": torch.tensor([3.0, -2.0]), "count": torch.tensor(9)}
    found = mean_of([one, other])
    assert found["weight"].tolist() == [2.0, 0.0] and found["count"] == 3
    assert torch.equal(mean_of([one])["weight"], one["weight"])


def test_a_training_starts_from_the_mean_of_two(norsim: Run, tmp_path: Path) -> None:
    short = ("train", "--network", "digits-cnn", "--recipe", "quantized_epochs=0", "--jobs", 1, "--quiet")
    for seed in (1, 2):
        assert norsim(*short, "--recipe", "float_epochs=1", "--seed", seed, "--out", tmp_path / f"{seed}").code == 0
    files = [tmp_path / seed / "float.safetensors" for seed in ("1", "2")]
    starts = [part for path in files for part in ("--start", path)]
    assert norsim(*short, "--recipe", "float_epochs=0", *starts, "--out", tmp_path / "mean").code == 0
    kept, *both = (load_file(path) for path in (tmp_path / "mean" / "float.safetensors", *files))
    weights = [state["conv1.weight"] for state in both]
    assert torch.allclose(kept["conv1.weight"], (weights[0] + weights[1]) / 2)
