"""The device of a run: how it is chosen, recorded, and part of what a resumed run must share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from norsim.backends.registry import backend_named
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError
from norsim.experiments.devices import cards as cards_of_torch
from norsim.experiments.devices import choose_device
from norsim.experiments.run_folder import RunFolder
from norsim.folders.output import OutputFolder
from norsim.quantization.quantize import quantize
from norsim.tiling.convert import convert, fingerprint

Run = Callable[..., Any]


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that lets torch find a number of cards."""

    def find(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"card {number}")

    return find


def test_auto_takes_a_card_for_backends_that_compute_on_it(cards: Callable[[int], None]) -> None:
    macro, ideal, nodal, ngspice = map(backend_named, ("macro", "ideal", "nodal", "ngspice"))
    cards(2)
    assert [str(choose_device("auto", one)) for one in (macro, ideal, nodal, ngspice)] == [
        *["cuda:0"] * 3,
        "cpu",
    ]
    assert str(choose_device("cuda", nodal)) == "cuda:0" and str(choose_device("cuda:1", macro)) == "cuda:1"
    assert str(choose_device("cpu", macro)) == "cpu" and cards_of_torch() == ["card 0", "card 1"]
    # To torch, 256 is card 0, and 128 card -128.
    for number in (2, 128, 256, 999):
        with pytest.raises(
            ConfigurationError, match=f"the device is cuda:{number}, but torch .* finds 2 CUDA cards, counted from 0"
        ):
            choose_device(f"cuda:{number}", macro)
    for text in ("cuda:01", "cuda:1000", "cuda:\u0661", "cuda:", "CPU", "cpu\n"):
        with pytest.raises(ConfigurationError, match="the device is .*; expected auto, cpu, cuda or cuda:N"):
            choose_device(text, macro)
    cards(0)
    assert str(choose_device("auto", macro)) == "cpu"
    with pytest.raises(ConfigurationError, match="finds no CUDA card; use the device cpu"):
        choose_device("cuda", macro)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--device", "gpu"), "--device gpu: expected auto, cpu, cuda or cuda:N"),
        (("--device", "cuda:01"), "--device cuda:01: expected auto, cpu, cuda or cuda:N"),
        (("--device", "cuda:128"), "finds no CUDA card; use the device cpu, or a torch that"),
        (("--device", "cuda:0"), "finds no CUDA card; use the device cpu, or a torch that"),
        (
            ("--device", "cuda", "--scheduler", "tcp://here:1"),
            "--device cuda computes in this process, but --scheduler",
        ),
    ],
)
def test_other_devices_end_in_2(
    norsim: Run, cards: Callable[[int], None], tmp_path: Path, options: tuple[str, ...], problem: str
) -> None:
    cards(0)
    ended = norsim("eval-network", "--network", "digits-cnn", *options, "--out", tmp_path / "run")
    assert ended.code == 2 and problem in ended.err and "--device" in ended.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["train", "finetune", "run-layer --layer fc --backend macro"])
def test_other_commands_need_the_card_too(
    norsim: Run, cards: Callable[[int], None], tmp_path: Path, command: str
) -> None:
    cards(1)
    ended = norsim(*command.split(), "--network", "digits-cnn", "--device", "cuda:1", "--out", tmp_path / "run")
    assert ended.code == 2 and "finds 1 CUDA card, counted from 0" in ended.err and "--device" in ended.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("run-layer --network digits-cnn --layer fc", "the backend ngspice computes on the CPU; use --device cpu"),
        ("verify .", "a few reads are solved again, tile by tile; use --device cpu"),
        ("report .", "a read of each layer and some others are solved again; use --device cpu"),
    ],
)
def test_where_a_card_has_nothing_to_do_it_ends_in_2(norsim: Run, command: str, reason: str) -> None:
    ended = norsim(*command.split(), "--device", "cuda")
    assert ended.code == 2 and f"--device cuda: {reason}" in ended.err


def test_a_layer_is_read_on_the_cpu_unless_there_is_a_card(
    norsim: Run, cards: Callable[[int], None], tmp_path: Path
) -> None:
    cards(0)
    few = ("--network", "digits-cnn", "--layer", "fc", "--vectors", 2, "--set", "calibration.reads=4")
    ended = norsim("run-layer", *few, "--backend", "macro", "--out", tmp_path / "run")
    assert ended.code == 0 and "Computed on: cpu" in ended.out
    for name in ("manifest.json", "summary.json"):
        assert json.loads((tmp_path / "run" / name).read_text())["device"] == "cpu"


def test_a_run_states_its_device(norsim: Run, cards: Callable[[int], None], tmp_path: Path) -> None:
    cards(0)
    options = ("--network", "digits-cnn", "--images", "2", "--backend", "ideal", "--out", tmp_path / "run")
    ended = norsim("eval-network", *options)
    assert ended.code == 0 and "Computed on: cpu" in ended.out
    for name in ("manifest.json", "summary.json"):
        assert json.loads((tmp_path / "run" / name).read_text())["device"] == "cpu"


def test_a_run_is_not_resumed_on_another_device(tmp_path: Path) -> None:
    def opened(device: str) -> RunFolder:
        output = OutputFolder(tmp_path / "run", "eval-network", resume=True)
        try:
            return RunFolder(output, {}, tmp_path / "chip.yaml", 0, resume=True, device=device)
        finally:
            output.release()

    opened("cuda NVIDIA H100")
    with pytest.raises(ConfigurationError, match="differs in device: it was 'cuda NVIDIA H100' and is 'cpu'"):
        opened("cpu")
    opened("cuda NVIDIA H100")


def test_a_run_without_a_recorded_device_was_on_a_cpu(tmp_path: Path) -> None:
    def opened(device: str) -> None:
        output = OutputFolder(tmp_path / "run", "eval-network", resume=True)
        try:
            RunFolder(output, {}, tmp_path / "chip.yaml", 0, resume=True, device=device)
        finally:
            output.release()

    opened("cpu")
    manifest = tmp_path / "run" / "manifest.json"
    content = json.loads(manifest.read_text())
    del content["device"]
    manifest.write_text(json.dumps(content))
    opened("cpu")
    with pytest.raises(ConfigurationError, match="differs in device: it was 'cpu' and is 'cuda NVIDIA H100'"):
        opened("cuda NVIDIA H100")


def test_the_device_is_part_of_the_key_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    network = convert(quantize(nn.Sequential(nn.Linear(4, 3)), [torch.rand(8, 4)]), load_chip("etox65"))
    before = fingerprint(network, backend_named("ideal"))
    assert fingerprint(network, backend_named("ideal")) == before
    monkeypatch.setattr("norsim.zoo.attributes.device_name", lambda device: "cuda NVIDIA H100")
    assert fingerprint(network, backend_named("ideal")) != before
