"""Chip files: YAML with units in strings, validated and converted to dataclasses in SI units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from norsim.array.sectors.neighbours import NO_NEIGHBOURS
from norsim.chip.cell_files import build_cell
from norsim.chip.layer_keys import range_of
from norsim.chip.model import Calibration, Chip, EndOfLife
from norsim.chip.renamed import check_renamed, check_setting
from norsim.chip.schema import chip_file
from norsim.chip.silicon import build_pulses, build_silicon
from norsim.configuration.quantities import has_unit
from norsim.configuration.section import Section, by_pattern, problem_of, section_of
from norsim.configuration.strict_yaml import parse_yaml, read_yaml
from norsim.errors import ConfigurationError, suggestion
from norsim.paths import models_folder
from norsim.periphery.adc import ConverterSpread
from norsim.periphery.circuits.energy import Costs
from norsim.periphery.registry import section_key

# Keys of a chip file with values, or texts `key=value`.
Settings = Mapping[str, Any] | Sequence[str]


@dataclass(frozen=True)
class ChipChoice:
    """A chip as a chip file's content, and as the objects made of it; `trusted` says whether its cell files are."""

    content: dict[str, Any]
    path: Path
    chip: Chip
    trusted: bool = False


def presets() -> dict[str, Path]:
    """Return the preset chips by name."""
    return {path.stem: path for path in sorted((models_folder() / "chips").glob("*.yaml"))}


def published_chips() -> dict[str, Path]:
    """Return the chip files of published arrays by name, such as `published/guo-2017`; `norsim validate` reads them."""
    folder = models_folder() / "chips" / "published"
    return {f"{folder.name}/{path.stem}": path for path in sorted(folder.glob("*.yaml"))}


def load_chip(chip: str | Path, settings: Settings = (), trust_cell: bool = False) -> Chip:
    """Return the chip of a YAML file or preset name, with settings put over it.

    `settings` are keys with values, `{"adc.bits": 9, "bit_serial.wires.bitline": "0.5 ohm"}`, or texts such as
    `("adc.bits=9",)`. What its cell and model files may hold, and where they may be, is limited
    (norsim.spice.model_files) unless `trust_cell`. Raises ConfigurationError, with a "did you mean" for unknown names
    and keys.
    """
    return choose_chip(chip, settings, trust_cell=trust_cell).chip


def choose_chip(
    chip: str | Path, settings: Settings = (), encoding: str | None = None, seed: int | None = None,
    trust_cell: bool = False,
) -> ChipChoice:  # fmt: skip
    """`load_chip`, with the content that the chip was made of; with a seed, the first specimen that it draws."""
    content, path = read_chip_file(chip)
    content = apply_settings(content, settings)
    if encoding is not None:
        content = apply_settings(content, {"encoding": encoding})
    try:
        built = build_chip(content, path, trust_cell)
    except ConfigurationError as problem:
        named = [f"{key}={value}" for key, value in _pairs(settings) if f" {str(key).strip()}: " in str(problem)]
        if not named:
            raise
        raise type(problem)(f"{problem}. It comes from the setting {', '.join(named)}") from None
    return ChipChoice(content, path.resolve(), built if seed is None else built.specimen(seed, 0), trust_cell)


def read_chip_file(chip: str | Path) -> tuple[dict[str, Any], Path]:
    """Return the YAML content of a chip file or preset, and its path."""
    if not isinstance(chip, str | Path):
        raise ConfigurationError(f"chip is {chip!r}; expected the name of a preset or a .yaml file")
    known = {**presets(), **published_chips()}
    path = Path(chip) if Path(chip).suffix in (".yaml", ".yml") else known.get(str(chip))
    if path is None:
        raise ConfigurationError(
            f"no chip {str(chip)!r}; {suggestion(str(chip), known)}. Give a preset or a .yaml file"
        )
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ConfigurationError(f"chip file {path} holds no keys")
    return content, path


