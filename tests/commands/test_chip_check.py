"""`chip check`: every encoding of a chip file, without a network."""

from __future__ import annotations

import pytest

from norsim.cell_check import findings
from norsim.chip.load import load_chip
from tests.commands.conftest import Run


def test_a_preset_is_suitable_in_each_of_its_encodings(norsim: Run) -> None:
    ended = norsim("chip", "check", "etox65")
    assert ended.code == 0 and "FAILS" not in ended.out
    for name in ("bit-serial", "linear-pair", "pulse-width", "gate-coupled"):
        assert f"ok    {name}: levels found 16 " in ended.out
    assert "ok    linear-pair: current of a programmed cell" in ended.out


@pytest.mark.parametrize(
    ("setting", "code", "message"),
    [
        ("linear_pair.top_level=9 uA", 5, "linear-pair: current of an erased cell"),
        ("linear_pair.base_level=0.3 furlong", 2, "furlong"),
        ("adc.range=[-1 A, 1 A]", 5, "bit-serial: converter step"),
    ],
)
def test_what_is_unsuitable_is_named(norsim: Run, setting: str, code: int, message: str) -> None:
    ended = norsim("chip", "check", "etox65", "--set", setting, "--json")
    assert ended.code == code and message in ended.err
    if code == 5:
        failing = [f"{one['encoding']}: {one['name']}" for one in ended.json["findings"] if one["ok"] is False]
        assert message in failing and ended.json["ok"] is False


def test_a_base_level_out_of_reach_comes_first() -> None:
    encoding = load_chip("etox65", ("encoding=linear-pair",)).encoding
    first, second = findings.reach(2e-6, 5e-7, encoding)
    assert first.name == "current of a programmed cell" and first.ok is False
    assert "raise linear_pair.base_level to 5.5e-07 A or more" in first.advice
    assert second.ok
    assert len(findings.reach(2e-6, 0.0, load_chip("etox65").encoding)) == 1
