"""`norsim validate`: published measurements beside what norsim predicts for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from norsim.commands.shared import show
from norsim.commands.shared.options import print_json
from norsim.errors import ThresholdError
from norsim.files import write_text
from norsim.folders.output import check_writable

if TYPE_CHECKING:
    from norsim.validation.row import Predicted, Row


@click.command("validate")
@click.option("--row", "names", multiple=True, metavar="NAME", help="Only this row of the page. Repeatable.")
@click.option(
    "--page", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the page, in Markdown."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and nothing else.")
def command(names: tuple[str, ...], page: Path | None, as_json: bool) -> None:
    """Predict published measurements of NOR-flash and SONOS arrays, from chip files of them alone.

    Print a line for each measurement. Exit with code 5 if a prediction is outside the bound of its row.

    \b
    Examples:
      norsim validate --row guo-drift
      norsim validate --page validation.md
    """
    if page is not None:
        check_writable(page.parent)
    from norsim.validation.page import chosen, page_of, predictions

    found, outside = {}, []
    for row, predicted in predictions(chosen(names)):
        found[row.name] = predicted
        if not as_json:
            show.advise(_said(row, predicted))
        if predicted is not None and not row.within(predicted, row.bound):
            outside.append(row.name)
    if page is not None:
        write_text(page, page_of(found))
    if as_json:
        rows = [
            {
                "name": row.name, "published": row.published, "unit": row.unit, "at_most": row.at_most,
                "bound": row.bound, "counts": row.counts if predicted else None,
                "predicted": predicted.value if predicted else None,
                "factor": row.factor(predicted) if predicted else None,
            }
            for row in chosen(names) for predicted in [found[row.name]]
        ]  # fmt: skip
        print_json({"ok": not outside, "rows": rows})
    if outside:
        raise ThresholdError(f"predictions outside of their bounds: {', '.join(outside)}")


def _said(row: Row, found: Predicted | None) -> str:
    """Return a line about a row."""
    published = f"{row.name}: {row.published:g} {row.unit} published"
    if found is None:
        return f"{published}; not predicted"
    return f"{published}, {found.value:.3g} {row.unit} predicted, {row.factor(found):.2g} x"
