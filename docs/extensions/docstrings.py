"""norsim's docstrings, which are plain text, as the reStructuredText that autodoc expects.

Names stand in `backquotes`; a list of fields has a name, two blanks and its meaning a line; what is indented
further is shown as it stands.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

from sphinx.application import Sphinx

FIELD = re.compile(r"(?P<name>`[^`]+`(?:, `[^`]+`)*|\[[^\]]+\])\s{2,}(?P<meaning>\S.*)")
LITERAL = re.compile(r"(`[^`]+`)")


def inline(text: str) -> str:
    """A paragraph in one line: `names` as code, and nothing else with a meaning of its own."""
    parts = LITERAL.split(" ".join(text.split()))
    # A backslash and a blank are nothing, but let a literal stand beside a letter.
    return "".join(
        f"\\ ``{part[1:-1]}``\\ " if place % 2 else re.sub(r"([\\*|_`])", r"\\\1", part)
        for place, part in enumerate(parts)
    )


def fields(lines: list[str]) -> list[str]:
    """A list of fields as a definition list."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        begun = FIELD.match(line)
        if begun:
            found.append((begun["name"], [begun["meaning"]]))
        else:
            found[-1][1].append(line)
    return [text for name, meaning in found for text in (inline(name), "    " + inline(" ".join(meaning)))]


def paragraph(lines: list[str]) -> list[str]:
    """Lines between two blank ones."""
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
    """A docstring, without its indentation, as reStructuredText."""
    text: list[str] = []
    for filled, some in groupby(lines, lambda line: bool(line.strip())):
        if filled:
            text += paragraph(list(some))
    return text


def process(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Called for each docstring; changes its lines in place."""
    lines[:] = convert(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
