"""What a command reads of the user's network and data, and how often."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from norsim.quantization.quantize import quantize
from norsim.saved import post_training
from norsim.training import post_training as once
from norsim.training.recipes import POST_TRAINING

Run = Callable[..., Any]
IDEAL = ("--backend", "ideal", "--quiet", "--json")

OWN = """
from pathlib import Path
import numpy as np
import torch
from torch import nn

def log(text):
    with open(Path(__file__).with_name("log"), "a") as file:
        file.write(text + "\\n")

def net():
    log("net")
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 3))

class Images:
    def __init__(self, split):
        self.split = split

    def __len__(self):
        return 3000

    def __getitem__(self, index):
        log(f"{self.split} {index}")
        return np.random.default_rng(index).integers(0, 256, (4, 4, 3), np.uint8), index % 3

def data(split):
    log(f"data {split}")
    return Images(split)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "log"


DRY = ("--dry-run", "--spice-sample", 0, "--proof-images", 0, "--jobs", 1, "--json", "--quiet")
EVALUATE = ("eval-network", "--model", "own.py:net", "--dataset", "own.py:data", "--images", 7)


def test_a_run_reads_what_it_uses_and_calls_each_function_once(norsim: Run, own: Path) -> None:
    ended = norsim(*EVALUATE, *IDEAL, "--out", "run")
    assert ended.code == 0, ended.err
    lines = own.read_text().splitlines()
    assert [lines.count(line) for line in ("net", "data train", "data test")] == [1, 1, 1]
    assert [line for line in lines if line.startswith("test")] == [f"test {index}" for index in range(7)]
    # Of 3000 images: 512 for the scales, and two that tell the source.
    assert sum(line.startswith("train") for line in lines) == 512 + 2
    # The stored network knows the float classes of the images that it was evaluated on, and of no others.
    again = ("eval-network", "--network", "run/network", "--trust-model", *IDEAL)
    part = norsim(*again, "--images", 5, "--out", "part").json
    assert part["accuracy_float"] is not None and part["images"] == 5
    assert norsim(*again, "--images", 9, "--out", "more").json["accuracy_float"] is None
    # Other images with the same first ones are other images.
    Path("own.py").write_text(OWN.replace("default_rng(index)", "default_rng(index * (1 + index // 4))"))
    assert norsim(*again, "--images", 4, "--out", "same").json["accuracy_float"] is not None
    assert norsim(*again, "--images", 5, "--out", "other").json["accuracy_float"] is None


def test_a_dry_run_takes_a_few_images(norsim: Run, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def counted(model: Any, calibration: Any, *options: Any, **named: Any) -> Any:
        sizes.append(sum(map(len, calibration.batches)))
        return quantize(model, calibration, *options, **named)

    monkeypatch.setattr(once, "quantize", counted)
    started = time.monotonic()
    # Without --images, a run would classify all 3000.
    words = [word for word in EVALUATE if word not in ("--images", 7)]
    found = norsim(*words, *DRY)
    assert found.code == 0 and found.json["dry_run"] and found.json["tiles"] == 2, found.err
    assert time.monotonic() - started < 60
    # A few of each batch of the scales' 512 images; those and the 256 of the converters are read, because what is kept
    # on disk for them takes no time.
    assert sizes == [512 // POST_TRAINING.batch_size * post_training.FEW_IMAGES]
    lines = own.read_text().splitlines()
    assert sum(line.startswith("test") for line in lines) <= 100 + 3 + 4
    assert sum(line.startswith("train") for line in lines) <= 512 + 256 + 2 * 3
    one = norsim(*EVALUATE, *DRY).json
    # 4 passes of 3000 or 7 vectors through two tiles, and fewer for the calibration.
    assert found.json["solves"] - one["solves"] == pytest.approx(2 * 4 * (3000 - 7), rel=0.01)
    too_many = norsim(*EVALUATE[:-1], 3001, "--dry-run", "--json", "--quiet")
    assert too_many.code == 2 and "3001 images were requested, expected 1 to 3000" in too_many.err


def test_images_without_classes_need_a_metric(norsim: Run, own: Path) -> None:
    """They used to be labels cut to integers, with an accuracy of 0 or so."""
    Path("own.py").write_text(OWN.replace("index % 3", "0.25 + index % 3"))
    ended = norsim(*EVALUATE, *IDEAL, "--out", "run")
    assert ended.code == 2 and not Path("run/summary.json").exists()
    assert "are a tensor [3] of torch.float32 for 3 images; an accuracy needs the number of a class" in ended.err
    assert "(--metric NAME or FILE.py:FUNCTION)" in ended.err


def test_labels_that_are_numbered_otherwise_are_said(norsim: Run, own: Path) -> None:
    """An accuracy of 0 comes with a warning: here there are scores of a thousand classes, and the last three win."""
    text = OWN.replace("nn.Linear(16, 3))", "nn.Linear(16, 1000), Last())")
    Path("own.py").write_text(
        text
        + """
class Last(nn.Module):
    def forward(self, x):
        return x + 100 * (torch.arange(1000) > 996)
"""
    )
    ended = norsim(*EVALUATE[:-1], 12, "--backend", "ideal", "--quiet", "--json", "--out", "run")
    assert ended.code == 0 and ended.json["accuracy"] == 0
    assert "none of the 12 images has the class that the network gives it" in ended.err
    assert json.loads(Path("run/network/card.json").read_text())["float_correct"] == 0
