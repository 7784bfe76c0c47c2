"""`--metric` from the data function to the files of a run: masks of images, and tokens of a text."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
IDEAL = ("--backend", "ideal", "--quiet", "--json")

OWN = """
import numpy as np
import torch
from torch import nn

class Masks(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 3, 1)

    def forward(self, images):
        return {"out": self.last(torch.relu(self.first(images))), "mean": images.mean((1, 2, 3))}

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(9, 8), nn.Linear(8, 9)

    def forward(self, tokens, scale):
        return self.head(self.embed(tokens)) * scale[:, None, None]

def masks():
    torch.manual_seed(0)
    return Masks()

def words():
    torch.manual_seed(0)
    return Words()

def images(split):
    def item(index):
        random = np.random.default_rng(index)
        return random.integers(0, 256, (8, 8, 3), np.uint8), random.integers(0, 3, (8, 8))
    return [item(index) for index in range(20)]

def text(split, folder=None):
    def item(index):
        random = np.random.default_rng(index)
        return {"tokens": random.integers(0, 9, 5), "scale": np.float64(1 + index % 2)}, random.integers(0, 9, 5)
    return [item(index) for index in range(20)]

def largest(outputs, targets):
    return float(outputs["out"].max())
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)


def rows(run: str) -> list[dict[str, str]]:
    with open(f"{run}/results.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_masks_are_judged_and_reported(norsim: Run) -> None:
    segment = ("eval-network", "--model", "own.py:masks", "--dataset", "own.py:images", "--images", 12)
    refused = norsim(*segment, *IDEAL, "--out", "refused")
    assert refused.code == 2 and "(--metric NAME or FILE.py:FUNCTION)" in refused.err
    ended = norsim(*segment, "--metric", "miou", *IDEAL, "--out", "run")
    assert ended.code == 0, ended.err
    found = ended.json
    assert found["metric"] == "miou" and found["accuracy"] is found["accuracy_float"] is found["drop_points"] is None
    assert found["metric_value"] == found["metric_quantized"] and found["metric_change_quantized"] == 0
    low, high = found["metric_ci95"]
    assert 0 < low < found["metric_value"] < high < 1 and found["metric_float"] != found["metric_quantized"]
    ends = found["metric_change_float_ci95"]
    assert ends[0] <= found["metric_value"] - found["metric_float"] <= ends[1] and ends[1] - ends[0] < high - low
    assert len(rows("run")) == 12 and all(0 < float(row["array"]) < 1 and float(row["float"]) for row in rows("run"))
    card = json.loads(Path("run/network/card.json").read_text())
    assert card["float_correct"] is card["quantized_accuracy"] is None and card["float_predictions"] == ""
    page = norsim("report", "run", "--trust-model")
    assert page.code == 0 and "miou of" in Path("run/report.html").read_text(), page.err
    # The stored network has its float weights, so the metric of these is known again.
    stored = ("eval-network", "--network", "run/network", "--trust-model", "--images", 12)
    again = norsim(*stored, "--metric", "own.py:largest", *IDEAL, "--out", "again").json
    assert again["metric"] == "own.py:largest" and again["metric_float"] is not None and again["metric_ci95"]
    text = norsim(*stored, "--metric", "miou", "--backend", "ideal", "--quiet", "--out", "words").out
    assert "miou" in text and "paired by image" in text
    assert norsim(*stored, *IDEAL, "--out", "none").code == 2


def test_tokens_and_several_inputs_are_judged_on_the_array(norsim: Run) -> None:
    Path("data").mkdir()
    ended = norsim("eval-network", "--model", "own.py:words", "--dataset", "own.py:text", "--data", "data", "--metric",
                   "perplexity", "--images", 10, "--set", "calibration.reads=8", "--spice-sample", 0, "--quiet",
                   "--json", "--out", "run")  # fmt: skip
    assert ended.code == 0, ended.err
    found = ended.json
    assert found["accuracy"] is None and 2 < found["metric_value"] < 40
    assert math.isclose(found["metric_value"], found["metric_float"], rel_tol=0.3)
    proof = found["end_to_end"]
    assert proof["images"] == 4 and proof["predictions"] == 20 and proof["changed"] <= 1
    assert proof["accuracy_difference"] is None and abs(proof["metric_difference"]) < 0.01
    verified = norsim("verify", "run", "--trust-model", "--samples", 1, "--backend", "nodal", "--json")
    assert verified.code == 2 or verified.json["samples"] == 1, verified.err
    swept = norsim("sweep", "--network", "run/network", "--trust-model", "--data", "data", "--vary", "adc.bits=4,5",
                   "--quiet", "--out", "swept")  # fmt: skip
    assert swept.code == 2 and "an accuracy needs one integer label" in swept.err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--metric", "perplexty"), "no metric 'perplexty'; did you mean 'perplexity'"),
        (("--metric", "mae", "--trials", 2), "--trials needs the share of correct classes; leave out --metric mae"),
        (("--metric", "mae", "--min-accuracy", 0.5), "--min-accuracy needs the share of correct classes"),
        (("--metric", "miou"), "expected integers, the number of a class for each prediction"),
        (("--transform", "imagenet"), "is no folder of photos, so it takes no transform 'imagenet'"),
    ],
)
def test_what_does_not_fit_is_refused(norsim: Run, options: tuple[Any, ...], problem: str) -> None:
    Path("own.py").write_text(OWN.replace("random.integers(0, 3, (8, 8))", "random.normal(size=(3, 8, 8))"))
    ended = norsim("eval-network", "--model", "own.py:masks", "--dataset", "own.py:images", "--images", 4, *options,
                   *IDEAL, "--out", "run")  # fmt: skip
    assert ended.code == 2 and problem in ended.err, ended.err
    assert not Path("run/summary.json").exists()


