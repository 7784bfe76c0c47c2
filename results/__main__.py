"""`python -m results [--data DIR] [--networks NAME ...]`: all runs, those finished before kept; docs/results.md."""

from __future__ import annotations

from norsim.files import write_text
from results.cases import cases, options
from results.figures import draw
from results.page import page


def main() -> None:
    """Runs what is missing and writes the page."""
    chosen = options("python -m results", __doc__, "results.md").parse_args()
    found = {
        network: {case.name: case.run(chosen.runs, chosen.data) for case in cases(network)}
        for network in chosen.networks
    }
    draw(found, chosen.page.parent / "pictures")
    write_text(chosen.page, page(found))


if __name__ == "__main__":
    main()
