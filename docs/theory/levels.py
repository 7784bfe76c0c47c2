"""Measure and draw the cell of the preset `etox65` and its levels: `levels.csv` and `levels.svg`.

    python docs/theory/levels.py [FOLDER]      writes both into FOLDER, beside this file by default

The currents are those of single cells in ngspice, at the drain voltage of a bit-serial read. One version of matplotlib
always writes the same bytes for the same numbers.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from norsim.array.tile import Floats
from norsim.backends.programming import program_levels
from norsim.chip.load import load_chip
from norsim.periphery.bit_serial import BitSerial
from norsim.spice.simulators.ngspice import drain_amps

SHOWN = (0, 3, 6, 9, 12, 15)
GATES = np.linspace(3.0, 6.5, 36)
STYLE = {"svg.hashsalt": "norsim", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 10}


class Point(NamedTuple):
    """A cell at the level of a weight code: threshold and gate in volts, current in amperes."""

    code: int
    threshold_volts: float
    gate_volts: float
    amps: float


def measure() -> list[Point]:
    """Return every level at the gate voltage of a read, after some of them over all of `GATES`."""
    chip = load_chip("etox65")
    encoding = chip.encoding
    assert isinstance(encoding, BitSerial)
    thresholds = program_levels(chip.cell, encoding).thresholds
    asked = [(code, gate) for code in SHOWN for gate in GATES]
    asked += [(code, encoding.wordline_volts) for code in range(len(thresholds))]
    codes, gates = np.array([code for code, _ in asked]), np.array([gate for _, gate in asked])
    drains: Floats = np.full(len(asked), encoding.bitline_volts)
    amps = drain_amps(chip.cell, gates, drains, np.zeros(len(asked)), thresholds[codes])
    return [
        Point(int(code), float(thresholds[code]), float(gate), float(current))
        for code, gate, current in zip(codes, gates, amps, strict=True)
    ]


def write_csv(points: list[Point], path: Path) -> None:
    """Write numbers with six digits, so that every machine writes the same."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Point._fields)
        for point in points:
            writer.writerow([point.code, *(f"{value:.6g}" for value in point[1:])])


def read_csv(path: Path) -> list[Point]:
    """Read the file that `write_csv` wrote."""
    with path.open(newline="") as file:
        return [Point(int(code), *map(float, rest)) for code, *rest in list(csv.reader(file))[1:]]


def draw(points: list[Point], path: Path) -> None:
    """Draw currents over gate voltage on the left, thresholds over currents on the right."""
    over_gates, levels = points[: len(SHOWN) * len(GATES)], points[len(SHOWN) * len(GATES) :]
    with matplotlib.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(8.0, 3.4), layout="constrained")
        for number, code in enumerate(SHOWN):
            of_code = [point for point in over_gates if point.code == code]
            colour = plt.get_cmap("viridis")(0.9 * number / (len(SHOWN) - 1))
            left.plot([p.gate_volts for p in of_code], [1e6 * p.amps for p in of_code], color=colour, label=f"{code}")
        left.axvline(levels[0].gate_volts, color="#5d6b78", linewidth=0.8, linestyle="--")
        left.set_xlabel("gate, V")
        left.set_ylabel("current, µA")
        left.legend(title="weight code", fontsize=8, title_fontsize=8)
        right.plot([1e6 * p.amps for p in levels], [p.threshold_volts for p in levels], "o-", color="#b4531f", ms=4)
        right.set_xlabel(f"current with the gate at {levels[0].gate_volts:g} V, µA")
        right.set_ylabel("threshold, V")
        for panel in (left, right):
            panel.grid(alpha=0.3)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def main() -> None:
    """Write both files into the folder given on the command line."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    write_csv(measure(), folder / "levels.csv")
    draw(read_csv(folder / "levels.csv"), folder / "levels.svg")


if __name__ == "__main__":
    main()
