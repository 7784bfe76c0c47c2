"""The page about the files of a run names every key and every array that a run writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.docs.test_docs import ROOT, run_here

PAGE = ROOT / "docs" / "reference" / "files.md"


@pytest.fixture(scope="module")
def named() -> set[str]:
    return set(re.findall(r"`([\w.]+)`", PAGE.read_text()))


def keys(content: object) -> set[str]:
    """Return all keys of a JSON object, except names of layers and programs."""
    if isinstance(content, list):
        return set().union(*map(keys, content)) if content else set()
    if not isinstance(content, dict):
        return set()
    below = (keys(value) for key, value in content.items() if key not in ("modules", "operations", "versions"))
    return set(content).union(*below)


def test_every_key_of_a_summary_is_named(named: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = "norsim eval-network --network digits-cnn --images 4 --spice-sample 1 --set calibration.reads=16"
    run_here(f"{line} --out first", monkeypatch)
    run_here(f"{line} --trials 2 --yield-above 0.5 --compare first --out second", monkeypatch)
    summary = json.loads((tmp_path / "second" / "summary.json").read_text())
    # Reads are counted by the names of layers.
    found = keys(summary) - {layer["name"] for layer in summary["layers"]}
    assert {"accuracy", "trials", "compared"} <= found
    assert sorted(found - named) == []
    for path in (tmp_path / "second").iterdir():
        assert path.name in named or f"`{path.name}/`" in PAGE.read_text(), path.name


def test_every_array_of_a_tile_has_its_shape_and_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_here(
        "norsim run-layer --network digits-cnn --layer conv2 --tile 0,0 --vectors 3 --backend nodal --out one",
        monkeypatch,
    )
    section = PAGE.read_text().partition("## currents.npz")[2]
    rows = re.findall(r"^\| `(\w+)` \| \(([^)]*)\) \| (\w+) \|", section, re.MULTILINE)
    sizes = {"V": 3, "P": 4, "I": 72, "O": 20}
    with np.load(tmp_path / "one" / "currents.npz") as arrays:
        assert {name for name, _, _ in rows} == set(arrays)
        for name, letters, kind in rows:
            assert arrays[name].shape == tuple(sizes[letter] for letter in re.findall(r"\w", letters)), name
            assert arrays[name].dtype == kind, name
