"""`python -m results [--data DIR] [--networks NAME ...]`: all runs, those finished before kept; docs/results.md."""

from __future__ import annotations

import argparse
from pathlib import Path

from norsim.files import write_text
from results.cases import cases, networks
from results.figures import draw
from results.page import page

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Runs what is missing and writes the page."""
    parser = argparse.ArgumentParser(prog="python -m results", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of CIFAR-10, for the networks that need it")
    parser.add_argument("--networks", nargs="*", default=networks(), help="shipped networks; all by default")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "results", help="where the runs are kept")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "results.md", help="the page to write")
    chosen = parser.parse_args()
    found = {
        network: {case.name: case.run(chosen.runs, chosen.data) for case in cases(network)}
        for network in chosen.networks
    }
    draw(found, chosen.page.parent / "pictures")
    write_text(chosen.page, page(found))


if __name__ == "__main__":
    main()
