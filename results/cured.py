"""`python -m results.cured levels|tuned eval-network --network NAME [--data DIR] --out DIR ...`: cures in two commands.

`levels` chooses level currents and drain volts by a sweep on training images, `tuned` trains the network on through the
circuit; both on the chip of the evaluation that follows, of all test images. What comes first is in DIR-first.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from norsim.commands import main

CHOICE = (
    "--split", "train", "--images", "500", "--spice-sample", "0",
    "--vary", "bit_serial.top_level=0.2 uA,0.4 uA,0.8 uA,1.6 uA", "--vary", "bit_serial.bitline_read=0.3 V,0.5 V,1 V",
)  # fmt: skip


def run(lever: str, command: str, words: list[str]) -> None:
    """The cure, then the evaluation with it."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--spice-sample", required=True)
    parser.add_argument("--proof-images", required=True)
    parser.add_argument("--quiet", action="store_true")
    chosen, subject = parser.parse_known_args(words)
    first = chosen.out.with_name(f"{chosen.out.name}-first")
    resumed = ["--out", str(first), "--resume"]
    if lever == "levels":
        norsim("sweep", *subject, *CHOICE, *resumed)
        words += ["--chip", str(first / "best.yaml")]
    else:
        norsim("finetune", *subject, *resumed)
        words += ["--network", str(first)]
    norsim(command, *words)


def norsim(*words: str) -> None:
    """One command, in this process."""
    sys.argv = ["norsim", *words]
    main()


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], sys.argv[3:])
