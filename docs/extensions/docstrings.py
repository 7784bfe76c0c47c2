"""Convert norsim's plain-text docstrings to the reStructuredText that autodoc expects.

Names are in `backquotes`; a list of fields has a name, two blanks and its meaning per line; text with further
indentation is shown verbatim.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

from sphinx.application import Sphinx

FIELD = re.compile(r"(?P<name>`[^`]+`(?:, `[^`]+`)*|\[[^\]]+\])\s{2,}(?P<meaning>\S.*)")
LITERAL = re.compile(r"(`[^`]+`)")


def inline(text: str) -> str:
    """Return a paragraph in one line, with `names` as code and everything else escaped."""
    parts = LITERAL.split(" ".join(text.split()))
    # An escaped blank produces no output, but allows a literal next to a letter.
    return "".join(
        f"\\ ``{part[1:-1]}``\\ " if place % 2 else re.sub(r"([\\*|_`])", r"\\\1", part)
        for place, part in enumerate(parts)
    )


def fields(lines: list[str]) -> list[str]:
    """Return a list of fields as a definition list."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        begun = FIELD.match(line)
        if begun:
            found.append((begun["name"], [begun["meaning"]]))
        else:
            found[-1][1].append(line)
    return [text for name, meaning in found for text in (inline(name), "    " + inline(" ".join(meaning)))]


def paragraph(lines: list[str]) -> list[str]:
    """Convert the lines between two blank lines."""
    if FIELD.match(lines[0]):
        return [*fields(lines), ""]
    plain = next((place for place, line in enumerate(lines) if line.startswith(" ") or FIELD.match(line)), len(lines))
    text = [inline(" ".join(lines[:plain]))]
    rest = lines[plain:]
    if rest and FIELD.match(rest[0]):
        return [*text, "", *fields(rest), ""]
    shown = ["", "::", "", *("    " + line for line in rest)] if rest else []
    return [*text, *shown, ""]


def convert(lines: list[str]) -> list[str]:
    """Convert a docstring, without its indentation, to reStructuredText."""
    text: list[str] = []
    for filled, some in groupby(lines, lambda line: bool(line.strip())):
        if filled:
            text += paragraph(list(some))
    return text


def process(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Convert the lines of a docstring in place; Sphinx calls this for each docstring."""
    lines[:] = convert(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Set up the extension."""
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
