"""What sphinx_click makes of a command's help: its examples as code, and addresses to be filled in as no links."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

import click
from sphinx.application import Sphinx

# A line of a block that click prints as it stands, indented: a command with its arguments.
SHOWN = re.compile(r"\|  +(?P<text>\S.*)")
ADDRESS = re.compile(r"\b\w+://[A-Z]+:[A-Z]+\b")


def examples(lines: list[str]) -> list[str]:
    """Indented lines of line blocks as code blocks; `lines` are reStructuredText."""
    found: list[str] = []
    for shown, some in groupby(lines, lambda line: bool(SHOWN.match(line))):
        if shown:
            code = [f"   {match['text']}" for match in map(SHOWN.match, some) if match]
            found += ["", ".. code-block:: sh", "", *code, ""]
        else:
            found += some
    return found


def plain(lines: list[str]) -> list[str]:
    """Addresses such as tcp://HOST:PORT as code, not as links to nowhere."""
    return [ADDRESS.sub(r"``\g<0>``", line) for line in lines]


def describe(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Of a command's description."""
    lines[:] = examples(plain(lines))


def explain(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Of its options."""
    lines[:] = plain(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    """An extension of Sphinx, loaded behind sphinx_click."""
    app.connect("sphinx-click-process-description", describe)
    app.connect("sphinx-click-process-options", explain)
    return {"parallel_read_safe": True}
