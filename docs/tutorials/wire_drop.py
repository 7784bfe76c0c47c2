"""Measure and draw the loss of bitline current from wire resistance: `wire_drop.csv` and `wire_drop.svg`.

    python docs/tutorials/wire_drop.py [FOLDER]      writes both into FOLDER, beside this file by default

One bitline of the preset `etox65` with every cell at the top code and all wordlines up, for several numbers of
wordlines and two resistances per segment, solved by nodal, with the estimate of docs/theory/array.md. One version of
matplotlib always writes the same bytes for the same numbers.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.programming import program_levels
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.periphery.bit_serial import BitSerial

LENGTHS = (16, 32, 64, 128, 256, 512)
SEGMENTS = (0.4, 4.0)
STYLE = {"svg.hashsalt": "norsim", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 10}


class Point(NamedTuple):
    """A bitline: ohms per segment, number of cells, and the share of the current lost.

    `last_volts` is the estimated voltage drop at the drain of the last cell, in volts.
    """

    segment_ohms: float
    wordlines: int
    share_lost: float
    last_volts: float


def measure(backend: str = "nodal", lengths: tuple[int, ...] = LENGTHS) -> list[Point]:
    """Return a point for every resistance and length, for a single bitline with lossless source lines."""
    chip = load_chip("etox65")
    encoding = chip.encoding
    assert isinstance(encoding, BitSerial)
    levels = program_levels(chip.cell, encoding)
    points = []
    for ohms in SEGMENTS:
        wires = replace(Wires(), bitline_ohms=ohms)
        for cells in lengths:
            tile = Tile(np.full((cells, 1), levels.thresholds[-1]), chip.cell, wires)
            up = np.full((1, cells), encoding.wordline_volts)
            found = read(tile, Stimulus(up, np.full((1, 1), encoding.bitline_volts)), backend).bitline[0, 0]
            drop = encoding.top_amps * ohms * cells * (cells - 1) / 2
            points.append(Point(ohms, cells, float(1 - found / (cells * encoding.top_amps)), drop))
    return points


def write_csv(points: list[Point], path: Path) -> None:
    """Write numbers with four digits, so that every machine writes the same."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Point._fields)
        for point in points:
            writer.writerow(f"{value:.4g}" for value in point)


def read_csv(path: Path) -> list[Point]:
    """Read the file that `write_csv` wrote."""
    with path.open(newline="") as file:
        return [Point(float(a), int(b), float(c), float(d)) for a, b, c, d in list(csv.reader(file))[1:]]


def draw(points: list[Point], path: Path) -> None:
    """Draw the share lost over the number of cells, one line per resistance."""
    with matplotlib.rc_context(STYLE):
        figure, panel = plt.subplots(figsize=(5.4, 3.4), layout="constrained")
        for ohms, colour in zip(SEGMENTS, ("#2f6fae", "#b4531f"), strict=True):
            line = [point for point in points if point.segment_ohms == ohms]
            panel.loglog(
                [point.wordlines for point in line], [100 * point.share_lost for point in line], "o-", color=colour,
                ms=4, label=f"{ohms:g} ohm per segment",
            )  # fmt: skip
        panel.set_xticks(LENGTHS, [str(length) for length in LENGTHS])
        panel.set_xticks([], minor=True)
        panel.set_xlabel("cells on the bitline, all conducting")
        panel.set_ylabel("current lost, %")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def main() -> None:
    """Write both files into the folder given on the command line."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    write_csv(measure(), folder / "wire_drop.csv")
    draw(read_csv(folder / "wire_drop.csv"), folder / "wire_drop.svg")


if __name__ == "__main__":
    main()
