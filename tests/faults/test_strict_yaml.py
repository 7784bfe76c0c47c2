"""Files and settings are strict YAML: what versions of YAML read differently, or what a key does not take, is an error.

The exit code of each error is 2, because each is a ConfigurationError.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from norsim.chip.load import load_chip, presets, read_chip_file
from norsim.commands.network.train import change_recipe
from norsim.configuration.strict_yaml import parse_yaml, read_yaml, yaml_text
from norsim.errors import ConfigurationError
from norsim.files import unique_json
from norsim.training.recipes import POST_TRAINING

PRESET = presets()["etox65"].read_text()


def changed(folder: Path, old: str, new: str) -> Path:
    assert old in PRESET
    path = folder / "own.yaml"
    path.write_text(PRESET.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("adc: {bits: 8}", "adc: {bits: 8, bits: 4}", r"adc\.bits is given twice, in lines \d+ and \d+"),
        ("adc: {bits: 8}", "adc: {bits: 8}\nadc: {bits: 4}", r"own.yaml.*: adc is given twice"),
        ("adc: {bits: 8}", "adc: {bits: 8, 'bits': 8}", r"adc\.bits is given twice"),
        ("strap_every: 16", "strap_every: 16\n    strap_every: null", r"bit_serial\.wires\.strap_every is given twice"),
        ("name: etox65", "name: etox65\n<<: {name: b}", "merge key"),
        ("wordlines: 256", "wordlines: yes", r"tile\.wordlines, line \d+: yes is true or false in some versions"),
        ("column_fit: true", "column_fit: on", r"calibration\.column_fit, line \d+: on is"),
        ("column_fit: true", "column_fit: 1", r"calibration\.column_fit: .*boolean, not 1"),
        ("column_fit: true", "column_fit: 'true'", r"calibration\.column_fit: .*boolean, not 'true'"),
        ("adc: {bits: 8}", "adc: {bits: 010}", r"adc\.bits, line \d+: 010 is an integer in some"),
        ("adc: {bits: 8}", "adc: {bits: 08}", r"adc\.bits, line \d+: 08 is"),
        ("adc: {bits: 8}", "adc: {bits: 0x8}", r"adc\.bits, line \d+: 0x8 is"),
        ("adc: {bits: 8}", "adc: {bits: 0o10}", r"adc\.bits, line \d+: 0o10 is"),
        ("adc: {bits: 8}", "adc: {bits: 1_0}", r"adc\.bits, line \d+: 1_0 is"),
        ("adc: {bits: 8}", "adc: {bits: 1:3}", r"adc\.bits, line \d+: 1:3 is"),
        ("adc: {bits: 8}", "adc: {bits: 8.0}", r"adc\.bits: .*integer, not 8\.0"),
        ("adc: {bits: 8}", "adc: {bits: '8'}", r"adc\.bits: .*integer, not '8'"),
        ("adc: {bits: 8}", "adc: {bits: true}", r"adc\.bits: .*integer, not true"),
        ("adc: {bits: 8}", "adc: {bits: 8, offset: .inf}", r"adc\.offset, line \d+: \.inf is"),
        ("adc: {bits: 8}", "adc: {bits: 8, offset: '0.5'}", r"adc\.offset: .*number, not '0\.5'"),
        ("adc: {bits: 8}", "adc: {bits: 8, offset: true}", r"adc\.offset: .*number, not true"),
        ("adc: {bits: 8}", "adc: {bits: 1e1}", r"adc\.bits: .*integer, not 10\.0"),
        ("adc: {bits: 8}", "adc: {bits: 1e999}", r"adc\.bits, line \d+: 1e999 is too large"),
        ("adc: {bits: 8}", "adc: {bits: 2020-13-45}", r"adc\.bits, line \d+: 2020-13-45 is a date"),
        ("adc: {bits: 8}", "adc: {bits: " + 5000 * "8" + "}", r"adc\.bits, line \d+: 8+\.\.\. has more than 18 digits"),
        ("adc: {bits: 8}", "adc: {bits: !!int '8'}", r"adc\.bits, line \d+: it has the tag"),
        ("adc: {bits: 8}", "adc: {bits: &a 8, shared_by: *a}", r"adc\.shared_by, line \d+: it has an alias"),
        ("adc: {bits: 8}", "adc:", r"adc, line \d+: it has no value"),
        ("adc: {bits: 8}", "adc: 8", r"adc: .*dictionary.*, not 8"),
        ("strap_every: 16", "strap_every:", r"bit_serial\.wires\.strap_every, line \d+: it has no value"),
        ("name: etox65", "name: 65", "name: .*string, not 65"),
        ("name: etox65", "1: etox65", "1 is not the name of a key"),
        ("name: etox65", "? [a]\n: b", "expected a name"),
        ("name: etox65", "name: etox65\n---\nname: b", "more than one document"),
        ("name: etox65", "\tname: etox65", "is not YAML"),
        ("name: etox65", 'name: "\\ud800"', "half of a character"),
        ("name: etox65", "name: " + 40 * "[" + 40 * "]", "more than 16 levels"),
        ("models: [etox65.lib]", "models: [{file: etox65.lib, corner: tt}]", r"unknown key 'cell\.models\.0\.corner'"),
        ("floating_gate.sp", 300 * "a", "no file 'aaa"),
    ],
)  # fmt: skip
def test_a_file_that_could_be_misread_is_refused_with_key_and_value(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load_chip(changed(tmp_path, old, new))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0), ("-2.5E-3", -0.0025), (".5", 0.5), ("+8", 8), ("0", 0), ("true", True), ("FALSE", False),
        ("~", None), ("null", None), ("n", "n"), ("'yes'", "yes"), ('"010"', "010"), ("1.6 uA", "1.6 uA"),
        ("1:2:x", "1:2:x"), ("&a 5", 5), ("[1, {a: b}]", [1, {"a": "b"}]), ("|\n  8", "8"), ("", None),
    ],
)  # fmt: skip
def test_what_all_versions_of_yaml_agree_on_is_read(text: str, value: Any) -> None:
    found = parse_yaml(text)
    assert found == value
    assert type(found) is type(value)


def test_a_byte_order_mark_is_ignored_and_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + PRESET.encode())
    assert read_yaml(path) == read_chip_file("etox65")[0]
    path.write_bytes(PRESET.encode("utf-16"))
    with pytest.raises(ConfigurationError, match="own.yaml cannot be read: .*utf-8"):
        read_yaml(path)


def test_a_resolved_chip_is_read_back_as_it_was(tmp_path: Path) -> None:
    content = read_chip_file("etox65")[0]
    for name in ("yes", "1:30", "2020-01-01", "1e3", "~", "", "=", "0x10", "no", "08", "0o7", "1_0", "-.5e1"):
        path = tmp_path / "own.yaml"
        path.write_text(yaml_text({**content, "name": name}))
        assert read_yaml(path)["name"] == name


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (["adc.bits=yes"], r"'yes' is not a YAML value: adc\.bits, .*yes is true or false"),
        (["adc={bits: 8, bits: 4}"], r"adc\.bits is given twice"),
        (["adc.bits="], "it has no value"),
        (["adc.bits=2020-13-45"], "a date"),
        ([5], "expected key=value"),
        ({"adc.bits": np.bool_(True)}, r"adc\.bits: .*integer, not true"),
        ({"adc.bits": np.float64(8)}, r"adc\.bits: .*integer, not 8\.0"),
        ({"adc.bits": np.array([8, 9])}, r"adc\.bits: .*integer, not \[8, 9\]"),
        ({"adc.offset": float("nan")}, r"adc\.offset: .*finite number, not nan"),
        ({"adc.offset": np.float32("inf")}, r"adc\.offset: .*finite number, not inf"),
        ({"cell.state_erased": 10**400}, r"cell\.state_erased: expected a finite number"),
        ({1: 8}, "expected the name of a key"),
        ({"bit_serial.bitline_read": "\uff11 V"}, "not a quantity"),
    ],
)
def test_settings_are_as_strict_as_files(settings: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load_chip("etox65", settings)


def test_numbers_of_numpy_are_taken_where_their_type_fits() -> None:
    chip = load_chip("etox65", {"adc.bits": np.int8(7), "adc.offset": np.float32(0.5), "adc.gain": np.array(0.25)})
    assert (chip.adc_bits, chip.converters.offset, chip.converters.gain) == (7, 0.5, 0.25)


def test_a_setting_below_a_section_that_is_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected keys below 'adc'"):
        load_chip(changed(tmp_path, "adc: {bits: 8}", "adc: 8"), ["adc.bits=4"])


@pytest.mark.parametrize(
    "settings", [("float_epochs=1", "float_epochs=2"), ("float_epochs=010",), ("float_epochs=2020-13-45",)]
)
def test_recipes_are_as_strict(settings: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="--recipe .*float_epochs"):
        change_recipe(POST_TRAINING, settings)


def test_a_number_is_the_text_of_a_recipe() -> None:
    recipe = change_recipe(POST_TRAINING, ("bits=8", "activation_range=99.9"))
    assert (recipe.bits, recipe.activation_range) == ("8", "99.9")


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '{"b": [{"a": 1, "a": 2}]}'])
def test_a_key_twice_in_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="'a' is given twice"):
        unique_json(text)
