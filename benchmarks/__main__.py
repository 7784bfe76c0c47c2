"""`python -m benchmarks`: measure everything and write docs/performance.md. Exits with 1 if a bound is not met.

With `--long`, ngspice also solves the 256x128 linear-pair tiles, which takes many minutes."""

from __future__ import annotations

import argparse
import sys

from benchmarks import page
from benchmarks.plan import FULL, LONG, run
from norsim.files import write_text


def main() -> int:
    """Run the benchmarks; return 0 if all bounds are met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure norsim's solvers.")
    parser.add_argument("--long", action="store_true", help="solve the largest linear-pair tiles with ngspice, too")
    found = run(LONG if parser.parse_args().long else FULL)
    write_text(page.PAGE, page.page(found))
    missed = page.unmet(found)
    for claim in missed:
        print(f"not met: {claim.text}", file=sys.stderr)
    print(f"{page.PAGE.name} is written; {len(missed)} bounds are not met", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
