"""Chip files with keys that have another name now."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from norsim.chip.load import load_chip, read_chip_file
from norsim.chip.renamed import RENAMED
from norsim.chip.schema import chip_file
from norsim.configuration.section import section_of
from norsim.errors import ConfigurationError


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_key_is_an_error_that_names_the_new_one(tmp_path: Path, old: str) -> None:
    section, name = old.split(".")
    content, _ = read_chip_file("etox65")
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump({**content, section: {**content.get(section, {}), name: "1 ns"}}))
    for load in (lambda: load_chip(path), lambda: load_chip("etox65", {old: "1 ns"})):
        with pytest.raises(ConfigurationError, match=f"`{old}` has another name now; use `{RENAMED[old]}`"):
            load()


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_new_keys_exist_and_old_ones_do_not(old: str, new: str) -> None:
    for key, known in ((old, False), (new, True)):
        section, name = key.split(".")
        below = section_of(chip_file().model_fields[section].annotation)
        assert below is not None and (name in below.model_fields) == known


def test_a_chip_file_whose_section_is_no_section_keeps_its_own_error(tmp_path: Path) -> None:
    content, _ = read_chip_file("etox65")
    path = tmp_path / "odd.yaml"
    path.write_text(yaml.safe_dump({**content, "bit_serial": "settle"}))
    with pytest.raises(ConfigurationError, match="bit_serial: "):
        load_chip(path)
