"""Measures and draws what a bitline's wire takes from its current: `wire_drop.csv` and `wire_drop.svg`.

    python docs/tutorials/wire_drop.py [FOLDER]      writes both into FOLDER, beside this file by default

One bitline of the preset `etox65` with every cell at the top code and all wordlines up, for more and more wordlines and
two resistances of a segment, by nodal; beside it the estimate of docs/theory/array.md. The same matplotlib draws the
same numbers in the same bytes.
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
    """A bitline: ohms of a segment, cells, and the share of the current that its wire takes.

    `last_volts` is what the last cell's drain lacks by the estimate, in volts.
    """

    segment_ohms: float
    wordlines: int
    share_lost: float
    last_volts: float


def measure(backend: str = "nodal", lengths: tuple[int, ...] = LENGTHS) -> list[Point]:
    """Every segment with every length; a bitline alone, its source lines without resistance."""
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
    """Numbers with four digits, so that they mean the same on every machine."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Point._fields)
        for point in points:
            writer.writerow(f"{value:.4g}" for value in point)


def read_csv(path: Path) -> list[Point]:
    """What `write_csv` has written."""
    with path.open(newline="") as file:
        return [Point(float(a), int(b), float(c), float(d)) for a, b, c, d in list(csv.reader(file))[1:]]


def draw(points: list[Point], path: Path) -> None:
    """The share lost over the number of cells, a line for each resistance."""
    with matplotlib.rc_context(STYLE):
        figure, panel = plt.subplots(figsize=(5.4, 3.4), layout="constrained")
        for ohms, colour in zip(SEGMENTS, ("#2f6fae", "#b4531f"), strict=True):
            line = [point for point in points if point.segment_ohms == ohms]
            panel.loglog(
                [point.wordlines for point in line], [100 * point.share_lost for point in line], "o-", color=colour,
                ms=4, label=f"{ohms:g} ohm a segment",
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
    """Both files into the folder that the command line names."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    write_csv(measure(), folder / "wire_drop.csv")
    draw(read_csv(folder / "wire_drop.csv"), folder / "wire_drop.svg")


if __name__ == "__main__":
    main()
