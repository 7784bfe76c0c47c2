"""`cell fit`: its files, its exit codes, and its cell on an array."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from norsim.array.tile import Stimulus, Tile
from norsim.backends.programming import program_levels
from norsim.cell_check.check import check
from norsim.chip.load import load_chip
from tests.cell_fit.synthetic import mdm, table
from tests.commands.conftest import Run


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of curves with 1 nA of noise."""
    path = tmp_path_factory.mktemp("measured") / "curves.mdm"
    path.write_text(mdm(1e-9))
    return path


def test_the_command_writes_the_cell_and_what_it_is_worth(norsim: Run, measured: Path, tmp_path: Path) -> None:
    out = tmp_path / "fit"
    ended = norsim("cell", "fit", measured, "--name", "flash", "--max-error", 1, "--out", out, "--json")
    assert ended.code == 0, ended.err
    kept = json.loads((out / "summary.json").read_text())
    assert kept == {key: value for key, value in ended.json.items() if key != "out"}
    assert kept["cell"] == "flash" and kept["coupling"] == {"gate": 0.6, "drain": 0.08, "source": 0.12}
    assert kept["halves"]["judged"]["median"] < 0.01 and kept["netlist_difference"] < 1e-9
    page = (out / "report.html").read_text()
    assert all(sentence.split(":")[0].replace("'", "&#39;") in page for sentence in kept["sentences"])
    assert all(f'data-figure="{name}"' in page for name in ("curves", "residuals", "region"))
    assert "LSB" in (out / "residuals.svg").read_text() and "reads, programmed to erased" in page
    with open(out / "points.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == kept["points"] == 15 * 19
    on = [row for row in rows if row["on_region"] == "1" and row["half"] == "judged"]
    errors = [abs(float(row["fitted_amps"]) / float(row["measured_amps"]) - 1) for row in on]
    assert float(np.median(errors)) == pytest.approx(kept["halves"]["judged"]["median"])
    assert norsim("runs", "verify", out).code == 0
    again = norsim("cell", "fit", measured, "--name", "flash", "--out", tmp_path / "again", "--quiet")
    assert again.code == 0 and "of the 8 fitted curves" in again.out
    for name in ("flash.sp", "flash.va", "flash.yaml", "points.csv", "curves.svg", "report.html"):
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_the_fitted_cell_is_programmed_and_read(norsim: Run, measured: Path, tmp_path: Path) -> None:
    assert norsim("cell", "fit", measured, "--all-curves", "--out", tmp_path, "--quiet").code == 0
    chip = load_chip(tmp_path / "fitted.yaml")
    levels = program_levels(chip.cell, chip.encoding)
    # A programmed cell still conducts 0.05 steps; all other levels are met.
    off = np.abs(levels.achieved_amps - levels.target_amps) / levels.target_amps.max()
    assert off[0] < 0.06 / 15 and off[1:].max() < 1e-6
    inside = (levels.thresholds >= chip.cell.erased_volts) & (levels.thresholds <= chip.cell.programmed_volts)
    assert inside.all()
    from norsim import read

    random = np.random.default_rng(0)
    tile = Tile(levels.thresholds[random.integers(0, 16, (4, 4))], chip.cell, chip.wires)
    gate, drain = chip.encoding.verify_volts
    stimulus = Stimulus(gate * random.integers(0, 2, (3, 4)), np.full((3, 4), drain))
    by_nodal, by_ngspice = (read(tile, stimulus, backend=name).bitline for name in ("nodal", "ngspice"))
    np.testing.assert_allclose(by_nodal, by_ngspice, atol=1e-7 * by_ngspice.max())


@pytest.mark.soak
def test_the_fitted_cell_passes_its_check_and_classifies_digits(norsim: Run, measured: Path, tmp_path: Path) -> None:
    """A smaller proof of the same is in the test above."""
    assert norsim("cell", "fit", measured, "--out", tmp_path / "fit", "--quiet").code == 0
    chip = tmp_path / "fit" / "fitted.yaml"
    found = check(load_chip(chip))
    assert found.ok, found.findings
    ended = norsim("eval-network", "--network", "digits-cnn", "--chip", chip, "--images", 60, "--tolerance", 1e-4,
                   "--out", tmp_path / "network", "--json")  # fmt: skip
    assert ended.code == 0, ended.err
    assert ended.json["accuracy"] >= ended.json["accuracy_quantized"] - 0.05


def test_a_bound_that_is_not_met_ends_with_code_5(norsim: Run, measured: Path, tmp_path: Path) -> None:
    ended = norsim("cell", "fit", measured, "--max-error", 1e-6, "--out", tmp_path, "--quiet")
    assert ended.code == 5 and "above --max-error 1e-06 %" in ended.err
    assert (tmp_path / "fitted.sp").is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--coupling", "0.6,0.1"), "--coupling '0.6,0.1': expected the shares of gate, drain and source"),
        (("--coupling", "0.9,0.2,0.1"), "is not that of capacitors"),
        (("--temperature", "27"), "--temperature '27': expected a quantity such as '27 degC'"),
        (("--noise", "5 V"), "--noise '5 V': expected a quantity such as '5 nA'"),
        (("--name", "1st"), "--name '1st': expected lower-case letters"),
        (("--name", "norsim_x"), "starts with norsim_"),
    ],
)
def test_invalid_options_are_refused(
    norsim: Run, measured: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    ended = norsim("cell", "fit", measured, *options, "--out", tmp_path / "out")
    assert ended.code == 2 and said in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (",ID", ",IS", "line 1: no column for the drain current"),
        ("\n0.1,0.1,0.0,s0,300.15,", "\n0.1,0.1,0.0,s0,", "line 3: 5 values; expected 6"),
        ("\n0.1,0.1,", "\nnan,0.1,", "line 3: VG is 'nan'"),
        (",300.15,", ",-5,", "line 2: the temperature is -5 K"),
    ],
)
def test_damaged_files_end_with_code_2_and_one_line(norsim: Run, tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "a.csv"
    assert old in table()
    path.write_text(table().replace(old, new))
    ended = norsim("cell", "fit", path, "--out", tmp_path / "out", "--quiet")
    assert ended.code == 2 and said in ended.err and str(path) in ended.err
    assert ended.err.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()
