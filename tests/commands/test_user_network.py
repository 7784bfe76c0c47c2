"""User-supplied networks: a Python file, an ONNX file, and public float weights for a known definition."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from norsim.backends.macro import Macro
from norsim.chip.load import load_chip
from norsim.data import load
from norsim.paths import models_folder
from norsim.quantization.quantize import quantize
from norsim.saved.network_folder import load_network
from norsim.tiling.convert import convert, fingerprint
from norsim.zoo.registry import build

Run = Callable[..., Any]
FEW = ("--dataset", "digits", "--images", 20, "--spice-sample", 2, "--quiet")
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]
CODE = '''
import torch
from torch import nn
from beside import COLOURS

class Net(nn.Module):
    """A depthwise and a grouped convolution, one along one axis, attention, and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(COLOURS, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8, padding_mode="reflect")
        self.point = nn.Conv2d(8, 8, 1, groups=2)
        self.along = nn.Conv1d(8, 8, 3, stride=2, padding=1)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(self.point(torch.relu(self.depth(x))))
        x = self.along(x.flatten(2)).transpose(1, 2)
        q, k, v = self.qkv(x).chunk(3, -1)
        x = x + self.out(torch.softmax(q @ k.transpose(1, 2), -1) @ v)
        return self.head(x.mean(1))

def make_net():
    torch.manual_seed(0)
    return Net()

class Gives(nn.Module):
    def __init__(self, turn):
        super().__init__()
        self.layer, self.turn = nn.Linear(64, 10), turn

    def forward(self, x):
        return self.turn(self.layer(x.flatten(1)))

def give_pair():
    return Gives(lambda x: (x, x))

def give_image():
    return Gives(lambda x: x[:, :, None])

def give_few():
    return Gives(lambda x: x[:, :4])

def take_colours():
    return nn.Sequential(nn.Conv2d(3, 10, 8), nn.Flatten())

def make_number():
    return 3

def make_trouble():
    raise ValueError("no weights today")
