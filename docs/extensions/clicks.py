"""Post-process the output of sphinx_click: examples become code, and placeholder addresses do not become links."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

import click
from sphinx.application import Sphinx

# An indented line of a block that click prints verbatim: a command with its arguments.
SHOWN = re.compile(r"\|  +(?P<text>\S.*)")
ADDRESS = re.compile(r"\b\w+://[A-Z]+:[A-Z]+\b")


def examples(lines: list[str]) -> list[str]:
    """Turn indented lines of line blocks into code blocks; `lines` are reStructuredText."""
    found: list[str] = []
    for shown, some in groupby(lines, lambda line: bool(SHOWN.match(line))):
        if shown:
            code = [f"   {match['text']}" for match in map(SHOWN.match, some) if match]
            found += ["", ".. code-block:: sh", "", *code, ""]
        else:
            found += some
    return found


def plain(lines: list[str]) -> list[str]:
    """Mark placeholder addresses such as tcp://HOST:PORT as code, not as links."""
    return [ADDRESS.sub(r"``\g<0>``", line) for line in lines]


def describe(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Process the description of a command."""
    lines[:] = examples(plain(lines))


def explain(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Process the options of a command."""
    lines[:] = plain(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    """Set up the extension, after sphinx_click."""
    app.connect("sphinx-click-process-description", describe)
    app.connect("sphinx-click-process-options", explain)
    return {"parallel_read_safe": True}
