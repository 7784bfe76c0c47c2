"""Readable results on stdout: tables that fit the terminal, or plain text in a pipe.

Rich omits colours in a pipe and under NO_COLOR. A table never breaks a word or a number: if even the longest words do
not fit side by side, cells are written below each other, one per line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 100
# The width of a column besides its text: a border, and a space on either side.
BESIDE = 3
# Cells that are aligned right: a number with any unit, or a missing number.
NUMBER = re.compile(r"[-+]?\d.*|unknown|")


def on_terminal() -> bool:
    """Return whether stdout is a terminal."""
    return Console().is_terminal


def narrow() -> bool:
    """Return whether stdout is a terminal of less than 100 columns, where the least important columns are omitted."""
    return on_terminal() and Console().width < WIDE


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """Print a table that fits the terminal; columns of numbers are aligned right. `headings` may be empty."""
    cells = [tuple(row) for row in rows]
    console = Console()
    columns = list(zip(*([tuple(headings), *cells] if headings else cells), strict=True))
    widths = _fitted([_longest_word(column) for column in columns], [max(map(cell_len, column)) for column in columns],
                     console.width - 1 - BESIDE * len(columns))  # fmt: skip
    if widths is None:
        _stacked(console, headings, cells, title)
        return
    # As Text, because brackets in a string would be markup.
    drawn = Table(title=Text(title, "italic") if title else None, show_header=bool(headings))
    for place, width in enumerate(widths):
        numbers = any(row[place] for row in cells) and all(NUMBER.fullmatch(row[place]) for row in cells)
        heading = Text(headings[place]) if headings else ""
        style = "" if headings or place else "bold"
        drawn.add_column(heading, justify="right" if numbers else "left", width=width, style=style)
    for row in cells:
        drawn.add_row(*map(Text, row))
    console.print(drawn)


def table_or_lines(headings: Sequence[str], rows: Iterable[Sequence[str]], lines: Iterable[str]) -> None:
    """Print the table on a terminal, or the lines in a pipe."""
    if on_terminal():
        table(headings, rows)
    else:
        for line in lines:
            click.echo(line)


def say(text: str) -> None:
    """Print a sentence, wrapped between words."""
    Console().print(text, markup=False)


def advise(text: str) -> None:
    """Print a sentence, wrapped between words on a terminal, on one line in a pipe."""
    console = Console()
    console.print(text, markup=False, soft_wrap=not console.is_terminal)


def say_path(text: str) -> None:
    """Print a line that ends in a path, without breaking the path, so that it can be copied."""
    Console().print(text, soft_wrap=True, markup=False)


def entries(content: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Return (dotted key, value) of every value in nested content; a list of mappings or lists is only counted."""
    found: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            found += entries(value, f"{before}{key}.")
        elif isinstance(value, list) and any(isinstance(one, (Mapping, list)) for one in value):
            found.append((before + key, f"{len(value)} entries"))
        elif value is not None:
            found.append((before + key, text_of(value)))
    return found


def text_of(value: Any) -> str:
    """Return a value as text: yes or no, floats with four digits, lists with commas."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(text_of, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _longest_word(column: Sequence[str]) -> int:
    return max(cell_len(word) for cell in column for word in (cell.split() or [""]))


def _fitted(least: Sequence[int], most: Sequence[int], room: int) -> list[int] | None:
    """Return column widths between `least` and `most` that fit into `room`; None if there are none."""
    spare = room - sum(least)
    if spare < 0:
        return None
    widths = list(least)
    # Columns that need little come first; the others share the rest.
    order = sorted(range(len(least)), key=lambda place: most[place] - least[place])
    for taken, place in enumerate(order):
        more = min(most[place] - least[place], spare // (len(order) - taken))
        widths[place] += more
        spare -= more
    return widths


def _stacked(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]], title: str | None) -> None:
    if title:
        console.print(title, style="italic", markup=False)
    for row in rows:
        if headings:
            console.print()
        pairs = zip(headings, row, strict=True) if headings else ((row[0], cell) for cell in row[1:])
        for name, cell in pairs:
            line = f"{name}: {cell}" if name else cell
            # A path or another long word is not broken; the terminal wraps it.
            long = _longest_word([line]) > console.width
            if cell:
                console.print(line, soft_wrap=long, markup=False)
