"""Keys of earlier versions: an error names the present key, wherever the earlier one stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from norsim.chip.load import load_chip, read_chip_file
from norsim.chip.renamed import CHANGED, LAWS, RENAMED, check_laws
from norsim.chip.schema import chip_file
from norsim.configuration.section import section_of
from norsim.errors import ConfigurationError


def exists(key: str) -> bool:
    """Return whether a chip file can have the dotted key."""
    model: Any = chip_file()
    for name in key.split("."):
        if model is None or name not in model.model_fields:
            return False
        model = section_of(model.model_fields[name].annotation)
    return True


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_renamed_key_is_gone_and_its_new_name_is_there(old: str, new: str) -> None:
    assert exists(new) and not exists(old)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_chip_file_with_a_renamed_key_is_answered_with_its_new_name(tmp_path: Path, old: str, new: str) -> None:
    content, _ = read_chip_file("etox65")
    inner = content
    *sections, name = old.split(".")
    for section in sections:
        inner = inner.setdefault(section, {})
    inner[name] = "5 mV"
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigurationError, match=f"{path}: the key {old} is now {new}"):
        load_chip(path)


def test_a_renamed_key_that_is_null_is_answered_too(tmp_path: Path) -> None:
    content, _ = read_chip_file("etox65")
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump({**content, "bit_serial": {**content["bit_serial"], "settle": None}}))
    with pytest.raises(ConfigurationError, match="the key bit_serial.settle is now bit_serial.wordline_rise"):
        load_chip(path)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_setting_of_a_renamed_key_is_answered_with_its_new_name(old: str, new: str) -> None:
    section, _, name = old.rpartition(".")
    for settings in ([f"{old}=5 mV"], {old: "5 mV"}, [f"{section}={{{name}: 5 mV}}"]):
        with pytest.raises(ConfigurationError, match=f"the key {old} is now {new}"):
            load_chip("etox65", settings)


@pytest.mark.parametrize("key", CHANGED)
def test_a_changed_law_is_refused_for_the_runs_before_it_alone(key: str) -> None:
    since, how = CHANGED[key]
    assert exists(key) and 0 < since <= LAWS
    content: dict[str, Any] = {"silicon": {key.partition(".")[2]: "anything"}}
    with pytest.raises(ConfigurationError, match=rf"runs/old: the law of {key} has changed .*make the run again"):
        check_laws(content, since - 1, "runs/old")
    check_laws(content, since, "runs/old")
    check_laws({"silicon": {"time": "1 day"}}, 0, "runs/old")
    assert how
