"""Noise that is drawn for each read, in the results of commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[..., Any]

NOISE = ("--set", "silicon.reading={scale: 50 nA, knee: 100 nA}", "--set", "adc.noise=0.5")
SMALL = ("--network", "digits-cnn", "--set", "tile.wordlines=32", "--set", "calibration.reads=8", "--no-cache")


@pytest.mark.slow
def test_workers_do_not_change_the_noise(norsim: Run, tmp_path: Path) -> None:
    """The bytes of results and of kept reads, by ngspice with one and with two decks at a time."""
    few = ("eval-network", *SMALL, *NOISE, "--images", 4, "--layers", "fc", "--backend", "ngspice", "--spice-sample", 2)
    runs = {jobs: norsim(*few, "--jobs", jobs, "--out", tmp_path / str(jobs), "--json").json for jobs in (1, 2)}
    for name in ("results.csv", "samples.npz"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    assert runs[1]["verification"] == runs[2]["verification"]
    assert 0 < runs[1]["verification"]["max_error_full_scale"] < 1e-3


def test_run_layer_reads_with_noise(norsim: Run, tmp_path: Path) -> None:
    """The currents of two backends have the same noise, drawn for each vector."""
    read = ("run-layer", *SMALL, "--layer", "fc", "--tile", "0,0", "--vectors", 6)
    found = {}
    for name, backend, noise in (("a", "ngspice", NOISE), ("b", "nodal", NOISE), ("c", "ngspice", ())):
        ended = norsim(*read, "--backend", backend, *noise, "--out", tmp_path / name, "--json")
        with np.load(tmp_path / name / "currents.npz") as file:
            found[name] = file["currents"] / ended.json["full_scale_amps"]
    assert np.abs(found["a"] - found["b"]).max() < 1e-5
    noise = (found["a"] - found["c"]).reshape(6, -1)
    assert noise.std() > 1e-3 and np.abs(np.corrcoef(noise) - np.eye(6)).max() < 0.9
