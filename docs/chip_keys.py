"""Write the tables of `chip-file.md` from the model of a chip file, norsim.chip.schema.chip_file.

    python docs/chip_keys.py

The text between `<!-- keys: SECTION -->` and `<!-- end of keys -->` is replaced by one row per key, with its kind and
bounds, its default, its value in the preset `etox65`, and its docstring. The text between `<!-- encodings -->` and
`<!-- end of encodings -->` is replaced by a part for each registered encoding: the docstring of its section, its keys
and those of its wires.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import reduce
from inspect import cleandoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pint
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from norsim.chip.cell_schema import SpiceNumber
from norsim.chip.load import presets
from norsim.chip.schema import chip_file
from norsim.configuration.quantities import Conversion, any_quantity
from norsim.configuration.section import by_pattern, section_of
from norsim.periphery.registry import ENCODINGS, section_key

PAGE = Path(__file__).parent / "chip-file.md"
TABLE = re.compile(r"<!-- keys: ([\w.-]+) -->\n.*?<!-- end of keys -->", re.DOTALL)
ALL_ENCODINGS = re.compile(r"<!-- encodings -->\n.*?<!-- end of encodings -->", re.DOTALL)
PRESET = "etox65"
KINDS = {
    "volt": "voltage", "ampere": "current", "ohm": "resistance", "farad": "capacitance", "kelvin": "temperature",
    "second": "time", "joule": "energy", "electron_volt": "energy", "volt/kelvin": "voltage per kelvin",
    "meter": "length", "m2": "area", "watt": "power", "J/m": "energy per length",
}  # fmt: skip
UNITS = pint.UnitRegistry()
PLAIN = {str: "text", int: "integer", float: "number", bool: "true or false"}


def conditions(metadata: Iterator[Any] | list[Any] | tuple[Any, ...]) -> Iterator[Any]:
    """Yield the checks of pydantic, including those of fields inside annotations."""
    for part in metadata:
        if isinstance(part, FieldInfo):
            yield from conditions(part.metadata)
        else:
            yield part


def bounds(checks: list[Any]) -> str:
    """Return `, 1 to 8192`, or `, above 0`, or an empty string."""
    found = {name: getattr(check, name) for check in checks for name in ("ge", "gt", "le") if hasattr(check, name)}
    if "ge" in found and "le" in found:
        return f", {found['ge']} to {found['le']}"
    if "ge" in found:
        return f", {found['ge']} or more"
    most = f", at most {found['le']}" if "le" in found else ""
    return (f", above {found['gt']}" if "gt" in found else "") + most


def kind(annotation: Any, metadata: Any = ()) -> str:
    """Describe the values that an annotation allows."""
    checks, origin, parts = list(conditions(metadata)), get_origin(annotation), get_args(annotation)
    units = [check.func.unit for check in checks if isinstance(getattr(check, "func", None), Conversion)]
    if units:
        return KINDS[units[0]] + bounds(checks)
    if any(getattr(check, "func", None) is any_quantity for check in checks):
        return "number or quantity"
    if annotation == SpiceNumber:
        return "number of SPICE"
    if origin is Annotated:
        return kind(parts[0], [*parts[1:], *metadata])
    if origin in (Union, UnionType):
        return ", or ".join("null" if part is NoneType else kind(part) for part in parts)
    if origin is Literal:
        *first, last = (f"`{value}`" for value in parts)
        return f"{', '.join(first)} or {last}"
    if origin is list:
        return f"list of {kind(parts[0])}"
    if origin is dict:
        return f"name: {kind(parts[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section of " + ", ".join(f"`{name}`" for name in annotation.model_fields)
    return PLAIN[annotation] + bounds(checks)


def shown(value: Any) -> str:
    """Return a value as YAML in one line, marked as code."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
    return f"`{text}`"


def default(field: FieldInfo) -> str:
    """Return the default as written in a chip file, with its unit if it has one."""
    if field.is_required():
        return "required"
    units = [
        check.func.unit for check in conditions(field.metadata) if isinstance(getattr(check, "func", None), Conversion)
    ]
    if units and field.default is not None:
        compact = UNITS.Quantity(field.default, units[0].replace("2", "**2")).to_compact()
        text = f"`{compact.magnitude:g} {compact.units:~}`".replace("Ω", "ohm")
        return text.replace(" ** 2", "2").replace(" / ", "/")
    return shown(field.default)


def keys(section: str) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the keys of a section with their full names, except sections with their own table."""
    names = [] if section == "chip" else section.split(".")
    model: Any = reduce(lambda found, name: section_of(found.model_fields[name].annotation), names, chip_file())
    for name, field in model.model_fields.items():
        below = section_of(field.annotation)
        if (
            below is None
            or by_pattern(field.annotation)
            or (section != "chip" and name != "wires" and get_origin(field.annotation))
        ):
            yield ".".join([*names, name]), field


def of_preset(content: Any, key: str) -> str:
    """Return the value of a key in the preset file, or an empty string."""
    for name in key.split("."):
        content = content.get(name) if isinstance(content, dict) else None
    return "" if content is None else shown(content)


def table(section: str) -> str:
    """Return the table of a section, without the column of the preset if the preset has none of the keys."""
    content = yaml.safe_load(presets()[PRESET].read_text())
    rows = [("key", "value", "default", PRESET, "meaning")]
    for key, field in keys(section):
        meaning = " ".join(str(field.description).split())
        rows.append(
            (f"`{key}`", kind(field.annotation, field.metadata), default(field), of_preset(content, key), meaning)
        )
    width = range(5) if any(row[3] for row in rows[1:]) else (0, 1, 2, 4)
    lines = [" | ".join(row[place] for place in width) for row in [rows[0], ("---",) * 5, *rows[1:]]]
    return "\n".join(f"| {line} |".replace("|  |", "| |") for line in lines)


def paragraphs(section: type[BaseModel]) -> list[str]:
    """Return the docstring of a section, by paragraphs."""
    return cleandoc(section.__doc__ or "").split("\n\n")


def encoding(name: str) -> str:
    """Return the part of the page about an encoding."""
    key = section_key(name)
    section: Any = section_of(chip_file().model_fields[key].annotation)
    wires: Any = section_of(section.model_fields["wires"].annotation)
    first, *rest = paragraphs(section)
    lines = f"{paragraphs(wires)[0].removesuffix('.')}:"
    return "\n\n".join([f"### {name.capitalize()}", first, table(key), *rest, lines, table(f"{key}.wires")])


def write(page: str) -> str:
    """Return the page with all its tables replaced."""
    page = TABLE.sub(lambda found: f"<!-- keys: {found[1]} -->\n\n{table(found[1])}\n\n<!-- end of keys -->", page)
    parts = "\n\n".join(map(encoding, ENCODINGS))
    return ALL_ENCODINGS.sub(lambda found: f"<!-- encodings -->\n\n{parts}\n\n<!-- end of encodings -->", page)


if __name__ == "__main__":
    PAGE.write_text(write(PAGE.read_text()))
