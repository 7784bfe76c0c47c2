"""`cell check`: numbers that can be calculated by hand, its files, and unsuitable cells."""

from __future__ import annotations

import csv
import json
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from norsim.cell_check.check import CellCheck, check, small_tile
from norsim.cell_check.curves import Curves
from norsim.cell_check.findings import Finding, monotone
from norsim.chip.load import load_chip, presets
from norsim.paths import models_folder
from norsim.periphery.programming import Levels
from tests.commands.conftest import Run

SAME_CARD = "card of a programmed cell against a shifted erased one"


@lru_cache
def checked(chip: str, *settings: str) -> tuple[CellCheck, dict[str, Finding]]:
    """Return the check of a chip, and its findings by name."""
    found = check(load_chip(chip, settings))
    return found, {finding.name: finding for finding in found.findings}


@pytest.mark.parametrize("chip", ["etox65", "bsim3", "square-law", "reram"])
def test_cells_that_come_with_norsim_are_suitable(chip: str) -> None:
    found, findings = checked(chip)
    assert found.ok, found.findings
    assert (findings["nodal against ngspice on 32 x 32 cells"].value or 1) <= 1e-5
    assert (findings["characterisation"].value or 1) <= 1e-8
    assert found.levels is not None and found.levels.worst_error < 1e-6 if chip != "reram" else True
    assert set(found.seconds) == {"ngspice_a_cell", "characterisation", "nodal_a_cell"}
    assert found.warnings == []


def test_the_numbers_of_a_resistor_agree_with_hand_calculation() -> None:
    """0.1 uS to 10 uS, linear in the threshold of 0 V to 1 V, behind 2 kohm, at 0.2 V; levels 0.107 uA apart."""
    _, findings = checked("reram")
    assert findings["current of an erased cell"].value == pytest.approx(0.2 / 102e3, rel=1e-6)
    assert findings["on/off ratio"].value == pytest.approx((1e7 + 2e3) / (1e5 + 2e3), rel=1e-6)
    siemens = 1 / (0.2 / 1.6e-6 - 2e3)
    assert findings["threshold of the top level"].value == pytest.approx((10e-6 - siemens) / 9.9e-6, abs=1e-4)
    assert findings["code 0 is off by"].value == pytest.approx(0.2 / 10.002e6 / (1.6e-6 / 15), rel=1e-6)
    assert findings["temperature slope of the middle level"].value == pytest.approx(0, abs=1e-9)


def test_the_numbers_of_a_square_law_agree_with_hand_calculation() -> None:
    """The top level is in the linear region: kp W/L ((vgs - vt) vds - vds^2 / 2) (1 + lambda vds)."""
    _, findings = checked("square-law")
    over = 1.6e-6 / (60e-6 / 5 * 0.5 * (1 + 0.05 * 0.5)) + 0.5 / 2
    assert findings["threshold of the top level"].value == pytest.approx(2.4 - over, abs=1e-4)
    slope = findings["subthreshold slope"]
    assert slope.value is not None and slope.value < 59.6 and "below threshold" in slope.advice


def test_the_slope_of_a_transistor_scales_with_temperature() -> None:
    """Below threshold, BSIM3's current is exp(V / n kT/q), so the slope is nearly proportional to the temperature."""
    warm, cold = (checked("bsim3", *of)[1]["subthreshold slope"].value or 0 for of in ((), ("temperature=-23 degC",)))
    assert warm > 1e3 * math.log(10) * 0.025865
    assert cold / warm == pytest.approx(250.15 / 300.15, rel=0.05)


@pytest.mark.parametrize(
    ("chip", "setting", "name", "advice"),
    [
        ("bsim3", "bit_serial.top_level=30 uA", "current of an erased cell", "lower bit_serial.top_level to 9.7e-06 A"),
        ("bsim3", "bit_serial.top_level=30 uA", "levels found", "cannot be programmed"),
        ("bsim3", "cell.state_programmed=1.30 V", "code 0 is off by", "raise cell.programmed"),
        ("reram", "cell.state_programmed=20 uS", "current falls with rising threshold, except by", "swap"),
        (
            "bsim3",
            "cell.state_erased=-2.2 V",
            "leakage of 256 unselected cells",
            "at 0 V on the gate: raise cell.erased",
        ),
        ("bsim3", "cell.pins=[source, gate, gate, drain]", "current lost through gate and bulk", "ngspice backend"),
    ],
)
def test_unsuitable_cells_fail_with_advice(chip: str, setting: str, name: str, advice: str) -> None:
    found, findings = checked(chip, setting)
    assert not found.ok and findings[name].ok is False and advice in findings[name].advice, findings


