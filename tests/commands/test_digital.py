"""`--digital`, and the share of the multiply-accumulates on the array, from the command line to the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from norsim.experiments.read_back import read_run
from norsim.report.verdict import verdict

Run = Callable[..., Any]
NETS = """
import torch
from torch import nn
from torch.nn import functional

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.front, self.back = nn.Conv2d(1, 4, 3, stride=2), nn.GRU(4, 8, batch_first=True)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.back(torch.relu(self.front(x)).flatten(2).transpose(1, 2))[1][0])

class Standardised(nn.Linear):
    def forward(self, x):
        return functional.linear(x, self.weight / self.weight.std(), self.bias)

def net(): return Net()
def odd():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), Standardised(8, 10))
"""
FEW = ("--dataset", "digits", "--images", 4, "--spice-sample", 1, "--proof-images", 0, "--quiet")


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path / "nets.py"


def test_what_stays_digital_is_stated_in_json_table_and_report(norsim: Run, nets: Path, tmp_path: Path) -> None:
    """The GRU has 9 tokens of 12 x 24 weights, the convolution 9 x 36, the head 80."""
    total = 9 * 12 * 24 + 9 * 36 + 80
    options = ("--model", f"{nets}:net", *FEW, "--digital", "back", "--json")
    ended = norsim("eval-network", *options, "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    shares = {row["name"]: row["macs_share"] for row in found["layers"]}
    assert shares == pytest.approx({"front": 9 * 36 / total, "head": 80 / total})
    assert found["macs_share"] == pytest.approx(sum(shares.values()))
    assert found["macs_digital"] == pytest.approx({"back": 9 * 12 * 24 / total})
    warning = "only 13.5 % of the network's multiply-accumulates are on the array"
    assert f"warning: {warning}" in ended.err and "most of the others are in back (86.5 %)" in ended.err
    assert found["digital"]["modules"]["back"] == "GRU"
    shown = verdict(read_run(tmp_path / "run"))
    assert shown is not None and str(shown.warning).startswith(f"O{warning[1:]}")
    assert shown.headline.endswith("on the array, which does 13.5 % of its multiply-accumulates.")
    card = json.loads((tmp_path / "run" / "network" / "card.json").read_text())
    assert card["digital"] == ["back"] and set(card["layers"]) == {"front", "head"}


def test_all_of_it_on_the_array_is_no_warning(norsim: Run, nets: Path, tmp_path: Path) -> None:
    ended = norsim("eval-network", "--model", f"{nets}:net", *FEW, "--backend", "ideal", "--out", tmp_path / "run")
    assert ended.code == 0 and "multiply-accumulates are on the array" not in ended.err
    assert "On the array: 100.0 % of the multiply-accumulates" in ended.out and "back.hh_l0" in ended.out


def test_a_refusal_names_the_option_and_a_pattern_must_match(norsim: Run, nets: Path, tmp_path: Path) -> None:
    options = ("eval-network", "--model", f"{nets}:odd", *FEW, "--backend", "ideal", "--out", tmp_path / "run")
    ended = norsim(*options)
    assert ended.code == 2 and "layer '3': Standardised overrides forward" in ended.err
    assert "or leave it digital: --digital '3'" in ended.err and "digital=[" not in ended.err
    wrong = norsim(*options, "--digital", "4")
    assert wrong.code == 2 and "'4' matches no module with weights" in wrong.err and "(--digital PATTERN)" in wrong.err
    assert norsim(*options, "--digital", "3").code == 0


def test_layers_of_a_stored_network_keep_their_codes(norsim: Run, tmp_path: Path) -> None:
    options = ("--network", "digits-cnn", "--images", 4, "--spice-sample", 0, "--proof-images", 0, "--quiet", "--json")
    ended = norsim("eval-network", *options, "--digital", "conv2", "--out", tmp_path / "run")
    found = json.loads(ended.out)
    used = {row["name"]: row["backend"] for row in found["layers"]}
    assert used == {"conv1": "macro", "conv2": "ideal", "fc": "macro"}
    assert found["macs_digital"]["conv2"] == pytest.approx(0.747, abs=1e-3) and found["macs_share"] < 0.3
