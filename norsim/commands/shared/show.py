"""Results for people on stdout: tables that fit the terminal, and plain text where there is none.

Rich leaves colours out in a pipe and under NO_COLOR. A table never breaks a word or a number: where even its longest
words do not fit side by side, each row is written below the other, a line a cell.
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
# What a column takes beside its text: a border and a space on either side.
BESIDE = 3
# What stands right in its column: a number, whatever its unit, or that there is none.
NUMBER = re.compile(r"[-+]?\d.*|unknown|")


def on_terminal() -> bool:
    """Whether somebody reads along."""
    return Console().is_terminal


def narrow() -> bool:
    """Whether somebody reads along on less than a hundred columns, so that what matters least is better left out."""
    return on_terminal() and Console().width < WIDE


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """A table that fits the terminal; columns of numbers are set right. `headings` may be empty."""
    cells = [tuple(row) for row in rows]
    console = Console()
    columns = list(zip(*([tuple(headings), *cells] if headings else cells), strict=True))
    widths = _fitted([_longest_word(column) for column in columns], [max(map(cell_len, column)) for column in columns],
                     console.width - 1 - BESIDE * len(columns))  # fmt: skip
    if widths is None:
        _stacked(console, headings, cells, title)
        return
    # As Text, because what is in brackets would be markup in a string.
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
    """The table on a terminal, the lines in a pipe."""
    if on_terminal():
        table(headings, rows)
    else:
        for line in lines:
            click.echo(line)


def say(text: str) -> None:
    """A sentence, wrapped between words."""
    Console().print(text, markup=False)


def advise(text: str) -> None:
    """A sentence, wrapped between words on a terminal, and in one line in a pipe."""
    console = Console()
    console.print(text, markup=False, soft_wrap=not console.is_terminal)


def say_path(text: str) -> None:
    """A line that ends in a path, which is left whole, so that it can be copied."""
    Console().print(text, soft_wrap=True, markup=False)


def entries(content: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """(dotted key, value) of everything in nested content; a list of contents is counted."""
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
    """One value: yes and no, numbers to four digits, lists with commas."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(text_of, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _longest_word(column: Sequence[str]) -> int:
    return max(cell_len(word) for cell in column for word in (cell.split() or [""]))


def _fitted(least: Sequence[int], most: Sequence[int], room: int) -> list[int] | None:
    """Widths of columns from `least` to `most` that take at most `room`; None where there are none."""
    spare = room - sum(least)
    if spare < 0:
        return None
    widths = list(least)
    # Who wants little first: what it leaves is for the others.
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
            # A path or another long word is left whole, for the terminal to wrap.
            long = _longest_word([line]) > console.width
            if cell:
                console.print(line, soft_wrap=long, markup=False)