# Electrons above the threshold, holes far below it, as in a ferroelectric transistor; `sign` -1 gives a p channel.
TWO_BRANCHES = """* two.sp
.subckt two d g s b vt=0
Bcell d s I={sign}*1e-6*(ln(1+exp((v(g,s)-{{vt}})/0.1))+{holes}*ln(1+exp(({{vt}}-1.2-v(g,s))/0.1)))*tanh(v(d,s)/0.05)
.ends two
"""


@pytest.mark.parametrize(
    ("sign", "holes", "ends", "name", "advice"),
    [
        ("1", "1", ("0 V", "1.9 V"), "leakage of 256 unselected cells", "ambipolar"),
        ("-1", "0", ("0 V", "1.9 V"), "current of an erased cell", "mirror a p-channel cell"),
        ("1", "0", ("1.9 V", "0 V"), "current of an erased cell", "a programmed cell conducts more"),
    ],
)
def test_cells_of_other_physics_are_recognised(
    tmp_path: Path, sign: str, holes: str, ends: tuple[str, str], name: str, advice: str
) -> None:
    (tmp_path / "two.sp").write_text(TWO_BRANCHES.format(sign=sign, holes=holes))
    content = yaml.safe_load(presets()["square-law"].read_text())
    content["cell"] = {"netlist": "two.sp", "subcircuit": "two", "state": "vt", "erased": "0 V", "programmed": "1.9 V",
                       "state_erased": ends[0], "state_programmed": ends[1]}  # fmt: skip
    content["bit_serial"] |= {"top_level": "10 uA"}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(content))
    _, findings = checked(str(tmp_path / "two.yaml"))
    assert findings[name].ok is False and advice in findings[name].advice, findings


def test_the_place_where_a_current_is_not_monotone_is_reported() -> None:
    """A cell with two states in its window: the volts between which it switches from one to the other."""
    volts = np.linspace(0, 1, 11)
    snapping = 1e-6 * (1 - volts + 0.3 * (volts > 0.45))
    still, gates = np.full((16, 3), 1e-6), np.array([0.0, 0.5, 1.0])
    curves = Curves((1.0, 1.0), np.linspace(0, 1, 16), gates, still, gates, still, volts, snapping)
    threshold, drain, gate = monotone(curves, (0.0, 1.0), 1e-6)
    assert threshold.value == pytest.approx(0.2) and "between 0.4 V and 0.5 V" in threshold.advice
    assert drain.ok and gate.advice == ""


def test_linear_pair_is_judged_by_its_own_levels() -> None:
    found, findings = checked("etox65", "encoding=linear-pair")
    assert found.ok and found.levels is not None
    assert found.levels.target_amps[0] == pytest.approx(0.3e-6)
    # All wordlines are biased, so there are no unselected ones.
    assert not any("unselected" in name for name in findings)


