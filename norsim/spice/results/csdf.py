"""CSDF, the common simulation data format, as HSPICE writes it with post=csdf.

The form is that of public files: `#H` and lines of KEY='value' pairs, among them NODES, how many names there are, and
COMPLEXVALUES; `#N` and the names in quotes; for each point `#C`, the swept value, how many values follow, and the
values, each alone or as value:place; `#;` at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from norsim.spice.results.text import Text, named

PAIR = re.compile(r"(\w+)\s*=\s*'([^']*)'")
NAME = re.compile(r"'([^']*)'")


def is_one(text: Text) -> bool:
    """Whether a file begins as CSDF does."""
    return next((line.strip() for line in text.lines if line.strip()), "").startswith("#H")


def columns(text: Text) -> dict[str, list[float]]:
    """Every vector by its name. Raises SolveError with the line of what is amiss."""
    header: dict[str, str] = {}
    names: list[str] = []
    rows: list[list[float]] = []
    ended = False
    for place, mark, rest in _records(text):
        if ended:
            text.refuse(place, "something behind the end, for example a second sweep")
        if mark == "#H":
            header = {key.upper(): value.strip() for key, value in PAIR.findall(rest)}
        elif mark == "#N":
            names = [named(name) for name in NAME.findall(rest)]
            _check(text, place, header, names)
        elif mark == "#C":
            rows.append(_point(text, place, rest.split(), len(names)))
        ended = mark == "#;"
    if not ended:
        text.refuse(len(text.lines) - 1, "the file ends without '#;': it was cut short")
    return {name: [row[k] for row in rows] for k, name in enumerate(names)}


def _records(text: Text) -> Iterator[tuple[int, str, str]]:
    """The line where a record begins, its mark and what is in it."""
    opened, mark, inside = 0, "", [""]
    for place, line in enumerate(text.lines):
        if line.lstrip().startswith("#"):
            if mark:
                yield opened, mark, " ".join(inside)
            opened, mark, inside = place, line.strip()[:2], [line.strip()[2:]]
            if mark not in ("#H", "#N", "#C", "#;"):
                text.refuse(place, "no record of CSDF begins so")
        elif line.strip():
            if not mark or mark == "#;":
                text.refuse(place, "a line outside any record")
            inside.append(line)
    if mark:
        yield opened, mark, " ".join(inside)


def _check(text: Text, place: int, header: dict[str, str], names: list[str]) -> None:
    if header.get("COMPLEXVALUES", "NO").upper() != "NO" or header.get("ANALYSIS", "DC").upper() != "DC":
        text.refuse(place, "the results of a sweep at DC were expected, in real numbers")
    if header.get("NODES") != str(len(names)):
        text.refuse(place, f"{len(names)} names where the header says {header.get('NODES')}")
    text.once(place, names)


def _point(text: Text, place: int, words: list[str], count: int) -> list[float]:
    """The values of a point, `count` of them."""
    if len(words) != count + 2 or words[1] != str(count):
        text.refuse(place, f"a swept value and {count} values were expected")
    values = [word.partition(":") for word in words[2:]]
    places = [
        int(after) if after.isdecimal() and len(after) < 10 else k + 1 if not sign else 0
        for k, (_, sign, after) in enumerate(values)
    ]
    if sorted(places) != list(range(1, count + 1)):
        text.refuse(place, "every value was expected once")
    found = [0.0] * count
    for where, (value, _, _) in zip(places, values, strict=True):
        found[where - 1] = text.number(place, value)
    return found
