"""Chip files: presets, settings, units, and errors for invalid files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from norsim.array.wires import Wires
from norsim.chip.load import load_chip, presets, read_chip_file
from norsim.chip.model import Calibration
from norsim.chip.renamed import of_stored_run
from norsim.errors import ConfigurationError
from norsim.periphery.bit_serial import BitSerial
from norsim.periphery.linear_pair import LinearPair

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def chip_file(tmp_path: Path) -> Callable[[Change], Path]:
    """Writes the preset's content, with changes, to a file in the test's folder."""

    def write(change: Change) -> Path:
        content, _ = read_chip_file("etox65")
        change(content)
        path = tmp_path / "own.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.mark.parametrize("name", ["etox65", "etox65-ideal-straps", "etox65-stress"])
@pytest.mark.parametrize("encoding", ["bit-serial", "linear-pair"])
def test_presets_load(name: str, encoding: str) -> None:
    assert name in presets()
    chip = load_chip(name, (f"encoding={encoding}",))
    assert (chip.name, chip.encoding.name, chip.wordlines, chip.bitlines) == (name, encoding, 256, 128)
    assert load_chip(presets()[name]).cell == chip.cell


NO_TIME = {f"wordline_{part}": 0.0 for part in ("ohms", "end_ohms", "farads")}
NO_TIME |= {"bitline_farads": 0.0, "source_farads": 0.0}


def test_quantities_arrive_in_si_units_and_in_their_own_place() -> None:
    settings = (
        "temperature=85 degC", "cell.erased=2900 mV", "cell.programmed=6.5 V", "adc.bits=7",
        "bit_serial.wordline_read=4800 mV", "bit_serial.bitline_read=0.4 V", "bit_serial.top_level=1400 nA",
        "mapping.scheme=digital", "bit_serial.reference_every=8",
        "bit_serial.wires.bitline=0.001 kohm", "bit_serial.wires.bitline_end=2 ohm",
        "bit_serial.wires.source_line=3 ohm", "bit_serial.wires.source_line_end=4 V/A",
        "bit_serial.wires.rows_per_source_line=4", "bit_serial.wires.strap_every=32",
        "bit_serial.wires.strap_ends=one", "bit_serial.wires.strap=20 mohm", "bit_serial.wires.ground=10 ohm",
        "tile.wordlines=64", "tile.bitlines=48",
        "calibration.images=11", "calibration.reads=12", "calibration.column_fit=false",
        "bit_serial.wires.wordline=5 ohm", "bit_serial.wires.wordline_end=6 ohm",
        "bit_serial.wires.wordline_farads=7 fF", "bit_serial.wires.bitline_farads=8 aF",
        "bit_serial.wires.source_line_farads=9 pF",
    )  # fmt: skip
    chip = load_chip("etox65", settings)
    assert (chip.wordlines, chip.bitlines, chip.adc_bits) == (64, 48, 7)
    assert chip.encoding == BitSerial(4.8, 0.4, pytest.approx(1.4e-6), "digital", 8, strap_every=32)
    metal = Wires(1.0, 2.0, 3.0, 4.0, 4, 32, strap_ends="one", strap_ohms=0.02, ground_ohms=10.0)
    assert replace(chip.wires, **NO_TIME) == metal
    assert [getattr(chip.wires, name) for name in NO_TIME] == pytest.approx([5.0, 6.0, 7e-15, 8e-18, 9e-12])
    assert chip.cell.temperature_kelvin == pytest.approx(358.15)
    assert (chip.cell.erased_volts, chip.cell.programmed_volts) == (2.9, 6.5)
    assert chip.calibration == Calibration(images=11, reads=12, column_fit=False)


def test_ideal_straps_differ_in_their_metal_alone() -> None:
    metal, ideal = (read_chip_file(name)[0] for name in ("etox65", "etox65-ideal-straps"))
    for section in ("bit_serial", "pulse_width", "gate_coupled"):
        wires = metal[section]["wires"]
        assert [wires.pop(key) for key in ("strap_ends", "strap", "ground")] == ["both", "0.4 ohm", "1 ohm"]
    assert metal.pop("name") != ideal.pop("name")
    assert metal == ideal


def test_straps_of_metal_need_source_lines_with_a_resistance() -> None:
    with pytest.raises(
        ConfigurationError, match="wires.source_line to 1 mohm or more, or .* with wires.strap_ends=all"
    ):
        load_chip("etox65", ("bit_serial.wires.source_line=0 ohm",))
    load_chip("etox65", ("bit_serial.wires.source_line=0 ohm", "bit_serial.wires.strap_ends=all"))
    load_chip("etox65", ("bit_serial.wires.source_line=1 mohm",))


def test_the_stress_chip_differs_in_its_source_line_alone() -> None:
    normal, stress = (read_chip_file(name)[0] for name in ("etox65-ideal-straps", "etox65-stress"))
    for section in ("bit_serial", "pulse_width", "gate_coupled"):
        assert normal[section]["wires"].pop("source_line") != stress[section]["wires"].pop("source_line")
    assert normal.pop("name") != stress.pop("name")
    assert normal == stress


def test_linear_pair_has_wires_of_its_own_with_a_sensed_source_line_a_row() -> None:
    settings = (
        "encoding=linear-pair", "linear_pair.wordline_bias=4.9 V", "linear_pair.drain_full=40 mV",
        "linear_pair.base_level=0.2 uA", "linear_pair.top_level=0.8 uA",
        "linear_pair.wires.bitline=1 ohm", "linear_pair.wires.bitline_end=2 ohm",
        "linear_pair.wires.source_line=3 ohm", "linear_pair.wires.source_line_end=4 ohm",
    )  # fmt: skip
    chip = load_chip("etox65", settings)
    levels = (pytest.approx(0.04), pytest.approx(0.2e-6), pytest.approx(0.8e-6))
    assert chip.encoding == LinearPair(4.9, *levels)
    assert replace(chip.wires, **NO_TIME) == Wires(1.0, 2.0, 3.0, 4.0, rows_per_source_line=1, strap_every=None)
    assert (chip.wires.wordline_ohms, chip.wires.bitline_farads) == (15.0, pytest.approx(2e-16))


def test_settings_reach_any_depth_and_the_last_one_wins() -> None:
    settings = ("adc.bits=10", "bit_serial.wires.source_line=0.15 kohm", "adc.bits=6", "temperature=358.15 K")
    before = load_chip("etox65")
    chip = load_chip("etox65", settings)
    assert (chip.adc_bits, chip.cell.temperature_kelvin) == (6, 358.15)
    assert chip.wires.source_ohms == pytest.approx(150)
    assert load_chip("etox65") == before != chip


def test_a_file_of_ones_own_finds_its_parts_beside_it_first(chip_file: Callable[[Change], Path]) -> None:
    path = chip_file(lambda content: content["cell"].update(models=["own.lib", "etox65.lib"]))
    (path.parent / "own.lib").write_text("* mine")
    (path.parent / "floating_gate.sp").write_text("* changed\n.subckt floating_gate d g s b vt=3\n.ends")
    cell = load_chip(path).cell
    assert cell.models.startswith("* mine\n") and ".model etox65" in cell.models
    assert cell.netlist.startswith("* changed")


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("adcc.bits=8", "no key 'adcc'; did you mean 'adc'?"),
        ("adc.bit=8", "no key 'bit'; did you mean 'bits'?"),
        ("bit_serial.wires.source_lin=1 ohm", "did you mean 'source_line'?"),
        ("zzz=1", "no key 'zzz'; known: name, temperature"),
        ("adc.bits.low=1", "'bits' has no keys below it"),
        ("adc.bits", "expected key=value, for example adc.bits=10"),
        ("adc.bits=[1", "'\\[1' is not a YAML value: expected ',' or ']'"),
        ("=8", "no key ''"),
        ("adc={bits: 8, zzz: 1}", "unknown key 'adc.zzz'; known: bits"),
    ],
)
def test_a_setting_that_cannot_be_says_why(setting: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load_chip("etox65", (setting,))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: c.update(encodings="bit-serial"), "unknown key 'encodings'; did you mean 'encoding'?"),
        (lambda c: c["tile"].update(wordline=4), "unknown key 'tile.wordline'; did you mean 'wordlines'?"),
        (
            lambda c: c["bit_serial"]["wires"].update(strap_evry=4),
            "unknown key 'bit_serial.wires.strap_evry'; did you mean 'strap_every'?",
        ),
        (lambda c: c.pop("adc"), "adc: Field required"),
        (lambda c: c.update(adc=None), "adc: Input should be"),
        (lambda c: c.update(encoding="bit-parallel"), "encoding: .*'pulse-width' or 'gate-coupled'"),
        (lambda c: c["mapping"].update(scheme="analog"), "mapping.scheme: .*'differential'"),
        (lambda c: c["mapping"].update(cell_bits=5), "mapping.cell_bits: "),
        (lambda c: c["bit_serial"].update(zero_point="digital"), "the key bit_serial.zero_point is now mapping.scheme"),
    ],
)
def test_an_unusable_file_says_where(chip_file: Callable[[Change], Path], change: Change, problem: str) -> None:
    path = chip_file(change)
    with pytest.raises(ConfigurationError, match=f"chip file {path}: {problem}"):
        load_chip(path)


def rename(content: dict[str, Any], *keys: str, to: str) -> None:
    for key in keys[:-1]:
        content = content[key]
    content[to] = content.pop(keys[-1])


@pytest.mark.parametrize(
    ("keys", "typo"),
    [
        (("temperature",), "temprature"),
        (("adc", "bits"), "bit"),
        (("bit_serial", "wordline_read"), "wordline_raed"),
        (("bit_serial", "wires", "source_line"), "sourceline"),
    ],
)
def test_a_mistyped_key_is_named_with_the_one_that_was_meant(
    chip_file: Callable[[Change], Path], keys: tuple[str, ...], typo: str
) -> None:
    """A typo makes one key unknown and another one missing; the error is about the typo."""
    path = chip_file(lambda content: rename(content, *keys, to=typo))
    with pytest.raises(ConfigurationError, match=f"{typo}'; did you mean '{keys[-1]}'"):
        load_chip(path)


def test_an_error_names_the_setting_that_caused_it() -> None:
    settings = ("tile.wordlines=64", "adc.bits=25")
    with pytest.raises(ConfigurationError, match=r"to 24, not 25\. It comes from the setting adc\.bits=25$"):
        load_chip("etox65", settings)


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("temperature=27", "temperature: give a quantity with its unit, for example '1 kelvin', not 27"),
        ("bit_serial.bitline_read=0.5", "bit_serial.bitline_read: give a quantity with its unit"),
        ("bit_serial.bitline_read='0.5'", "'0.5' is not a quantity in units of volt"),
        ("bit_serial.bitline_read=0.5 A", "'0.5 A' is not a quantity in units of volt"),
        ("bit_serial.bitline_read=half a volt", "'half a volt' is not a quantity in units of volt"),
        ("bit_serial.bitline_read=nan V", "bit_serial.bitline_read: Input should be greater than or equal to -100"),
        ("bit_serial.top_level=0 A", "greater than 0"),
        ("bit_serial.top_level=-1 uA", "greater than 0"),
        ("bit_serial.wires.bitline=-1 ohm", "bit_serial.wires.bitline: Input should be greater than or equal to 0"),
        ("bit_serial.wires.bitline=nan ohm", "bit_serial.wires.bitline: Input should be"),
        (
            "bit_serial.wires.bitline=inf ohm",
            "bit_serial.wires.bitline: Input should be less than or equal to 1000000",
        ),
        ("bit_serial.wires.bitline=null", "give a quantity with its unit"),
        ("temperature=-300 degC", "temperature: Input should be greater than 0"),
        ("adc.bits=25", "adc.bits: Input should be less than or equal to 24"),
        ("adc.bits=8.5", "adc.bits: Input should be a valid integer"),
        ("tile.wordlines=0", "tile.wordlines: Input should be greater than or equal to 1"),
        ("calibration.reads=1", "calibration.reads: .* 2"),
        ("silicon.reading_drawn=per_day", "silicon.reading_drawn: Input should be 'per_read' or 'per_chip'"),
        ("silicon.telegraph_drawn=null", "silicon.telegraph_drawn: Input should be 'per_read' or 'per_chip'"),
        ("silicon.telegraph_traps=-1", "silicon.telegraph_traps: Input should be greater than or equal to 0"),
        ("cell.erased=7 V", "window is empty: erased 7 V must lie below programmed 6 V"),
        ("cell.subcircuit=other", "define no subcircuit 'other'; they define floating_gate"),
        ("cell.netlist=nowhere.sp", "no file 'nowhere.sp' beside it or in .*cells"),
        ("cell.models=[nowhere.lib]", "no file 'nowhere.lib' beside it or in .*devices"),
    ],
)
def test_an_impossible_value_is_named(setting: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load_chip("etox65", (setting,))


@pytest.mark.parametrize(
    "value", ["1/0 ohm", "(5 ohm", "5 ohm)", "2**99999 ohm", "5 ohm**1000", "5 5 ohm", "ohm", "[5] ohm", '5 "ohm']
)
def test_text_that_is_no_quantity_is_a_configuration_error(value: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a quantity in units of ohm"):
        load_chip("etox65", (f"bit_serial.wires.bitline='{value}'",))


@pytest.mark.parametrize("setting", ["linear_pair.wires.strap_every=16", "linear_pair.wires.rows_per_source_line=2"])
def test_linear_pair_needs_a_sensed_source_line_a_row(setting: str) -> None:
    with pytest.raises(ConfigurationError, match=r"linear_pair\.wires"):
        load_chip("etox65", ("encoding=linear-pair", setting))


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="no chip 'etox56'; did you mean 'etox65'\\?.*a .yaml file"):
        load_chip("etox56")
    with pytest.raises(ConfigurationError, match="no chip 'qqq'; known: .*etox65"):
        load_chip("qqq")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: [1, 2", "is not YAML"),
        (b"\tname: x", "is not YAML"),
        (b"", "holds no keys"),
        (b"- 1\n- 2", "holds no keys"),
        (b"name: \xff\xfe", "cannot be read"),
        (b"!!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_a_file_that_is_no_chip_file_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"{path} {problem}"):
        load_chip(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="none.yaml cannot be read"):
        load_chip(tmp_path / "none.yaml")


def test_a_cell_file_that_is_not_text_is_refused(chip_file: Callable[[Change], Path]) -> None:
    path = chip_file(lambda content: content["cell"].update(netlist="binary.sp"))
    (path.parent / "binary.sp").write_bytes(b"\xff\xfe\x00.subckt")
    with pytest.raises(ConfigurationError, match="binary.sp"):
        load_chip(path)


def test_the_chip_of_a_stored_run_has_its_zero_point_as_the_scheme() -> None:
    """Also that of an encoding derived from bit-serial; chips without the key are as they were."""
    content, _ = read_chip_file("etox65")
    assert of_stored_run(content) == content
    del content["mapping"]
    stored = {**content, "bit_serial": {**content["bit_serial"], "zero_point": "digital"}}
    assert of_stored_run(stored) == {**content, "mapping": {"scheme": "digital"}}
    derived = {**stored, "encoding": "high-bit-first", "high_bit_first": {"zero_point": "differential"}}
    found = of_stored_run(derived)
    assert found["mapping"] == {"scheme": "differential"} and found["high_bit_first"] == {}