def test_the_command_writes_curves_levels_and_findings(norsim: Run, tmp_path: Path) -> None:
    """It also compares the card of a programmed cell: here 59.5 uA/V2 instead of 60."""
    ended = norsim("cell", "check", "--chip", "square-law", "--out", tmp_path, "--json")
    assert ended.code == 0, ended.err
    (card,) = (finding for finding in ended.json["findings"] if finding["name"] == SAME_CARD)
    assert card["ok"] and card["value"] == pytest.approx(60 / 59.5 - 1, rel=1e-4)
    kept = json.loads((tmp_path / "summary.json").read_text())
    assert kept == {key: value for key, value in ended.json.items() if key not in ("seconds", "out")}
    assert [set(level) for level in kept["levels"]] == [{"code", "threshold_volts", "target_amps", "amps"}] * 16
    with open(tmp_path / "curves.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    # 16 levels over gate and drain; at the volts of the read they conduct their target currents.
    assert sum(row["curve"] != "threshold" for row in rows) == 2 * 16 * 121
    read = [row for row in rows if float(row["gate_volts"]) == 2.4 and float(row["drain_volts"]) == 0.5 and row["code"]]
    assert [float(row["amps"]) for row in read if row["code"] == "15"] == pytest.approx([1.6e-6] * len(read[::16]))
    drawn = (tmp_path / "iv.svg").read_text()
    assert drawn.startswith("<?xml") and "threshold, V, at 2.4 V and 0.5 V</text>" in drawn and "currentColor" in drawn
    assert norsim("runs", "verify", tmp_path).code == 0


def test_the_command_fails_with_advice(norsim: Run, tmp_path: Path) -> None:
    """The threshold of the programmed cell's card differs from the chip file."""
    ended = norsim(
        "cell", "check", "--chip", "square-law", "--set", "cell.programmed=2.2 V", "--out", tmp_path, "--quiet"
    )
    assert ended.code == 5 and SAME_CARD in ended.err
    assert "FAILS" in ended.out and f"! {SAME_CARD}: at" in ended.out and "they differ" in " ".join(ended.out.split())
    assert not json.loads((tmp_path / "summary.json").read_text())["ok"]


@pytest.mark.parametrize("chip", ["etox65", "bsim3", "square-law", "reram"])
def test_digits_are_classified_on_arrays_of_each_cell(norsim: Run, tmp_path: Path, chip: str) -> None:
    ended = norsim(
        "eval-network", "--network", "digits-cnn", "--chip", chip, "--images", 60, "--out", tmp_path, "--json"
    )
    assert ended.code == 0, ended.err
    assert ended.json["accuracy"] >= ended.json["accuracy_quantized"] - 0.05 and ended.json["accuracy_quantized"] > 0.9
    assert ended.json["verification"]["samples"] > 0
    assert ended.json["verification"]["max_error_full_scale"] < 1e-4


@pytest.mark.parametrize("bits", [2, 8])
def test_the_small_tile_is_read_up_to_the_full_drain_volts(bits: int) -> None:
    """Codes are as wide as the DAC: others would leave its range, or the larger part of it out."""
    chip = load_chip("etox65", ("encoding=linear-pair", f"linear_pair.dac_bits={bits}"))
    levels = Levels(np.linspace(6.0, 3.0, 16), *[chip.encoding.level_amps] * 2)
    _, stimulus, outputs = small_tile(chip, levels)
    assert outputs == 16 and 0.9 * 0.05 < stimulus.bitline_volts.max() <= 0.05 * (1 + 1e-12)


@pytest.mark.parametrize("volts", [3.0, 2.3])
def test_the_card_of_a_programmed_cell_at_both_voltages(norsim: Run, tmp_path: Path, volts: float) -> None:
    """Level 1 by hand: an erased cell of 1 V read at 2.5 V, and a card of `volts` that stands for the one of 3 V."""
    (tmp_path / "cards.sp").write_text(f".model e nmos vto=1 kp=1e-5\n.model p nmos vto={volts} kp=1e-5\n")
    chip = yaml.safe_load((models_folder() / "chips" / "square-law.yaml").read_text())
    chip["cell"] = {
        "models": ["cards.sp"], "model": "e", "programmed_as": "p", "erased": "1 V", "programmed": "3 V",
        "instance": {"w": "1u", "l": "1u"},
    }  # fmt: skip
    chip["bit_serial"] |= {"wordline_read": "2.5 V", "bitline_read": "0.5 V", "top_level": "1.5 uA"}
    (tmp_path / "chip.yaml").write_text(yaml.safe_dump(chip))
    ended = norsim("cell", "check", "--chip", tmp_path / "chip.yaml", "--out", tmp_path / "out", "--json", "-q")
    found = {one["name"]: one for one in ended.json["findings"]}
    over, read = found[SAME_CARD], found["card of a programmed cell at the read"]
    shifted, card = (1e-5 * ((4.5 - vt) * 0.5 - 0.5**2 / 2) for vt in (3.0, volts))
    assert over["value"] == pytest.approx(1 - shifted / card, rel=1e-4, abs=1e-6)
    assert "at 4.5 V on the gate" in over["advice"] and "2.5 V on the gate and 0.5 V at the drain" in read["advice"]
    assert read["value"] == pytest.approx(max(2.5 - volts, 0) ** 2 / 2 * 1e-5 / (1.5e-6 / 15), rel=1e-3, abs=1e-4)
    assert read["ok"] is over["ok"] is (volts == 3.0)
