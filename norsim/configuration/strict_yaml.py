"""YAML as far as all its versions agree: a value that YAML 1.1 and 1.2 read differently is an error, not a guess.

Plain scalars are null, true, false, decimal numbers or text. Not accepted: a key that occurs twice, a word or a number
that only one version reads as such (`yes`, `1:30`, `010`, `1_000`, `0x10`, `2020-01-01`), a number that is not finite,
a key that is not text, a key without a value, tags, aliases, merge keys, and more than one document.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from norsim.errors import ConfigurationError

LARGEST_YAML_BYTES = 1 << 20
MOST_LEVELS = 16
# An integer beyond this many digits does not fit in 64 bits.
MOST_DIGITS = 18
INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
# Integers in YAML 1.2 that are not decimal or not minimal: 08 and 0o17.
OTHER_INTEGER = re.compile(r"[-+]?0[0-9]+|0o[0-7]+")
WORDS: dict[str, bool | None] = {"null": None, "Null": None, "NULL": None, "~": None}
WORDS |= {word: True for word in ("true", "True", "TRUE")} | {word: False for word in ("false", "False", "FALSE")}
KINDS = {"bool": "true or false", "int": "an integer", "float": "a number", "timestamp": "a date"}


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file in UTF-8 of up to 1 MiB; None for an empty file.

    Raises ConfigurationError if it is not one, or if its content is not strict YAML, with the key and the line.
    """
    try:
        if not path.is_file():
            is_there = path.exists()
            raise ConfigurationError(f"{path} cannot be read: it {'is not a file' if is_there else 'does not exist'}")
        size = path.stat().st_size
        if size > LARGEST_YAML_BYTES:
            raise ConfigurationError(f"{path} has {size} bytes; expected at most {LARGEST_YAML_BYTES}")
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigurationError(f"{path} cannot be read: {problem}") from None
    try:
        return parse_yaml(text)
    except ConfigurationError as problem:
        raise ConfigurationError(f"{path} is not YAML that norsim reads: {problem}") from None


def parse_yaml(text: str, key: str = "") -> Any:
    """Return the content of a YAML text, the value of `key` in messages; None for an empty text.

    Raises ConfigurationError as `read_yaml`.
    """
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    try:
        return _document(events, key)
    except yaml.MarkedYAMLError as problem:
        line = "" if problem.problem_mark is None else f" in line {problem.problem_mark.line + 1}"
        raise ConfigurationError(f"{problem.problem}{line}") from None
    except (yaml.YAMLError, ValueError) as problem:
        raise ConfigurationError(" ".join(str(problem).split())) from None


def yaml_text(content: Any) -> str:
    """Return the YAML text from which `parse_yaml` reads `content`, with keys in their order."""
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False))


class _Dumper(yaml.SafeDumper):
    """A writer of YAML 1.1 that also quotes text which YAML 1.2 reads as a number, such as 1e3."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_number = NUMBER.fullmatch(text) or OTHER_INTEGER.fullmatch(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if is_number else None)


_Dumper.add_representer(str, _quoted)


def _document(events: Iterator[yaml.Event], key: str) -> Any:
    content, documents = None, 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _problem(key, event, "it has more than one document (---); give one")
            content = _node(next(events), events, key, 0)
    return content


def _node(event: yaml.Event, events: Iterator[yaml.Event], key: str, level: int) -> Any:
    """Return the value that starts with `event`, at the dotted `key`, `level` levels deep."""
    if isinstance(event, yaml.AliasEvent):
        raise _problem(key, event, f"it has an alias (*{event.anchor}); write the value out")
    assert isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)), "a value is one of these, or an alias"
    if event.tag is not None:
        raise _problem(key, event, f"it has the tag {event.tag}; write the value without a tag")
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event, key)
    if level >= MOST_LEVELS:
        raise _problem(key, event, f"it is nested more than {MOST_LEVELS} levels deep")
    if isinstance(event, yaml.MappingStartEvent):
        return _mapping(events, key, level)
    values: list[Any] = []
    for part in events:
        if isinstance(part, yaml.SequenceEndEvent):
            break
        values.append(_node(part, events, _below(key, str(len(values))), level + 1))
    return values


def _mapping(events: Iterator[yaml.Event], key: str, level: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for event in events:
        if isinstance(event, yaml.MappingEndEvent):
            break
        name = _name(event, events, key)
        whole = _below(key, name)
        line = _line(event)
        if name in found:
            raise ConfigurationError(f"{whole} is given twice, in lines {lines[name]} and {line}; give it once")
        lines[name], found[name] = line, _node(next(events), events, whole, level + 1)
    return found


def _name(event: yaml.Event, events: Iterator[yaml.Event], key: str) -> str:
    """Return a key of the mapping at `key`, which must be text."""
    if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.style is None:
        raise _problem(key, event, "it has a merge key (<<); write the keys out")
    if not isinstance(event, yaml.ScalarEvent):
        raise _problem(key, event, "one of its keys is an alias, a list or has keys itself; expected a name")
    name = _node(event, events, key, 0)
    if not isinstance(name, str):
        raise _problem(key, event, f"{event.value} is not the name of a key; expected text")
    return name


def _scalar(event: yaml.ScalarEvent, key: str) -> Any:
    text = str(event.value)
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise _problem(key, event, f"{text!r} has half of a character, which no file can hold")
    if event.style is not None:
        return text
    if not text:
        raise _problem(key, event, "it has no value; give one, or write null where null is allowed")
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        if len(text) > MOST_DIGITS:
            raise _problem(key, event, f"{text[:MOST_DIGITS]}... has more than {MOST_DIGITS} digits")
        return int(text)
    if NUMBER.fullmatch(text) and not OTHER_INTEGER.fullmatch(text):
        value = float(text)
        if not math.isfinite(value):
            raise _problem(key, event, f"{text} is too large; expected a finite number")
        return value
    resolve: Any = yaml.resolver.Resolver().resolve
    other = str(resolve(yaml.ScalarNode, text, (True, False))).rpartition(":")[2]
    if other != "str" or OTHER_INTEGER.fullmatch(text):
        kind = KINDS.get(other, "an integer" if other == "str" else "something else")
        raise _problem(
            key, event, f"{text} is {kind} in some versions of YAML and not in others; expected true, false, null, or "
            f"a decimal number. If it is meant as text, quote it: '{text}'"
        )  # fmt: skip
    return text


def _below(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None, "events of a text have marks"
    return event.start_mark.line + 1


def _problem(key: str, event: yaml.Event, what: str) -> ConfigurationError:
    return ConfigurationError(f"{key or 'the document'}, line {_line(event)}: {what}")
