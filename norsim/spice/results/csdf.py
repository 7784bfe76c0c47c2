"""CSDF, the common simulation data format, as written by HSPICE with post=csdf.

The format is that of public files: `#H` and lines of KEY='value' pairs, including NODES, the number of names, and
COMPLEXVALUES; `#N` and the names in quotes; for each point `#C`, the swept value, the number of values, and the
values, each alone or as value:place; `#;` at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from norsim.spice.results.text import Text, named

PAIR = re.compile(r"(\w+)\s*=\s*'([^']*)'")
NAME = re.compile(r"'([^']*)'")


def is_one(text: Text) -> bool:
    """Return whether a file begins like CSDF."""
    return next((line.strip() for line in text.lines if line.strip()), "").startswith("#H")


def columns(text: Text) -> dict[str, list[float]]:
    """Return every vector by its name. Raises SolveError with the line of an error."""
    header: dict[str, str] = {}
    names: list[str] = []
    rows: list[list[float]] = []
    ended = False
    for place, mark, rest in _records(text):
        if ended:
            text.refuse(place, "unexpected text after the end, for example a second sweep")
        if mark == "#H":
            header = {key.upper(): value.strip() for key, value in PAIR.findall(rest)}
        elif mark == "#N":
            names = [named(name) for name in NAME.findall(rest)]
            _check(text, place, header, names)
        elif mark == "#C":
            rows.append(_point(text, place, rest.split(), len(names)))
        ended = mark == "#;"
    if not ended:
        text.refuse(len(text.lines) - 1, "the file ends without '#;': it is truncated")
    return {name: [row[k] for row in rows] for k, name in enumerate(names)}


def _records(text: Text) -> Iterator[tuple[int, str, str]]:
    """Yield for each record the line where it begins, its mark and its content."""
    opened, mark, inside = 0, "", [""]
    for place, line in enumerate(text.lines):
        if line.lstrip().startswith("#"):
            if mark:
                yield opened, mark, " ".join(inside)
            opened, mark, inside = place, line.strip()[:2], [line.strip()[2:]]
            if mark not in ("#H", "#N", "#C", "#;"):
                text.refuse(place, "no CSDF record begins like this")
        elif line.strip():
            if not mark or mark == "#;":
                text.refuse(place, "a line outside any record")
            inside.append(line)
    if mark:
        yield opened, mark, " ".join(inside)


def _check(text: Text, place: int, header: dict[str, str], names: list[str]) -> None:
    if header.get("COMPLEXVALUES", "NO").upper() != "NO" or header.get("ANALYSIS", "DC").upper() != "DC":
        text.refuse(place, "expected the results of a DC sweep in real numbers")
    if header.get("NODES") != str(len(names)):
        text.refuse(place, f"{len(names)} names, but the header states {header.get('NODES')}")
    text.once(place, names)


def _point(text: Text, place: int, words: list[str], count: int) -> list[float]:
    """Return the `count` values of a point."""
    if len(words) != count + 2 or words[1] != str(count):
        text.refuse(place, f"expected a swept value and {count} values")
    values = [word.partition(":") for word in words[2:]]
    places = [
        int(after) if after.isdecimal() and len(after) < 10 else k + 1 if not sign else 0
        for k, (_, sign, after) in enumerate(values)
    ]
    if sorted(places) != list(range(1, count + 1)):
        text.refuse(place, "expected every value once")
    found = [0.0] * count
    for where, (value, _, _) in zip(places, values, strict=True):
        found[where - 1] = text.number(place, value)
    return found
