"""An HSPICE listing (`.lis`): its tables of printed variables.

The format is that of public listings of releases from 2011 to 2023 and of HSPICE's manuals on .print. A table is
between a line `x` and a line `y`. Its first line has the kind of each column (`volt`, `current`, `voltage`), the
next one the names without i() or v(), but none for the swept variable, whose column is the first; numbers have scale
factors, or powers of ten with ingold=2. Columns that exceed the width of a page continue in another table with the same
swept column. `job concluded` ends a complete listing; errors are lines with `**error**`.
"""

from __future__ import annotations

from collections.abc import Iterator

from norsim.spice.results.text import Text, named

KINDS = {"current": "i({})", "voltage": "v({})"}
END = "job concluded"
TROUBLE = ("**error**", "job aborted", "**fatal**", "non-convergence", "not converge", "no convergence")


def is_one(text: Text) -> bool:
    """Return whether a file is a listing, complete or not."""
    marks = ("***** job", "**error**", "****** dc transfer", "hspice")
    return any(line.strip() == "x" or any(mark in line.lower() for mark in marks) for line in text.lines)


def warnings(text: Text) -> Iterator[str]:
    """Return the lines with HSPICE's warnings."""
    return (line.strip() for line in text.lines if "**warning**" in line.lower())


def columns(text: Text) -> dict[str, list[float]]:
    """Return every printed variable by its name in ngspice. Raises SolveError with the line of an error."""
    for place, line in enumerate(text.lines):
        if any(word in line.lower() for word in TROUBLE):
            text.refuse(place, "the simulator reports that it failed")
    if not any(END in line.lower() for line in text.lines):
        text.refuse(len(text.lines) - 1, f"the listing ends without {END!r}: it is truncated, or the job did not end")
    found: dict[str, list[float]] = {}
    swept: list[float] | None = None
    for place, inside in _tables(text):
        names, rows = _table(text, place, inside)
        if swept is not None and swept != rows[0]:
            text.refuse(place, "the tables differ in their swept variable")
        swept = rows[0]
        for name, values in zip(names, rows[1:], strict=True):
            if name in found:
                text.refuse(place, f"{name} is printed twice")
            found[name] = values
    return found


def _tables(text: Text) -> Iterator[tuple[int, list[int]]]:
    """Yield for each table the line of its `x`, and the lines in it that are not blank."""
    opened: int | None = None
    for place, line in enumerate(text.lines):
        word = line.strip().lower()
        if word == "x":
            if opened is not None:
                text.refuse(place, "a table within a table")
            opened = place
        elif word == "y" and opened is not None:
            yield opened, [k for k in range(opened + 1, place) if text.lines[k].strip()]
            opened = None
    if opened is not None:
        text.refuse(opened, "this table has no end")


def _table(text: Text, opened: int, inside: list[int]) -> tuple[list[str], list[list[float]]]:
    """Return the names of a table's columns except the first, and its columns."""
    if len(inside) < 3:
        text.refuse(opened, "a table without kinds, names and numbers")
    kinds, names = (text.lines[place].lower().split() for place in inside[:2])
    # The swept column has no name; it has a kind only if its variable has one.
    own = kinds[len(kinds) - len(names) :]
    if len(kinds) - len(names) not in (0, 1) or not set(own) <= set(KINDS):
        text.refuse(inside[1], "expected a name for every column of current or voltage except the swept one")
    rows = []
    for place in inside[2:]:
        words = text.lines[place].split()
        if len(words) != len(names) + 1:
            text.refuse(place, f"{len(words)} numbers; expected {len(names) + 1}")
        rows.append([text.number(place, word) for word in words])
    called = [name if "(" in name else KINDS[kind].format(name) for name, kind in zip(names, own, strict=True)]
    text.once(inside[1], called)
    return [named(name) for name in called], [list(column) for column in zip(*rows, strict=True)]
