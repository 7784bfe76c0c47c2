"""Finished work stays: refused commands, unreadable disks, other programs' files and shortened checksums."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from norsim.data.tensors import digest_of
from norsim.jobs.unit_store import UnitStore
from tests.conftest import contents

Run = Callable[..., Any]
NETWORK = """
import torch
from torch import nn
def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""
FEW = ("--dataset", "digits", "--images", 4, "--backend", "ideal", "--quiet")


@pytest.fixture
def finished(norsim: Run, tmp_path: Path) -> tuple[object, ...]:
    """Return the words of a finished run of a user-supplied network."""
    (tmp_path / "net.py").write_text(NETWORK)
    for seed in (1, 2):
        torch.manual_seed(seed)
        torch.save({"1.weight": torch.rand(10, 64), "1.bias": torch.zeros(10)}, tmp_path / f"w{seed}.pt")
    words = ("eval-network", "--model", f"{tmp_path}/net.py:make", *FEW, "--out", tmp_path / "run")
    assert norsim(*words, "--weights", tmp_path / "w1.pt").code == 0
    return words


@pytest.mark.parametrize("more", [("--resume",), ("--overwrite", "--layers", "none")])
def test_a_refused_command_changes_no_finished_run(
    norsim: Run, tmp_path: Path, finished: tuple[object, ...], more: tuple[str, ...]
) -> None:
    before = contents(tmp_path / "run")
    ended = norsim(*finished, "--weights", tmp_path / "w2.pt", *more)
    assert ended.code == 2 and contents(tmp_path / "run") == before
    assert norsim(*finished, "--weights", tmp_path / "w2.pt", "--overwrite").code == 0
    assert contents(tmp_path / "run")["network/weights.safetensors"] != before["network/weights.safetensors"]


def test_a_missing_simulator_is_noticed_before_a_result_is_deleted(
    norsim: Run, tmp_path: Path, simulator: Callable[[object], None]
) -> None:
    words = ("run-layer", "--network", "digits-cnn", "--layer", "fc", "--vectors", 1, "--backend", "nodal", "--quiet",
             "--set", "calibration.reads=2", "--out", tmp_path / "run")  # fmt: skip
    assert norsim(*words).code == 0
    before = contents(tmp_path / "run")
    simulator(tmp_path / "none")
    assert norsim(*words, "--overwrite", "--backend", "ngspice").code == 3
    assert contents(tmp_path / "run") == before


def test_only_a_unit_with_another_checksum_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, table = UnitStore((tmp_path / "own", tmp_path / "shared")), pa.table({"a": [1]})
    store.put("ab12", table)
    before = contents(tmp_path)

    def fail(path: Path) -> bytes:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fail)
        assert store.get("ab12") is None
    assert contents(tmp_path) == before and store.get("ab12") == table
    # A run that was killed between the two; the shared unit takes its place.
    (tmp_path / "own" / "ab" / "ab12.sha256").unlink()
    assert store.get("ab12") == table and contents(tmp_path) == before
    for folder in ("own", "shared"):
        (tmp_path / folder / "ab" / "ab12.parquet").write_bytes(b"other")
    assert store.get("ab12") is None
    assert sorted(contents(tmp_path)) == ["shared/ab/ab12.parquet", "shared/ab/ab12.sha256"]


@pytest.mark.parametrize("other", ['{"name": "web app"}', "[1]", "no JSON", "[" * 5000])
def test_a_manifest_of_another_program_is_passed_over(
    norsim: Run, tmp_path: Path, finished: tuple[object, ...], other: str
) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "manifest.json").write_text(other)
    assert [run["run"] for run in norsim("runs", "ls", tmp_path, "--json").json["runs"]] == [str(tmp_path / "run")]
    assert norsim("runs", "gc", tmp_path).code == 0


def test_a_shortened_list_of_checksums_is_damage(norsim: Run, tmp_path: Path, finished: tuple[object, ...]) -> None:
    path = tmp_path / "run" / "checksums.sha256"
    lines = path.read_text().splitlines(keepends=True)
    assert norsim("runs", "verify", tmp_path / "run").code == 0
    for kept in ([], lines[:-1], lines[1:]):
        path.write_text("".join(kept))
        ended = norsim("runs", "verify", tmp_path / "run", "--json")
        assert ended.code == 5 and ended.json["damaged"] == [str(path)]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_digests_tell_types_shapes_and_values_of_any_tensor() -> None:
    ones = torch.ones(2, 3)
    values = [
        ones, ones.T, ones.int(), ones.to(torch.bfloat16), ones.to_sparse(), ones.to(torch.complex64), 2 * ones,
        ones > 0, torch.quantize_per_tensor(ones, 0.1, 0, torch.qint8), torch.ones(()), torch.ones(0), {"extra": 1},
        ones.to(torch.complex32),
    ]  # fmt: skip
    digests = [digest_of([value]) for value in values]
    assert len(set(digests)) == len(values) and digests == [digest_of([value]) for value in values]


def test_a_network_with_unusual_buffers_is_evaluated_with_a_store(norsim: Run, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        NETWORK.replace("    return nn", "    net = nn").rstrip()
        + '\n    net.register_buffer("fine", torch.ones(3, dtype=torch.bfloat16), persistent=False)\n    return net\n'
    )
    words = ("eval-network", "--model", f"{tmp_path}/net.py:make", *FEW, "--out", tmp_path / "run", "--json")
    ended = norsim(*words)
    assert ended.code == 0 and json.loads(ended.out)["images"] == 4
