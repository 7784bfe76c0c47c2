"""The base of all sections of a chip file."""

from __future__ import annotations

import json
from functools import reduce
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from norsim.errors import suggestion

# Names of plain types, and of the key of a mapping, in pydantic's locations.
TYPES = {"str", "float", "int", "[key]"}


class Section(BaseModel):
    """The base of all sections of a chip file: unknown keys are errors, and values are immutable.

    Types are strict: neither text nor true is a number, and 8.0 is no integer.
    """

    # docs/chip_keys.py writes the reference page from the docstrings below the keys.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


def section_of(annotation: Any) -> type[Section] | None:
    """Return the section class in a key's type, optional or not; None for a plain value."""
    kinds = [
        kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type) and issubclass(kind, Section)
    ]
    return kinds[0] if kinds else None


def by_pattern(annotation: Any) -> type[Section] | None:
    """Return the section class of a key that has one for each of several patterns; None for any other key."""
    return section_of(annotation) if get_origin(annotation) is dict else None


def problem_of(problem: ValidationError, section: type[Section]) -> str:
    """Return the first problem of a section's content: the key, what was expected, and the value as written."""
    # A misspelt key also makes the correct one missing; report the misspelling.
    first = min(problem.errors(), key=lambda error: error["type"] != "extra_forbidden")
    keys, at = _keys(first["loc"], section)
    place = ".".join(keys)
    if first["type"] == "extra_forbidden":
        return f"unknown key {place!r}; {suggestion(keys[-1], at.model_fields)}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] in ("missing", "value_error", "assertion_error"):
        return f"{place}: {message}" if place else message
    return f"{place}: {message}, not {as_written(first['input'])}"


def as_written(value: Any) -> str:
    """Return a value as it stands in a chip file."""
    return json.dumps(value, default=repr) if isinstance(value, bool | dict | list) or value is None else repr(value)


def _keys(loc: tuple[int | str, ...], section: type[Section]) -> tuple[list[str], type[Section]]:
    """Return the keys of a location of pydantic's, without names of types, and the section of the last key."""
    keys: list[str] = []
    last, below = section, {section.__name__: section}
    inside: type[Section] | None = section
    pattern = False
    for part in map(str, loc):
        if pattern:
            keys.append(part)
            pattern = False
        elif inside is not None:
            last, field = inside, inside.model_fields.get(part)
            keys.append(part)
            inside = section_of(field.annotation) if field else None
            below = _sections(field.annotation) if field else {}
            pattern = field is not None and by_pattern(field.annotation) is not None
        elif part in below:
            inside = below[part]
        elif part not in TYPES:
            keys.append(part)
    return keys, last


def _sections(annotation: Any) -> dict[str, type[Section]]:
    """Return the section classes anywhere in a key's type, by name."""
    found = section_of(annotation)
    own = {found.__name__: found} if found else {}
    return reduce(lambda all_of, one: {**all_of, **_sections(one)}, get_args(annotation), own)
