"""The page of the comparison, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError, suggestion
from norsim.validation.row import AGREEMENT, Predicted, Row
from norsim.validation.rows import ROWS

# A command that writes the page, with one row.
COMMAND = "norsim validate --row guo-drift --page validation.md"
HEAD = f"""# Compared with silicon

Published measurements of NOR-flash and SONOS arrays, and what norsim predicts for them. Each array has a chip file in
`models/chips/published/`, in which every value has its source or is marked as assumed. The chip files were written
before the predictions were made, and no key was changed afterwards to meet a number. A value that follows from keys
which were fitted to the same measurement is marked as fitted, and is no agreement. A prediction within a factor of
{AGREEMENT:g} counts as agreement. The bound is the factor that a test of norsim holds.

The page is written by a command, in about a minute:

```sh
{COMMAND}
```

It has all rows if none is named. `norsim chip check published/guo-2017` checks a chip file, and other commands take its
name for their chip. [Beside published macros](theory/macros.md) has more energies, and their parts.
"""


def chosen(names: Sequence[str]) -> tuple[Row, ...]:
    """Return the rows of these names, all without any. Raises ConfigurationError for an unknown name."""
    known = {row.name: row for row in ROWS}
    for name in names:
        if name not in known:
            raise ConfigurationError(f"there is no row {name!r}; {suggestion(name, known)}")
    return tuple(row for row in ROWS if not names or row.name in names)


def predictions(rows: Iterable[Row]) -> Iterable[tuple[Row, Predicted | None]]:
    """Yield each row with its prediction, None for a row that norsim cannot predict."""
    for row in rows:
        yield row, None if row.predict is None or row.chip is None else row.predict(partial(load_chip, row.chip))


def line(row: Row, found: Predicted | None) -> str:
    """Return a row of the table."""
    published = f"{'below ' if row.at_most else ''}{row.published:.4g} {row.unit}"
    cells = ["–", "not predicted", "–"]
    if found is not None:
        bound = f"at most {row.bound:g} ×" if row.at_most else f"{row.bound:g} ×"
        cells = [f"{found.value:.3g} {row.unit}", f"{row.factor(found):.2g} ×, {row.verdict(found)}", bound]
    return f"| {' | '.join([f'`{row.name}`', row.measured, published, *cells])} |"


def page_of(found: Mapping[str, Predicted | None]) -> str:
    """Return the page of some rows, from their predictions by name."""
    rows = [row for row in ROWS if row.name in found]
    table = [
        "| row | measured | published | predicted | predicted / published | bound |",
        "|---|---|---|---|---|---|",
        *(line(row, found[row.name]) for row in rows),
    ]
    notes = [_note(row, found[row.name]) for row in rows]
    return "\n".join([HEAD, "## Rows", "", *table, "", "## What could explain the differences", "", *notes])


def _note(row: Row, found: Predicted | None) -> str:
    details = f" {found.details}" if found is not None and found.details else ""
    chip = "" if row.chip is None else f" Chip file: `{row.chip}`."
    because = row.because[0].upper() + row.because[1:].rstrip(".")
    return f"- `{row.name}`:{details} {because}.{chip} Source: {row.source}."
