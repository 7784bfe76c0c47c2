"""Bad input, a missing simulator, a failing solve: one clear line, the exit code, and no partial result."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.commands.conftest import Ended, Run

RESULTS = ("summary.json", "results.csv", "currents.npz", "tile.cir", "tile.json")
EVALUATE = ["eval-network", "--network", "digits-cnn", "--images", 1, "--layers", "conv1"]
READ = ["run-layer", "--network", "digits-cnn", "--layer", "conv1", "--tile", "0,0", "--vectors", 1]
BUILD = ["build-netlist", "--network", "digits-cnn", "--layer", "conv1", "--vectors", 1]


def failed(ended: Ended, code: int, *words: str) -> None:
    assert ended.code == code, ended
    assert ended.out == "" and "Traceback" not in ended.err
    last = ended.err.strip().splitlines()[-1]
    assert last.startswith("norsim: ") and all(word in last for word in words), last


def fake(folder: Path, body: str) -> Path:
    """Write a program that answers --version like ngspice and otherwise runs `body`."""
    path = folder / "fake-ngspice"
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "** ngspice-39" && exit 0\n{body}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize("command", [EVALUATE, READ, BUILD])
def test_a_missing_ngspice_ends_in_3(norsim: Run, tmp_path: Path, simulator: Any, command: list[object]) -> None:
    simulator(tmp_path / "nowhere" / "ngspice")
    failed(norsim(*command, "--out", tmp_path / "run"), 3, "ngspice", "Install")
    assert not any((tmp_path / "run" / name).exists() for name in RESULTS)


def test_doctor_ends_in_3_without_ngspice(norsim: Run, tmp_path: Path, simulator: Any) -> None:
    simulator(tmp_path / "nowhere")
    ended = norsim("doctor", "--json")
    assert ended.code == 3 and "problem" in ended.json


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("exit 0", "currents.raw"),
        ("echo 'Error: singular matrix'; exit 0", "singular matrix"),
        ("printf 'Title: x\\nBinary:\\n' > currents.raw; exit 0", "expected real data"),
        ("exit 1", "code 1"),
    ],
)
def test_a_broken_ngspice_ends_in_4_and_keeps_its_folder(
    norsim: Run, tmp_path: Path, simulator: Any, monkeypatch: pytest.MonkeyPatch, body: str, problem: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    # It answers the probe of its features.
    simulator(fake(tmp_path, f"test -e probe.cir && echo norsim-probe-end && exit 0; {body}"))
    failed(norsim(*EVALUATE, "--out", tmp_path / "run"), 4, problem, str(tmp_path / "norsim-ngspice-"))
    assert list(tmp_path.glob("norsim-ngspice-*/tile.cir"))
    assert not any((tmp_path / "run" / name).exists() for name in RESULTS)


def test_a_cell_that_does_not_converge_ends_in_4(norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    # Two current sources in series leave the node between them without a solution.
    (tmp_path / "bad.sp").write_text(".subckt bad d g s b vt=3\nI1 d m 1u\nI2 m s {vt*1u}\n.ends bad\n")
    settings = [argument for text in ("cell.netlist=bad.sp", "cell.subcircuit=bad") for argument in ("--set", text)]
    chip = tmp_path / "chip.yaml"
    from norsim.chip.load import presets

    chip.write_text(presets()["etox65"].read_text())
    failed(norsim(*READ, "--chip", chip, *settings, "--out", tmp_path / "run"), 4, "norsim-ngspice-")
    assert not (tmp_path / "run" / "currents.npz").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "adc.bit=8"], ["bit", "did you mean 'bits'", "(--set KEY=VALUE)"]),
        (["--set", "tile.bitlines=0"], ["tile.bitlines"]),
        (["--set", "bit_serial.top_level=1.6"], ["with its unit"]),
        (["--set", "bit_serial.top_level=1 A"], ["cannot be programmed"]),
        (["--set", "tile.bitlines=1"], ["is too small for one output"]),
        (["--chip", "etox66"], ["did you mean 'etox65'"]),
    ],
)
def test_a_bad_chip_ends_in_2(norsim: Run, tmp_path: Path, options: list[str], words: list[str]) -> None:
    failed(norsim(*EVALUATE, *options, "--out", tmp_path / "run"), 2, *words)
    assert not (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize("command", [READ, EVALUATE, ["attribute", "--network", "digits-cnn"]])
def test_a_cell_with_commands_ends_in_2_unless_it_is_trusted(
    norsim: Run, tmp_path: Path, command: list[object]
) -> None:
    from norsim.chip.load import presets
    from norsim.paths import netlists_folder

    (tmp_path / "chip.yaml").write_text(presets()["etox65"].read_text())
    cell = (netlists_folder() / "cells" / "floating_gate.sp").read_text()
    (tmp_path / "floating_gate.sp").write_text(f"* a cell\n*#shell touch {tmp_path}/ran\n{cell}")
    line = [*command, "--chip", tmp_path / "chip.yaml", "--out", tmp_path / "run"]
    failed(norsim(*line), 2, "floating_gate.sp, line 2", "--trust-cell")
    assert not (tmp_path / "ran").exists() and not (tmp_path / "run" / "summary.json").exists()


def test_a_trusted_cell_is_used_unchanged(norsim: Run, tmp_path: Path) -> None:
    from norsim.chip.load import presets
    from norsim.paths import netlists_folder

    (tmp_path / "chip.yaml").write_text(presets()["etox65"].read_text())
    cell = (netlists_folder() / "cells" / "floating_gate.sp").read_text()
    (tmp_path / "floating_gate.sp").write_text(f"{cell}*#shell touch {tmp_path}/ran\n")
    line = [*READ, "--chip", tmp_path / "chip.yaml", "--out", tmp_path / "run"]
    failed(norsim(*line), 2, "--trust-cell")
    assert norsim(*line, "--trust-cell").code == 0
    assert (tmp_path / "ran").exists() and (tmp_path / "run" / "currents.npz").exists()


def test_an_alias_in_a_chip_file_ends_in_2(norsim: Run, tmp_path: Path) -> None:
    (tmp_path / "chip.yaml").write_text("a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]\n")
    failed(norsim(*EVALUATE, "--chip", tmp_path / "chip.yaml"), 2, "it has an alias", "chip.yaml")


def test_an_unknown_key_in_a_chip_file_ends_in_2(norsim: Run, tmp_path: Path) -> None:
    from norsim.chip.load import presets

    text = presets()["etox65"].read_text().replace("strap_every:", "strap_evry:", 1)
    (tmp_path / "chip.yaml").write_text(text)
    failed(norsim(*EVALUATE, "--chip", tmp_path / "chip.yaml"), 2, "strap_evry", "did you mean 'strap_every'")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([*READ[:-4], "--tile", "3,0"], ["no tile 3,0"]),
        ([*READ[:-4], "--tile", "x"], ["ROW,COLUMN"]),
        ([*READ, "--vectors", 10**6], ["activation vectors in", "(--vectors K|FILE)"]),
        (["run-layer", "--network", "digits-cnn", "--layer", "conv9"], ["no layer 'conv9'", "conv1"]),
        (["eval-network", "--network", "digits-cn"], ["digits-cnn"]),
        (["eval-network", "--network", "digits-cnn", "--dataset", "digit"], ["did you mean"]),
        (
            ["eval-network", "--network", "digits-cnn", "--dataset", "cifar10"],
            ["was given no folder", "(--data DIR gives it)"],
        ),
        (["eval-network", "--network", "digits-cnn", "--images", 5000], ["360"]),
        (["eval-network", "--network", "digits-cnn", "--layers", "zz*"], ["matches no layer", "(--layers PATTERN)"]),
        (["train", "--network", "digits-cnn", "--recipe", "epochs=3"], ["float_epochs"]),
    ],
)
def test_bad_requests_end_in_2(norsim: Run, tmp_path: Path, command: list[object], words: list[str]) -> None:
    failed(norsim(*command, "--out", tmp_path / "run"), 2, *words)
    assert not any((tmp_path / "run" / name).exists() for name in RESULTS)


def test_a_data_folder_without_images_ends_in_2(norsim: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    ended = norsim(*EVALUATE, "--dataset", "cifar10", "--data", tmp_path / "data", "--out", tmp_path / "run")
    failed(ended, 2, str(tmp_path / "data"))


def test_weights_outside_the_level_range_end_in_2(norsim: Run, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    from norsim.paths import models_folder

    shipped = models_folder() / "networks" / "digits-cnn"
    with safe_open(shipped / "weights.safetensors", "np") as file:
        tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()
    tensors["grids"][0, 1] = 16
    save_file(tensors, tmp_path / "weights.safetensors", metadata)
    (tmp_path / "card.json").write_bytes((shipped / "card.json").read_bytes())
    failed(norsim("eval-network", "--network", f"{tmp_path}/", "--images", 1), 2, "conv1", "16")


@pytest.mark.parametrize("content", [np.full((2, 9), 16, np.uint8), np.zeros((2, 8), np.uint8), np.zeros((2, 9))])
def test_invalid_activation_codes_end_in_2(norsim: Run, tmp_path: Path, content: np.ndarray) -> None:
    np.save(tmp_path / "codes.npy", content)
    ended = norsim(*READ[:-2], "--vectors", tmp_path / "codes.npy", "--out", tmp_path / "run")
    failed(ended, 2, "codes.npy", "(--vectors K|FILE)")


def test_usage_errors_end_in_2(norsim: Run) -> None:
    assert norsim("eval-network", "--no-such-option").code == 2
    assert norsim("frobnicate").code == 2


def test_an_interrupt_ends_in_130(norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("norsim.experiments.deployed.evaluate", interrupt)
    ended = norsim(*EVALUATE, "--backend", "ideal", "--out", tmp_path / "run")
    assert ended.code == 130 and not (tmp_path / "run" / "summary.json").exists()
