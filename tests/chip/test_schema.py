"""A new encoding needs only its file and a line in the registry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from norsim.chip.load import load_chip, presets
from norsim.errors import ConfigurationError
from norsim.periphery.bit_serial import BitSerial, BitSerialSection
from norsim.periphery.registry import ENCODINGS


@dataclass(frozen=True)
class Other(BitSerial):
    """Bit-serial under another name."""

    name = "one-more"


class OtherSection(BitSerialSection):
    """Its section of a chip file."""

    kind = Other


def test_a_section_makes_its_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENCODINGS, Other.name, OtherSection)
    content = yaml.safe_load(presets()["etox65"].read_text())
    path = tmp_path / "chip.yaml"
    section = {**content["bit_serial"], "top_level": "0.8 uA", "wordline_rise": "1 ns"}
    path.write_text(json.dumps({**content, "encoding": "one-more", "one_more": section}))
    chip = load_chip(path, ("one_more.wires.bitline=3 ohm",))
    assert isinstance(chip.encoding, Other) and chip.encoding.name == "one-more"
    assert chip.encoding.top_amps == pytest.approx(0.8e-6) and chip.wordline_rise_seconds == pytest.approx(1e-9)
    assert chip.wires.bitline_ohms == 3.0
    assert load_chip(path, ("encoding=bit-serial",)).wordline_rise_seconds is None
    path.write_text(json.dumps({**content, "encoding": "one-more"}))
    with pytest.raises(ConfigurationError, match="no section `one_more`"):
        load_chip(path)


def test_a_linear_pair_has_no_key_for_rising_wordlines() -> None:
    with pytest.raises(ConfigurationError, match="wordline_rise"):
        load_chip("etox65", ("linear_pair.wordline_rise=1 ns",))