'''


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    """Return the path of the file, with another file beside it that it imports."""
    (tmp_path / "beside.py").write_text("COLOURS = 1\n")
    path = tmp_path / "nets.py"
    path.write_text(CODE)
    return path


def test_a_user_supplied_network_is_quantized_and_evaluated(norsim: Run, nets: Path, tmp_path: Path) -> None:
    """With attention, groups, 1-D, reflected padding, and weights from the function or from a file."""
    ended = norsim("eval-network", "--model", f"{nets}:make_net", *FEW, "--out", tmp_path / "run", "--json")
    assert ended.code == 0, ended.err
    found = ended.json
    names = [layer["name"] for layer in found["layers"]]
    assert names == ["stem", "depth", "point", "along", "qkv", "out", "head"]
    assert found["verification"]["max_error_full_scale"] < 1e-4 and found["accuracy_float"] is not None
    stored = tmp_path / "run" / "network"
    torch.save({f"module.{k}": v for k, v in build(f"{nets}:make_net").state_dict().items()}, tmp_path / "w.pt")
    again = norsim("eval-network", "--model", f"{nets}:make_net", "--weights", tmp_path / "w.pt", *FEW, "--json",
                   "--out", tmp_path / "again")  # fmt: skip
    assert again.json["accuracy"] == found["accuracy"]
    # Its folder can be used like any network if its code is trusted.
    ended = norsim("eval-network", "--network", stored, *FEW, "--out", tmp_path / "stored")
    assert ended.code == 2 and "which is not run unless it is trusted (--trust-model allows it)" in ended.err
    ended = norsim("eval-network", "--network", stored, "--trust-model", *FEW, "--out", tmp_path / "stored", "--json")
    assert ended.code == 0 and ended.json["accuracy"] == found["accuracy"]
    assert norsim("verify", tmp_path / "run", "--samples", 2).code == 2
    assert norsim("verify", tmp_path / "run", "--samples", 2, "--trust-model", "--tolerance", 1e-4).code == 0


def test_ideal_wires_and_a_wide_converter_give_the_class_of_the_integers(
    norsim: Run, nets: Path, tmp_path: Path
) -> None:
    perfect = ("--set", "adc.bits=24", "--set", "calibration.reads=64")
    zeros = [f"{line}=0 ohm" for line in ("bitline", "bitline_end", "source_line", "source_line_end")]
    wires = tuple(word for text in (*zeros, "strap_ends=all") for word in ("--set", f"bit_serial.wires.{text}"))
    ended = norsim(
        "eval-network", "--model", f"{nets}:make_net", *FEW, *perfect, *wires, "--json", "--out", tmp_path / "r"
    )
    assert ended.code == 0, ended.err
    lines = (tmp_path / "r" / "results.csv").read_text().splitlines()[1:]
    assert all(line.split(",")[2] == line.split(",")[3] for line in lines)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--model", "{nets}:make_net"), "make_net has no data set: name the one to calibrate"),
        (("--model", "{nets}:make_net", "--network", "digits-cnn"), "both name a network; give only one"),
        (("--model", "make_net", *FEW), "expected FILE.py:FUNCTION"),
        (("--model", "none.onnx", *FEW), "none.onnx cannot be read: No such file"),
        (("--model", "none.onnx"), "none.onnx has no data set: name the one to calibrate"),
        (("--model", "{nets}:make_nat", *FEW), "has no function 'make_nat'; it has Net, make_net, Gives, give_pair"),
        (("--model", "{nets}:make_number", *FEW), "returned int; expected a torch.nn.Module"),
        (("--model", "{nets}:make_trouble", *FEW), "nets.py, line 55: ValueError: no weights today"),
        (
            ("--model", "{nets}:give_pair", *FEW),
            "returns a tuple of a tensor [2, 10], a tensor [2, 10] for 2 images; expected scores [images, classes]",
        ),
        (("--model", "{nets}:give_image", *FEW), "returns [2, 10, 1] for 2 images"),
        (("--model", "{nets}:give_few", *FEW), "returns 4 scores; digits has 10 classes"),
        (
            ("--model", "{nets}:take_colours", *FEW),
            "does not accept images [2, 1, 8, 8] of digits: RuntimeError:",
        ),
        (("--model", "elsewhere/nets.py:make_net", *FEW), "nets.py cannot be read: No such file"),
        (("--images", 3), "Missing option '--network'"),
        (("--model", "{nets}:make_net", *FEW, "--mean", "0.5"), "--mean and --std must be given together"),
        (("--network", "digits-cnn", "--mean", "0", "--std", "1"), "--mean and --std need --weights or --model"),
        (("--network", "digits-cnn", "--learned-rounding"), "--learned-rounding needs --weights, --model or --bits"),
        (("--network", "digits-cnn", "--activation-range", "99"), "--activation-range needs --weights, --model or"),
        (("--model", "{nets}:make_net", *FEW, "--activation-range", "p99"), "the range of activations is 'p99'"),
        (
            ("--model", "{nets}:make_net", *FEW, "--mean", "half", "--std", "1"),
            "--mean half: expected one number per channel",
        ),
        (("--model", "{nets}:make_net", *FEW, "--mean", "0", "--std", "0"), "std is (0.0,); expected numbers above 0"),
        (
            ("--model", "{nets}:make_net", *FEW, "--mean", "0,0", "--std", "1,1"),
            "images have 1 channels, but mean and std have 2",
        ),
    ],
)
def test_an_invalid_network_ends_in_2_and_leaves_no_result(
    norsim: Run, nets: Path, tmp_path: Path, options: tuple[Any, ...], problem: str
) -> None:
    words = [str(word).replace("{nets}", str(nets)) for word in options]
    ended = norsim("eval-network", *words, "--out", tmp_path / "run")
    assert ended.code == 2 and problem in ended.err, ended.err
    assert not (tmp_path / "run" / "summary.json").exists()


@pytest.mark.slow
def test_public_weights_of_a_known_network_are_quantized_and_evaluated(norsim: Run, tmp_path: Path) -> None:
    """In the format of torch.save and nn.DataParallel, with any strides: the accuracy of each step, no training."""
    norsim("train", "--network", "digits-cnn", "--recipe", "float_epochs=8", "--recipe", "quantized_epochs=0",
           "--jobs", 1, "--quiet", "--out", tmp_path / "trained")  # fmt: skip
    state = load_file(tmp_path / "trained" / "float.safetensors")
    strided = {key: value.mT.contiguous().mT if value.ndim > 1 else value for key, value in state.items()}
    torch.save({"state_dict": {f"module.{key}": value for key, value in strided.items()}}, tmp_path / "public.th")
    ended = norsim("eval-network", "--network", "digits-cnn", "--weights", tmp_path / "public.th", "--json", "--quiet",
                   "--spice-sample", 2, "--out", tmp_path / "run")  # fmt: skip
    assert ended.code == 0, ended.err
    steps = [ended.json[key] for key in ("accuracy_float", "accuracy_quantized", "accuracy")]
    assert steps[0] > 0.8 and all(step > steps[0] - 0.1 for step in steps)


@pytest.mark.parametrize("before", ["", "module."])
@pytest.mark.slow
def test_public_weights_that_expect_normalised_images(norsim: Run, tmp_path: Path, before: str) -> None:
    """In the format of public CIFAR networks. The stored network gives the same answers without repeating the options;
    without normalisation, the answers differ."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12, 3073), dtype=np.uint8)
    colours = random.integers(0, 192, (12, 3, 1), dtype=np.uint8).repeat(1024, 2)
    images[:, 1:] = images[:, 1:] // 4 + colours.reshape(12, -1)
    images[:, 0] %= 10
    pixels = torch.from_numpy(images[:, 1:].reshape(-1, 3, 32, 32)).float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    torch.manual_seed(0)
    definition = build("resnet20")
    for _ in range(5):  # statistics of the norms
        definition((pixels - mean) / std)
    state = definition.state_dict()
    assert {"conv1.weight", "layer1.0.bn1.running_mean", "linear.bias"} <= state.keys()
    state = {f"{before}{key}": value for key, value in state.items()}
    torch.save({"state_dict": state, "best_prec1": 91.7} if before else state, tmp_path / "public.th")
    for name in [f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"]:
        (tmp_path / name).write_bytes(images.tobytes())
    few = ("--data", tmp_path, "--backend", "ideal", "--quiet", "--json")
    normal = ("--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)))
    weights = ("--network", "resnet20", "--weights", tmp_path / "public.th")
    ended = norsim("eval-network", *weights, *normal, *few, "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    assert ended.json["digital"]["operations"] == {"relu": 19, "add": 9, "sub": 1, "div": 1, "adaptive_avg_pool2d": 1}
    assert ended.json["digital"]["modules"]["layer1.0.bn1"] == "BatchNorm2d"
    stored = tmp_path / "run" / "network"
    card = json.loads((stored / "card.json").read_text())
    assert card["normalise"] == {"mean": MEAN, "std": STD}
    with torch.inference_mode():
        expected = definition.eval()((pixels - mean) / std).argmax(1)
    answers = lines_of(tmp_path / "run", "float")
    assert answers == expected.tolist() and len(set(answers)) > 1
    again = norsim("eval-network", "--network", stored, *few, "--out", tmp_path / "again")
    assert again.code == 0, again.err
    assert lines_of(tmp_path / "again", "array") == lines_of(tmp_path / "run", "array")
    plain = norsim("eval-network", *weights, *few, "--out", tmp_path / "plain")
    assert plain.code == 0 and lines_of(tmp_path / "plain", "float") != answers


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_from_an_onnx_file(norsim: Run, tmp_path: Path) -> None:
    """It contains its weights. The run keeps a copy, so the stored network needs no other file; it is not code."""
    torch.manual_seed(0)
    network = build("digits-cnn")
    for _ in range(3):
        network(torch.rand(16, 1, 8, 8))
    file = tmp_path / "net.onnx"
    torch.onnx.export(network.eval(), (torch.rand(1, 1, 8, 8),), file, dynamo=False, input_names=["x"],
                      dynamic_axes={"x": {0: "n"}})  # fmt: skip
    ended = norsim("eval-network", "--model", file, *FEW, "--out", tmp_path / "run", "--json")
    assert ended.code == 0, ended.err
    assert [layer["name"] for layer in ended.json["layers"]] == ["conv1", "conv2", "fc"]
    assert ended.json["digital"] == {"modules": {}, "operations": {"relu": 2, "max_pool2d": 1}}
    with torch.inference_mode():
        images = torch.from_numpy(load("digits", "test").images[:20]).float() / 16
        assert lines_of(tmp_path / "run", "float") == network(images).argmax(1).tolist()
    file.unlink()
    stored = tmp_path / "run" / "network"
    again = norsim("eval-network", "--network", stored, *FEW, "--out", tmp_path / "again", "--json")
    assert again.code == 0, again.err
    assert lines_of(tmp_path / "again", "array") == lines_of(tmp_path / "run", "array")
    tuned = norsim("finetune", "--network", stored, "--steps", 1, "--quiet", "--out", tmp_path / "tuned")
    assert tuned.code == 0, tuned.err
    assert norsim("eval-network", "--network", tmp_path / "tuned", *FEW, "--out", tmp_path / "t").code == 0
    (stored / "network.onnx").write_bytes((stored / "network.onnx").read_bytes() + b"\0")
    damaged = norsim("eval-network", "--network", stored, *FEW, "--out", tmp_path / "damaged")
    assert damaged.code == 2 and "network.onnx: it is not the file that the network was made from" in damaged.err
    (stored / "network.onnx").unlink()
    assert "network.onnx cannot be read" in norsim("eval-network", "--network", stored, *FEW).err


def lines_of(run: Path, column: str) -> list[int]:
    with open(run / "results.csv", newline="") as file:
        return [int(row[column]) for row in csv.DictReader(file)]


def test_work_is_not_shared_between_networks_of_different_code(nets: Path) -> None:
    images = torch.rand(4, 1, 8, 8)

    def printed() -> str:
        return fingerprint(convert(quantize(build(f"{nets}:make_net"), [images]), load_chip("etox65")), Macro())

    before = printed()
    assert printed() == before
    nets.write_text(CODE.replace("torch.softmax(q @ k.transpose(1, 2), -1)", "torch.sigmoid(q @ k.transpose(1, 2))"))
    assert printed() != before


def test_shipped_networks_need_no_trust() -> None:
    for folder in (models_folder() / "networks").glob("*/card.json"):
        load_network(folder.parent.name)
