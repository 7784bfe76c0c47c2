"""Xyce's tables of printed variables: `.prn`, and `.csv`.

The format is that of its Reference Guide: a line of names, and a line of numbers for each point, separated by blanks,
tabs or commas. A `.prn` has a first column Index and ends with `End of Xyce(TM) Simulation`; a `.csv` has neither.
"""

from __future__ import annotations

import re

from norsim.spice.results.text import Text, named

END = "End of Xyce(TM) Simulation"
NAMES = re.compile(r"[{}\w:()., \t#^*/+-]+")


def is_one(text: Text) -> bool:
    """Return whether a file begins with a line of names, including currents."""
    first = next((line for line in text.lines if line.strip()), "")
    return bool(NAMES.fullmatch(first.strip())) and re.search(r"\bi\(\w+\)", first, re.IGNORECASE) is not None


def columns(text: Text) -> dict[str, list[float]]:
    """Return every printed variable by its name. Raises SolveError with the line of an error."""
    kept = [place for place, line in enumerate(text.lines) if line.strip()]
    names = [named(word) for word in _words(text.lines[kept[0]])]
    text.once(kept[0], names)
    indexed = names[0] == "index"
    whole = text.lines[kept[-1]].strip() == END
    if not text.ended or (indexed and not whole):
        text.refuse(kept[-1], f"expected {END!r}: the file is truncated" if indexed else "the line is truncated")
    rows = []
    for place in kept[1 : -1 if whole else None]:
        words = _words(text.lines[place])
        if len(words) != len(names):
            text.refuse(place, f"{len(words)} numbers; expected {len(names)}")
        rows.append([text.number(place, word) for word in words])
        if indexed and rows[-1][0] != len(rows) - 1:
            text.refuse(place, f"expected Index {len(rows) - 1}")
    return {name: [row[k] for row in rows] for k, name in enumerate(names)}


def _words(line: str) -> list[str]:
    return [word.strip() for word in line.split(",")] if "," in line else line.split()
