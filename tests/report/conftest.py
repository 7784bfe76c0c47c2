"""Runs for reports, each made once for all tests in this folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from norsim.commands import main

MakeRun = Callable[..., Path]
LIGHT = ("--set", "calibration.reads=16")


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """Return a function that runs a command and returns its folder: `make_run("name", "eval-network", ...)`."""
    place = tmp_path_factory.mktemp("runs")

    def run(name: str, *arguments: object) -> Path:
        command_line(*arguments, "--out", place / name, "--jobs", 1, "--quiet", "--no-cache")
        return place / name

    return run


def command_line(*arguments: object) -> int:
    """Return a function that runs `norsim ARGUMENTS` in this process and returns the exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["norsim", *map(str, arguments)])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


@pytest.fixture(scope="session")
def spice_run(make_run: MakeRun) -> Path:
    """Return a run of one digit, with the first layer read by ngspice."""
    few = ("--images", 1, "--backend", "ngspice", "--layers", "conv1", "--spice-sample", 2)
    return make_run("spice", "eval-network", "--network", "digits-cnn", *few, *LIGHT)


@pytest.fixture(scope="session")
def macro_run(make_run: MakeRun) -> Path:
    """Return a run of a hundred digits with macro, with an attribution beside it."""
    make_run("layers", "attribute", "--network", "digits-cnn", "--images", 20, "--by", "layers", *LIGHT)
    return make_run(
        "macro", "eval-network", "--network", "digits-cnn", "--images", 100, *LIGHT, "--tolerance", 1e-3,
        "--spice-sample", 4,
    )  # fmt: skip


@pytest.fixture(scope="session")
def stressed_run(make_run: MakeRun) -> Path:
    """Return the same run on a chip with enough cell variation to flip some images."""
    bad = ("--chip", "etox65-stress", "--set", "silicon.drift_cell=40 mV", "--spice-sample", 0)
    return make_run("stressed", "eval-network", "--network", "digits-cnn", "--images", 100, *LIGHT, *bad)


@pytest.fixture(scope="session")
def ideal_run(make_run: MakeRun) -> Path:
    """Return a run of twenty digits in integers."""
    few = ("--images", 20, "--backend", "ideal")
    return make_run("ideal", "eval-network", "--network", "digits-cnn", *few, *LIGHT)


@pytest.fixture(scope="session")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in CIFAR-10's binary layout, with ten smooth random images for training and ten for testing."""
    folder, random = tmp_path_factory.mktemp("cifar"), np.random.default_rng(0)
    for name in ("test_batch", *(f"data_batch_{number}" for number in range(1, 6))):
        count = 10 if name == "test_batch" else 2
        blocks = random.integers(0, 256, (count, 3, 4, 4)).repeat(8, axis=2).repeat(8, axis=3)
        records = np.column_stack([np.arange(count) % 10, blocks.reshape(count, -1)]).astype(np.uint8)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return folder


@pytest.fixture(scope="session")
def cifar_run(make_run: MakeRun, cifar: Path) -> Path:
    """Return a run of six of these images, with one layer of resnet20 read by macro."""
    few = ("--images", 6, "--layers", "conv1", "--set", "calibration.images=10", "--spice-sample", 2)
    return make_run("cifar", "eval-network", "--network", "resnet20", "--data", cifar, *LIGHT, *few)
