"""`finetune` writes a network that every command accepts, with a card that records its origin."""

from __future__ import annotations

import json
from pathlib import Path

from tests.commands.conftest import Run
from tests.commands.test_train import phases_of

FEW = ["--network", "digits-cnn", "--steps", 4, "--refresh", 2, "--quiet"]


def test_a_tuned_network_can_be_used_like_any_other(norsim: Run, tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    ended = norsim("finetune", *FEW, "--chip", "etox65-stress", "--out", out, "--json")
    assert ended.code == 0, ended.err
    card = json.loads((out / "card.json").read_text())
    assert card["tuning"]["chip"] == "etox65-stress" and card["tuning"]["steps"] == 4
    assert card["device"] == ended.json["device"] == "cpu"
    assert {"load", "data", "program", "build", "calibrate", "train", "classify"} <= set(phases_of(out))
    assert card["quantized_accuracy"] == ended.json["accuracy_quantized"] > 0.9
    assert card["size_ratio"] >= 6.5 and "finetune" in card["command"]
    few = ["--images", 20, "--spice-sample", 2, "--json"]
    used = norsim("eval-network", "--network", out, *few, "--out", tmp_path / "e")
    assert used.code == 0, used.err
    assert used.json["accuracy_quantized"] > 0.8
    again = norsim("finetune", *FEW, "--chip", "etox65-stress", "--out", tmp_path / "again", "--json")
    assert again.code == 0
    assert (tmp_path / "again" / "weights.safetensors").read_bytes() == (out / "weights.safetensors").read_bytes()


def test_resume_needs_a_folder(norsim: Run) -> None:
    ended = norsim("finetune", *FEW, "--resume")
    assert ended.code == 2 and "--resume needs --out" in ended.err
