"""`attribute`: an array without any cause loses nothing, and switching affects only the named causes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from norsim.chip.load import choose_chip
from norsim.chip.model import Chip
from norsim.experiments.factors import FACTORS, factors_of, settings_with
from tests.commands.conftest import Run

# Of one layer, because the simulator is swept for each layer and encoding; `make soak` takes the shipped network too.
NETWORKS = [
    pytest.param("linear_digits", id="one layer"),
    pytest.param("digits-cnn", id="three layers", marks=pytest.mark.soak),
]


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> list[object]:
    """The options for a network of digits."""
    if request.param == "digits-cnn":
        return ["--network", "digits-cnn"]
    return ["--network", request.getfixturevalue(request.param), "--trust-model", "--dataset", "digits"]


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_losses_by_cause(norsim: Run, tmp_path: Path, network: list[object], encoding: str) -> None:
    options = [*network, "--images", 60, "--encoding", encoding, "--set", "adc.bits=1"]
    ended = norsim("attribute", *options, "--out", tmp_path / "run", "--json")
    assert ended.code == 0
    found = ended.json
    straps = ["straps"] if encoding == "bit-serial" else []
    assert [share["name"] for share in found["shares"]] == [*FACTORS["causes"], *straps]
    assert abs(found["base"]["points"]) < 2  # one image of 60 is 1.7 points
    assert found["array"]["points"] == pytest.approx(
        found["base"]["points"] + sum(share["alone"]["points"] for share in found["shares"]) + found["remainder_points"]
    )
    converter = next(share for share in found["shares"] if share["name"] == "converter")
    assert converter["alone"]["points"] > 0 and converter["without"]["points"] > 0  # 1 bit
    assert converter["shapley"]["points"] > 0 and converter["cross_entropy"]["ci95"][0] > 0
    assert found["array"]["points"] - found["base"]["points"] == pytest.approx(
        sum(share["shapley"]["points"] for share in found["shares"])
    )
    assert found["exact"] and found["orders"] == (120 if straps else 24)
    assert found["margin_points"] == 1 and "adds_up" not in found
    low, high = found["remainder"]["ci95"]
    assert found["verdict"] != "adds up" or -1 < low < high < 1
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["shares"] == found["shares"]


def test_losses_by_layer(norsim: Run, tmp_path: Path) -> None:
    """Forty images do not decide about a point, but about 20."""
    options = ["--network", "digits-cnn", "--images", 40, "--by", "layers"]
    for margin, verdict in ((1, "inconclusive"), (20, "adds up to the total")):
        ended = norsim("attribute", *options, "--margin", margin, "--overwrite", "--out", tmp_path / "run")
        assert ended.code == 0
        said = " ".join(ended.out.split())
        for text in ("conv1", "conv2", "fc", "quantization", "cross-entropy", "all 6 orders", verdict):
            assert text in said


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_a_chip_is_unchanged_with_all_causes_and_ideal_with_none(encoding: str) -> None:
    causes = factors_of("causes", choose_chip("etox65", (), encoding).chip)
    assert ("straps" in causes) == (encoding == "bit-serial")

    def chip_with(*on: str) -> Chip:
        wires = f"{encoding.replace('-', '_')}.wires"
        return choose_chip("etox65", settings_with(wires, frozenset(on), causes), encoding).chip

    whole = choose_chip("etox65", (), encoding).chip
    assert chip_with(*causes) == whole
    ideal = chip_with()
    wires = ideal.wires
    assert (wires.bitline_ohms, wires.bitline_end_ohms, wires.source_end_ohms) == (0, 0, 0)
    assert wires.source_ohms <= 1e-3 and not wires.has_strap_metal
    assert ideal.adc_bits == 24 and ideal.cell.subcircuit == "linear"
    assert chip_with("cell").cell == whole.cell


def test_straps_with_a_resistance_are_a_cause(norsim: Run, tmp_path: Path) -> None:
    metal = [f"bit_serial.wires.{text}" for text in ("strap_ends=one", "strap=0.4 ohm", "ground=20 ohm")]
    whole = choose_chip("etox65", metal).chip
    causes = factors_of("causes", whole)
    assert list(causes) == [*FACTORS["causes"], "straps"]

    def chip_with(*on: str) -> Chip:
        return choose_chip("etox65", [*metal, *settings_with("bit_serial.wires", frozenset(on), causes)]).chip

    assert chip_with(*causes) == whole
    assert not chip_with(*set(causes) - {"straps"}).wires.has_strap_metal
    assert chip_with("straps").wires.has_strap_metal
    options = ["--network", "digits-cnn", "--images", 40, *(word for text in metal for word in ("--set", text))]
    ended = norsim("attribute", *options, "--dry-run", "--json")
    assert ended.code == 0, ended.err


def test_the_sense_path_and_the_time_of_a_read_are_causes(norsim: Run, tmp_path: Path) -> None:
    """On one layer: a short read behind a slow line costs accuracy, and attribution finds and reports it."""
    slow = (
        "sense.amplifier=transimpedance", "sense.feedback=20 kohm", "sense.gain=200", "sense.multiplexer=50 ohm",
        "sense.global_farads=20 pF", "sense.offset=1 mV", "sense.read_time=1 ns", "calibration.column_fit=false",
    )  # fmt: skip
    whole = choose_chip("etox65-ideal-straps", slow).chip
    causes = factors_of("causes", whole)
    assert list(causes) == [*FACTORS["causes"], "sensing", "read time"]

    def chip_with(*on: str) -> Chip:
        return choose_chip(
            "etox65-ideal-straps", [*slow, *settings_with("bit_serial.wires", frozenset(on), causes)]
        ).chip

    assert chip_with(*causes) == whole
    plain = choose_chip("etox65-ideal-straps", ()).chip
    ideal = chip_with(*set(causes) - {"sensing", "read time"})
    assert ideal.wires == plain.wires and ideal.costs == plain.costs and not ideal.sensing.has_offset
    assert chip_with("sensing").sensing.read_seconds is None and chip_with("read time").sensing.read_seconds == 1e-9
    assert list(factors_of("causes", chip_with("read time"))) == [*FACTORS["causes"], "read time"]


def test_mitigations_on_a_bad_chip(norsim: Run, tmp_path: Path, network: list[object]) -> None:
    """Long source lines of bare diffusion: accuracy collapses, and programming in place recovers it."""
    bad = ["--set", "bit_serial.wires.source_line=1 kohm", "--images", 60, "--chip", "etox65-stress"]
    ended = norsim("attribute", *network, "--by", "cures", *bad, "--out", tmp_path / "run", "--json")
    assert ended.code == 0, ended.err
    found = {share["name"]: share for share in ended.json["shares"]}
    assert list(found) == ["column fit", "programming in place", "row order"]
    assert ended.json["base"]["points"] > 10 > ended.json["array"]["points"] + 5
    assert found["programming in place"]["alone"]["points"] < -5
    assert found["programming in place"]["without"]["points"] <= 0


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_row_order_permutes_lines_but_not_the_integers(norsim: Run, tmp_path: Path, encoding: str) -> None:
    layer = ["run-layer", "--network", "digits-cnn", "--layer", "fc", "--tile", "0,0", "--vectors", 3]
    both = []
    for name, order in (("plain", "false"), ("ordered", "true")):
        words = ["--encoding", encoding, "--set", f"tile.row_order={order}", "--backend", "nodal"]
        assert norsim(*layer, *words, "--out", tmp_path / name).code == 0
        both.append(np.load(tmp_path / name / "currents.npz"))
    plain, ordered = both
    assert np.array_equal(plain["mac_ideal"], ordered["mac_ideal"])
    assert not np.array_equal(plain["weights"], ordered["weights"])
    assert np.array_equal(np.sort(plain["weights"], axis=0), np.sort(ordered["weights"], axis=0))
    loads = ordered["weights"].astype(int).sum(axis=1)
    pairs = loads[: len(loads) // 2 * 2].reshape(-1, 2).sum(axis=1)
    before = plain["weights"].astype(int).sum(axis=1)[: len(loads) // 2 * 2].reshape(-1, 2).sum(axis=1)
    if encoding == "bit-serial":
        assert np.ptp(pairs) < np.ptp(before)
    else:
        assert (np.diff(loads) <= 0).all()


def test_pulses_neighbours_and_read_disturb_are_causes() -> None:
    disturbed = (
        "silicon.pulses={step: 50 mV}", "neighbours.rows=100", "neighbours.idle_rows=true", "silicon.reads=1e6",
        "silicon.read_disturb=1 nV",
    )  # fmt: skip
    whole = choose_chip("etox65-ideal-straps", disturbed).chip
    causes = factors_of("causes", whole)
    names = ["pulses", "neighbours", "read disturb"]
    assert list(causes) == [*FACTORS["causes"], *names]

    def chip_with(*on: str) -> Chip:
        return choose_chip(
            "etox65-ideal-straps", [*disturbed, *settings_with("bit_serial.wires", frozenset(on), causes)]
        ).chip

    assert chip_with(*causes) == whole
    plain, ideal = choose_chip("etox65-ideal-straps", ()).chip, chip_with(*FACTORS["causes"])
    assert ideal.pulses is None and ideal.neighbours == plain.neighbours and ideal.cell == plain.cell
    for name in names:
        assert list(factors_of("causes", chip_with(name, *FACTORS["causes"]))) == [*FACTORS["causes"], name]
