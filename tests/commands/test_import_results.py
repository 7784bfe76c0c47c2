"""Imported currents give the same result as run-layer, and are compared with norsim's own."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from norsim.array.tile import Floats
from norsim.paths import netlists_folder
from norsim.spice.rawfile import read_raw
from tests.commands.conftest import Run
from tests.spice.results.written import FORMATS

OPTIONS = ["--network", "digits-cnn", "--layer", "fc", "--tile", "1,0", "--vectors", 2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder where decks are built and solved once."""
    return tmp_path_factory.mktemp("built")


@pytest.fixture(params=["bit-serial", "linear-pair"])
def deck(norsim: Run, tmp_path: Path, built: Path, request: pytest.FixtureRequest) -> Path:
    """Return a folder of build-netlist, with ngspice's raw file."""
    made = built / request.param
    if not made.exists():
        assert norsim("build-netlist", *OPTIONS, "--encoding", request.param, "--out", made).code == 0
        subprocess.run(["ngspice", "-n", "-b", "tile.cir"], cwd=made, check=True, capture_output=True)
    return shutil.copytree(made, tmp_path / "deck")


def by_hand(folder: Path) -> tuple[list[str], Floats]:
    """Return the names of all ammeters of a deck, and their currents from ngspice."""
    description = json.loads((folder / "tile.json").read_text())
    sources = (
        ["i(vret)"] if description["encoding"] == "bit-serial" else [f"i(vsl{k})" for k in range(description["rows"])]
    )
    names = [*(f"i(vbl{j})" for j in range(description["columns"])), *sources]
    return names, read_raw(folder / "currents.raw", names, len(description["points"]))


@pytest.mark.slow
def test_the_raw_file_of_a_deck_gives_the_result_of_run_layer(norsim: Run, deck: Path, tmp_path: Path) -> None:
    encoding = json.loads((deck / "tile.json").read_text())["encoding"]
    ended = norsim("import-results", deck, deck / "currents.raw", "--json")
    assert ended.code == 0 and ended.json["format"] == "ngspice raw file" and ended.json["against"] is None
    assert norsim("run-layer", *OPTIONS, "--encoding", encoding, "--out", tmp_path / "run").code == 0
    with np.load(deck / "currents.npz") as found, np.load(tmp_path / "run" / "currents.npz") as run:
        assert set(found.files) == set(run.files) - {"adc"}
        # run-layer solves equal reads once, so ngspice starts from other solutions.
        close = 1e-8 * np.abs(run["currents"]).max()
        np.testing.assert_allclose(found["currents"], run["currents"], rtol=0, atol=close)
        for name in ("codes", "weights", "weight_zero", "mac_ideal"):
            assert np.array_equal(found[name], run[name]), name
        # run-layer has a converter with steps and a calibration, import-results does not.
        assert np.abs(found["mac"] - found["mac_ideal"]).max() == pytest.approx(ended.json["max_mac_error"])
        assert np.corrcoef(found["mac"].ravel(), run["mac_ideal"].ravel())[0, 1] > 0.999


@pytest.mark.parametrize("format", FORMATS)
def test_files_of_other_simulators_give_the_same(norsim: Run, deck: Path, format: str) -> None:
    names, table = by_hand(deck)
    (deck / "theirs").write_text(FORMATS[format](names, table))
    compared(norsim, deck, deck / "currents.raw")


@pytest.mark.parametrize("solver", ["nodal", "ngspice", "ngspice-shared", "neospice"])
@pytest.mark.parametrize("deck", ["bit-serial"], indirect=True)
def test_results_are_compared_with_a_solver(norsim: Run, deck: Path, solver: str) -> None:
    names, table = by_hand(deck)
    (deck / "theirs").write_text(FORMATS["csdf"](names, table))
    compared(norsim, deck, solver)


def compared(norsim: Run, deck: Path, against: object) -> None:
    ended = norsim("import-results", deck, deck / "theirs", "--against", against, "--tolerance", 1e-6, "--json")
    assert ended.code == 0, ended.err
    assert 0 <= ended.json["rms_difference_full_scale"] <= ended.json["max_difference_full_scale"] < 1e-6


@pytest.mark.slow
def test_a_deck_with_gains_is_compared_with_the_solver_that_has_them(norsim: Run, tmp_path: Path) -> None:
    made, setting = tmp_path / "deck", "silicon.gain_mismatch=0.1"
    assert norsim("build-netlist", *OPTIONS, "--set", setting, "--out", made).code == 0
    subprocess.run(["ngspice", "-n", "-b", "tile.cir"], cwd=made, check=True, capture_output=True)
    (made / "theirs").write_bytes((made / "currents.raw").read_bytes())
    compared(norsim, made, "nodal")
    with np.load(made / "tile.npz") as kept:
        gains = kept["gains"]
        others = {name: kept[name] for name in kept.files if name != "gains"}
    assert gains.shape == others["thresholds"].shape and gains.std() == pytest.approx(0.1, rel=0.2)
    np.savez(made / "tile.npz", **others)
    ended = norsim("import-results", made, made / "theirs", "--against", "nodal", "--tolerance", 1e-3)
    assert ended.code == 5