def test_photos_of_some_classes_are_judged_by_the_five_largest_scores(norsim: Run) -> None:
    """A network of 1,000 classes, normalised as ImageNet is, on photos of two of them."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    names = [f"class {number:03}" for number in range(1000)]
    for split in ("train", "test"):
        for number in (700, 900):
            folder = Path("photos", split, names[number])
            folder.mkdir(parents=True)
            for index in range(2):
                size = (230 + 20 * index, 300, 3)
                # Red photos have class 700, blue ones class 900.
                pixels = random.integers(0, 60, size, np.uint8) + np.array(
                    [190, 0, 0] if number == 700 else [0, 0, 190], np.uint8
                )
                Image.fromarray(pixels).save(folder / f"{index}.jpg")
    Path("photos/classes.txt").write_text("\n".join(names))
    Path("own.py").write_text("""
import torch
from torch import nn

class Colours(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 1), nn.Linear(3, 1000)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[:, :, None, None])
            self.conv.bias.zero_()
            self.head.weight.normal_(0, 0.05)
            self.head.bias.zero_()
            self.head.weight[700], self.head.weight[900] = torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, 1.0])

    def forward(self, images):
        assert images.shape[1:] == (3, 224, 224)
        return self.head(self.conv(images).mean((2, 3)))

def net():
    torch.manual_seed(0)
    return Colours()
""")
    ended = norsim("eval-network", "--model", "own.py:net", "--dataset", "photos/", "--transform", "imagenet",
                   "--metric", "top5", *IDEAL, "--out", "run")  # fmt: skip
    assert ended.code == 0, ended.err
    assert ended.json["metric_value"] == ended.json["metric_float"] == ended.json["accuracy_float"] == 1.0
    assert ended.json["images"] == 4 and ended.json["metric_ci95"][1] == 1
    header = json.loads(Path("run/network/card.json").read_text())
    assert header["transform"] == "imagenet" and header["normalise"]["mean"] == [0.485, 0.456, 0.406]
    again = norsim("eval-network", "--network", "run/network", "--trust-model", "--metric", "top5", *IDEAL,
                   "--out", "again")  # fmt: skip
    assert again.code == 0 and again.json["metric_value"] == 1, again.err
