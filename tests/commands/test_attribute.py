"""`attribute`: an array without any cause loses nothing, and what is switched on is what is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from norsim.commands.attribute import CAUSES, chip_with
from norsim.commands.options import choose_chip
from tests.commands.conftest import Run


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_causes_one_by_one(norsim: Run, tmp_path: Path, encoding: str) -> None:
    options = ["--network", "digits-cnn", "--images", 60, "--encoding", encoding, "--set", "adc.bits=2"]
    ended = norsim("attribute", *options, "--out", tmp_path / "run", "--json")
    assert ended.code == 0
    found = ended.json
    assert [share["name"] for share in found["shares"]] == list(CAUSES)
    assert abs(found["base"]["points"]) < 2  # an image of 60 is 1.7 points
    assert found["array"]["points"] == pytest.approx(
        found["base"]["points"] + sum(share["alone"]["points"] for share in found["shares"]) + found["remainder_points"]
    )
    converter = next(share for share in found["shares"] if share["name"] == "converter")
    assert converter["alone"]["points"] > 0 and converter["without"]["points"] > 0  # of 2 bits
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["shares"] == found["shares"]


def test_layers_one_by_one(norsim: Run, tmp_path: Path) -> None:
    options = ["--network", "digits-cnn", "--images", 40, "--by", "layers"]
    ended = norsim("attribute", *options, "--out", tmp_path / "run")
    assert ended.code == 0
    for text in ("conv1", "conv2", "fc", "quantization", "adds up"):
        assert text in ended.out


@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_a_chip_is_its_own_with_everything_on_and_ideal_with_nothing(encoding: str) -> None:
    choice = choose_chip("etox65", encoding, ())
    assert chip_with(choice, frozenset(CAUSES)) == choice.chip
    ideal = chip_with(choice, frozenset())
    wires = ideal.wires
    assert (wires.bitline_ohms, wires.bitline_end_ohms, wires.source_ohms, wires.source_end_ohms) == (0, 0, 0, 0)
    assert ideal.adc_bits == 24 and ideal.cell.subcircuit == "linear"
    assert chip_with(choice, frozenset({"cell"})).cell == choice.chip.cell