def test_a_difference_is_measured_and_compared_with_the_tolerance(norsim: Run, deck: Path) -> None:
    names, table = by_hand(deck)
    description = json.loads((deck / "tile.json").read_text())
    name, sign = description["sense"][0][0]
    # Kirchhoff's law still holds: the additional current also comes out.
    other = "i(vret)" if name.startswith("i(vbl") else "i(vbl0)"
    for one in (name, other):
        table[1, names.index(one)] += 1e-3 * description["full_scale_amps"]
    (deck / "theirs.csv").write_text(FORMATS["csv"](names, table))
    ended = norsim("import-results", deck, deck / "theirs.csv", "--against", deck / "currents.raw", "--tolerance", 5e-4)
    assert ended.code == 5 and "above 0.0005" in ended.err and (deck / "currents.npz").exists()
    assert abs(sign) == 1 and "largest difference 1.0e-03 of full scale" in ended.out


def refused(norsim: Run, code: int, why: str, *arguments: object) -> None:
    ended = norsim("import-results", *arguments)
    assert ended.code == code and why in ended.err, ended.err
    assert ended.err.count("\n") == 1


BREAKS: dict[str, Callable[[Path], object]] = {
    "no tile.json": lambda deck: (deck / "tile.json").unlink(),
    "no array": lambda deck: (deck / "tile.npz").unlink(),
    "half an array": lambda deck: (deck / "tile.npz").write_bytes((deck / "tile.npz").read_bytes()[:300]),
    "another array": lambda deck: np.savez(deck / "tile.npz", codes=np.zeros(3)),
    "no chip": lambda deck: (deck / "config.resolved.yaml").unlink(),
    "not a chip": lambda deck: (deck / "config.resolved.yaml").write_text("[]"),
    "no manifest": lambda deck: (deck / "manifest.json").write_text("{}"),
    "a list": lambda deck: (deck / "tile.json").write_text("[]"),
    "no points": lambda deck: change(deck, points=[]),
    "points twice": lambda deck: change(deck, points=[[0, 0]] * 8),
    "points below": lambda deck: change(deck, points=[[-1, k] for k in range(8)]),
    "weights of another tile": lambda deck: change(deck, weights=[[1, 2]]),
    "an unknown ammeter": lambda deck: change(deck, sense=[[["i(vx)", 1]]] * 10),
    "no full scale": lambda deck: change(deck, full_scale_amps=0),
}


def change(deck: Path, **keys: object) -> None:
    description = json.loads((deck / "tile.json").read_text())
    (deck / "tile.json").write_text(json.dumps(description | keys))


@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS.keys())
@pytest.mark.parametrize("deck", ["bit-serial"], indirect=True)
def test_a_damaged_folder_ends_in_2(norsim: Run, deck: Path, broken: Callable[[Path], object]) -> None:
    broken(deck)
    refused(norsim, 2, str(deck), deck, deck / "currents.raw")
    assert not (deck / "currents.npz").exists()


@pytest.mark.parametrize("deck", ["bit-serial"], indirect=True)
def test_wrong_currents_end_in_4_and_wrong_options_in_2(norsim: Run, deck: Path) -> None:
    names, table = by_hand(deck)
    table[3, 0] += 1e-6
    (deck / "theirs").write_text(FORMATS["listing"](names, table))
    refused(norsim, 4, "Kirchhoff's current law fails at point 3", deck, deck / "theirs")
    (deck / "theirs").write_text("**error** (tile.cir:3) no such model\n")
    refused(norsim, 4, "line 1: '**error**", deck, deck / "theirs")
    raw = deck / "currents.raw"
    refused(norsim, 2, "--tolerance needs --against", deck, raw, "--tolerance", 1)
    refused(norsim, 2, "expected one of ngspice, ngspice-shared", deck, raw, "--against", "macro")
    assert not (deck / "currents.npz").exists()


@pytest.mark.parametrize("dialect", ["ngspice", "hspice", "xyce"])
def test_a_deck_is_written_in_the_requested_dialect(norsim: Run, tmp_path: Path, dialect: str) -> None:
    ended = norsim("build-netlist", *OPTIONS, "--dialect", dialect, "--out", tmp_path, "--json")
    description = json.loads((tmp_path / "tile.json").read_text())
    assert ended.code == 0 and description["dialect"] == ended.json["dialect"] == dialect
    written = {"ngspice": "currents.raw", "hspice": "tile.lis", "xyce": "currents.csv"}[dialect]
    text = (tmp_path / "tile.cir").read_text()
    assert description["raw_file"] == written and written in text
    printed = {"ngspice": ".control", "hspice": ".option", "xyce": ".print dc format=csv"}[dialect]
    assert printed in text and len(description["points"]) == 8


def test_a_cell_that_another_simulator_may_interpret_differently_is_refused(norsim: Run, tmp_path: Path) -> None:
    text = (netlists_folder() / "cells" / "floating_gate.sp").read_text()
    (tmp_path / "cell.sp").write_text(text.replace("l=110n", "l=110n rgatemod=0"))
    options = [*OPTIONS, "--set", f"cell.netlist={tmp_path / 'cell.sp'}", "--trust-cell", "--out", tmp_path / "deck"]
    ended = norsim("build-netlist", *options, "--dialect", "hspice")
    assert ended.code == 2 and "line 19" in ended.err and "HSPICE has no rgatemod" in ended.err
    assert not (tmp_path / "deck").exists()
    assert norsim("build-netlist", *options).code == 0
