"""`--dataset` with user-supplied data: the digits in other formats give the same results."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from norsim.data import load

Run = Callable[..., Any]
IDEAL = ("--backend", "ideal", "--quiet", "--json")


def npz(folder: Path) -> str:
    content = {}
    for split in ("train", "test"):
        data = load("digits", split)
        content |= {f"{split}_images": data.images[:, 0], f"{split}_labels": data.labels}
    np.savez_compressed(folder / "own.npz", full_scale=np.array(16), **content)
    return str(folder / "own.npz")


def function(folder: Path) -> str:
    """Return a data set by a function, whose images are 0 to 255."""
    (folder / "own.py").write_text(
        "from norsim.data import load\n"
        "def digits(split):\n"
        "    data = load('digits', split)\n"
        "    return [(image[0] * 15, label) for image, label in zip(data.images, data.labels)]\n"
    )
    return f"{folder / 'own.py'}:digits"


def images(folder: Path) -> str:
    for split in ("train", "test"):
        data = load("digits", split).take(200, np.random.default_rng(0))
        for index, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
            path = folder / "own" / split / data.classes[label] / f"{index:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0] * 15).save(path)
    return str(folder / "own")


def answers(run: Path) -> list[tuple[int, int]]:
    with open(run / "results.csv", newline="") as file:
        return [(int(row["label"]), int(row["array"])) for row in csv.DictReader(file)]


def test_the_digits_in_a_file_give_the_same_answers(norsim: Run, tmp_path: Path) -> None:
    first = norsim("eval-network", "--network", "digits-cnn", *IDEAL, "--out", tmp_path / "digits")
    other = norsim(
        "eval-network", "--network", "digits-cnn", "--dataset", npz(tmp_path), *IDEAL, "--out", tmp_path / "npz"
    )
    assert other.code == 0, other.err
    assert answers(tmp_path / "npz") == answers(tmp_path / "digits")
    # It is unknown whether the card's predictions belong to this copy.
    assert first.json["accuracy_float"] is not None and other.json["accuracy_float"] is None
    assert other.json["dataset"] == str(tmp_path / "own.npz")


@pytest.mark.parametrize("make", [npz, images, function])
def test_a_network_is_quantized_on_user_data_and_loaded_again(
    norsim: Run, make: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This also works from another folder, because the card stores the path. Code is run again only if trusted."""
    name = make(tmp_path)
    monkeypatch.chdir(tmp_path)
    norsim("train", "--network", "digits-cnn", "--recipe", "float_epochs=4", "--recipe", "quantized_epochs=0",
           "--jobs", 1, "--quiet", "--out", "trained")  # fmt: skip
    relative = str(Path(name).relative_to(tmp_path))
    relative = relative if "." in relative else f"./{relative}"
    ended = norsim("eval-network", "--network", "digits-cnn", "--weights", "trained/float.safetensors",
                   "--dataset", relative, *IDEAL, "--out", "run")  # fmt: skip
    assert ended.code == 0, ended.err
    assert ended.json["accuracy_float"] > 0.7 and ended.json["accuracy"] > ended.json["accuracy_float"] - 0.1
    card = json.loads((tmp_path / "run" / "network" / "card.json").read_text())
    assert card["dataset"] == name
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    trust = ["--trust-model"] if make is function else []
    if trust:
        refused = norsim("eval-network", "--network", "../run/network", *IDEAL, "--out", "refused")
        assert refused.code == 2 and "own.py:digits, which is not run unless it is trusted" in refused.err
        assert "(--trust-model allows it)" in refused.err
        assert not Path("refused/summary.json").exists()
    again = norsim("eval-network", "--network", "../run/network", *trust, *IDEAL, "--out", "again")
    assert again.code == 0, again.err
    assert again.json["accuracy_float"] == ended.json["accuracy_float"]
    assert answers(Path("again")) == answers(tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--dataset", "none.npz"), "none.npz cannot be read: No such file"),
        (("--dataset", "./none"), "none is not a folder, expected one with train/CLASS"),
        (("--dataset", "none.py:f"), "none.py cannot be read: No such file"),
        (("--dataset", "none.npz", "--data", "."), "is a path already, so leave out the folder .. (--data)"),
        (("--dataset", "digit"), "did you mean 'digits'? Known: cifar10, digits. Your own data set is a folder"),
    ],
)
def test_invalid_data_end_in_2_and_leave_no_result(
    norsim: Run, tmp_path: Path, options: tuple[str, ...], problem: str
) -> None:
    ended = norsim("eval-network", "--network", "digits-cnn", *options, "--out", tmp_path / "run")
    assert ended.code == 2 and problem in ended.err, ended.err
    assert not (tmp_path / "run" / "summary.json").exists()
