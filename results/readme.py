"""What README.md says of accuracies on the array, from the files of parts."""

from __future__ import annotations

import re
from pathlib import Path

from norsim.files import write_text
from results.cells import Found, lost, percent, row, table
from results.plan import REFERENCE, SHIPPED, SMALL

BETWEEN = re.compile(r"<!-- results -->\n.*?<!-- end of results -->", re.DOTALL)


def write(found: Found, path: Path) -> None:
    """Write the sentences into the file, between their two marks."""
    text = path.read_text()
    write_text(path, BETWEEN.sub(lambda _: f"<!-- results -->\n{sentences(found)}<!-- end of results -->", text))


def sentences(found: Found) -> str:
    """Return a table of the networks on the array that have been measured, and the effect of the stress chip."""
    measured = [one for one in (row(found, network, REFERENCE) for network in SHIPPED) if one.results]
    right = ((one, one.correct("float"), one.correct("array")) for one in measured)
    each = ([one.network, str(len(one.images)), percent(array), lost(before, array)[0]] for one, before, array in right)
    head = "network | images | on the array | loss against float, points"
    text = "\n".join(table(head, each)) if measured else "Not measured yet.\n"
    bare, cured = row(found, SMALL, "stress"), row(found, SMALL, "stress-in-place")
    if bare.results and cured.results:
        text += (
            f"\nOn the chip `etox65-stress`, whose source lines are more resistive, {SMALL} keeps "
            f"{percent(bare.correct('array'))} of {len(bare.images)} images, and {percent(cured.correct('array'))} "
            "with its cells programmed in place.\n"
        )
    return text
