"""A key of the section `silicon` of a chip file, as plain data beside the field that it sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any

from norsim.errors import ConfigurationError


@dataclass(frozen=True)
class Key:
    """A key of a chip file. Its value is a quantity, a number, one of some words, a section or the name of a file.

    `name`     name in the chip file
    `meaning`  its line on the page of chip files
    `unit`     name of the SI unit, such as `volt`, or None for a number without a unit
    `least`, `above`, `most`   bounds: the value is at least, above, at most this; None for no bound
    `choices`  the words that the value is one of; None for a key of another kind
    `section`  a dataclass whose fields have keys, for a section; it can be null
    `whole`    whether a number is an integer
    `reader`   a function that reads the file of that name beside the chip file; the name can be null
    """

    name: str
    meaning: str
    unit: str | None = None
    least: float | None = None
    above: float | None = None
    most: float | None = None
    choices: tuple[str, ...] | None = None
    section: type[Any] | None = None
    reader: Callable[[Path], Any] | None = None
    whole: bool = False


def key(name: str, meaning: str, unit: str | None = None, **rest: Any) -> dict[str, Key]:
    """Return the metadata of a dataclass field that this key of a chip file sets; `rest` are fields of Key.

    The default of the key is that of the field; it is null for None, for sections and for files.
    """
    return {"key": Key(name, meaning, unit, **rest)}


def keys_of(kind: type[Any]) -> Iterator[tuple[Field[Any], Key]]:
    """Yield the fields of a dataclass that keys of a chip file set, each with its key."""
    for field in fields(kind):
        if "key" in field.metadata:
            yield field, field.metadata["key"]


def check_values(part: Any) -> None:
    """Raise ConfigurationError for a number of a dataclass that is not finite or below the lower bound of its key, and
    for a word that is not among the key's choices.

    An exclusive bound is allowed here, since a value of 0 switches most parts off.
    """
    for field, its in keys_of(type(part)):
        value, low = getattr(part, field.name), its.above if its.least is None else its.least
        if its.choices is not None and value not in its.choices:
            raise ConfigurationError(f"silicon: {field.name} is {value!r}; expected one of {', '.join(its.choices)}")
        if not isinstance(value, int | float):
            continue
        if not math.isfinite(value) or (low is not None and value < low):
            bound = "" if low is None else f" and at least {low:g}"
            raise ConfigurationError(f"silicon: {field.name} must be finite{bound}, not {value}")