def apply_settings(content: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """`content` with each setting put in; texts are read as strict YAML. Of two settings of a key the last one wins."""
    for key, value in _pairs(settings):
        setting = f"{key}={value}"
        if not isinstance(key, str):
            raise ConfigurationError(f"setting {setting!r}: expected the name of a key, for example 'adc.bits'")
        check_setting(key.strip(), setting)
        try:
            plain = parse_yaml(value, key.strip()) if isinstance(value, str) else _plain(value)
        except ConfigurationError as problem:
            raise ConfigurationError(f"setting {setting!r}: {value!r} is not a YAML value: {problem}") from None
        if plain is None and isinstance(value, str) and not value.strip(" "):
            raise ConfigurationError(f"setting {setting!r}: it has no value; write null where null is allowed")
        content = _with(content, key.strip().split("."), plain, setting, chip_file())
    return content


def _pairs(settings: Settings) -> Iterable[tuple[str, Any]]:
    """Return settings as keys and values."""
    return settings.items() if isinstance(settings, Mapping) else map(_parted, settings)


def _parted(setting: str) -> tuple[str, str]:
    """`key.key=value` as key and value."""
    key, equals, text = setting.partition("=") if isinstance(setting, str) else ("", "", "")
    if not equals:
        raise ConfigurationError(f"setting {setting!r}: expected key=value, for example adc.bits=10")
    return key, text


def _plain(value: Any) -> Any:
    """A value of Python's as YAML has it: NumPy's and torch's numbers and arrays become Python's."""
    if isinstance(value, np.generic | np.ndarray) or hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _with(content: dict[str, Any], keys: list[str], value: Any, setting: str, section: type[Section]) -> dict[str, Any]:
    first, rest = keys[0], keys[1:]
    known = section.model_fields
    if first not in known:
        raise ConfigurationError(f"setting {setting!r}: there is no key {first!r}; {suggestion(first, known)}")
    if not rest:
        return {**content, first: value}
    below = by_pattern(known[first].annotation)
    if below is not None:
        # A pattern may have dots, so it ends where a key of the section begins.
        length = next((place for place, key in enumerate(rest) if place and key in below.model_fields), len(rest))
        pattern, rest = ".".join(rest[:length]), rest[length:]
        part = content.get(first) or {}
        if not rest or not isinstance(part, dict):
            raise ConfigurationError(
                f"setting {setting!r}: expected {first}.PATTERN.KEY, for example {first}.conv1.adc.bits=9"
            )
        inside = _with(part.get(pattern) or {}, rest, value, setting, below)
        return {**content, first: {**part, pattern: inside}}
    below = section_of(known[first].annotation)
    if below is None:
        raise ConfigurationError(f"setting {setting!r}: {first!r} has no keys below it")
    # A part that the file leaves out, or has as null, starts empty.
    part = {} if content.get(first) is None else content[first]
    if not isinstance(part, dict):
        raise ConfigurationError(f"setting {setting!r}: the chip has {first}: {part}; expected keys below {first!r}")
    return {**content, first: _with(part, rest, value, setting, below)}


def build_chip(content: dict[str, Any], path: Path, trust_cell: bool = False) -> Chip:
    """Validate the content of a chip file and convert it to SI units."""
    check_renamed(content, f"chip file {path}")
    try:
        file = chip_file().model_validate(content)
    except ValidationError as problem:
        raise ConfigurationError(f"chip file {path}: {problem_of(problem, chip_file())}") from None
    is_charge = has_unit(content["cell"].get("state_erased"), "coulomb")
    cell = build_cell(file.cell, file.temperature, path, trust_cell, is_charge)
    ages = file.cell.end_of_life
    old = None
    if ages is not None:
        aged = build_cell(file.cell.at_end_of_life(), file.temperature, path, trust_cell, is_charge)
        old = EndOfLife(aged, ages.after)
    encoded, adc, cost = file.encoded, file.adc, file.cost
    encoding = encoded.encoding(file.mapping)
    sensing = file.sense.build(encoding)
    if sensing.read_seconds is not None and encoded.wordline_rise is not None:
        raise ConfigurationError(
            f"chip file {path}: sense.read_time includes the lag of gates that {section_key(encoding.name)}."
            "wordline_rise sets; give one of the two"
        )
    neighbours = file.neighbours.build()
    if encoding.inputs_on == "bitlines" and neighbours != NO_NEIGHBOURS:
        raise ConfigurationError(
            f"chip file {path}: neighbours are those of sensed bitlines, but {encoding.name} senses source lines; "
            "leave the section out, or use another encoding"
        )
    wires = sensing.at_the_end_of(encoded.wires.build(), encoding.inputs_on)
    return Chip(
        file.name, cell, wires, file.tile.wordlines, file.tile.bitlines, encoding,
        adc.bits, Calibration(**file.calibration.model_dump()),
        ConverterSpread(adc.gain, adc.offset, adc.bow, adc.noise, adc.inl, adc.type), file.dac.steps,
        build_silicon(file.silicon, path.parent), file.silicon.programmed_at, file.silicon.tracking,
        file.silicon.in_situ, encoded.wordline_rise, file.tile.row_order,
        Costs(
            sensing.sample_seconds(cost.sample), cost.conversion, cost.adc_step, cost.held, cost.pump_efficiency,
            cost.circuits.build(), adc.type, cost.cycle, cost.decision,
        ),
        adc.shared_by,
        adc.reference == "ratiometric", adc_range=range_of(adc.range), rows_used=file.tile.rows_used,
        layers=tuple(section.keys(pattern) for pattern, section in file.layers.items()), sensing=sensing,
        end_of_life=old, pulses=build_pulses(file.silicon, path.parent), neighbours=neighbours,
    )  # fmt: skip
