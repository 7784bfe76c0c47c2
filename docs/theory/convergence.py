"""Measures and draws how macro comes near to nodal: `convergence.csv` and `convergence.svg`.

    python docs/theory/convergence.py [FOLDER]      writes both into FOLDER, beside this file by default

A tile of random weight codes of the preset chip is read by nodal, and by reduced models with more and more
blocks, each with some of its parts taken out. Errors are those of sensed outputs, in units of full scale.
The same matplotlib draws the same numbers in the same bytes.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes

from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends import program
from norsim.config import load_chip
from norsim.periphery.bit_serial import BitSerial
from norsim.periphery.encoding import full_scale_amps, sensed_amps
from norsim.periphery.linear_pair import LinearPair
from norsim.solver import macro, nodal, tables
from norsim.solver.macro import Macro, Presolved
from norsim.spice import ngspice
from norsim.spice.sweep import drain_amps

SIZE = (128, 64)
BLOCKS = (1, 2, 4, 8, 16, 32)
VECTORS = 48
SEED = 7
ENCODINGS = ("bit-serial", "linear-pair")
IDEAL = "no wires"
STYLE = {"svg.hashsalt": "norsim", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 10}
COLOURS = {IDEAL: "#5d6b78", "level": "#b4531f", "level, common": "#2f6fae", "level, common, local": "#3a7d44"}


def without(solved: Presolved, common: bool, local: bool) -> Presolved:
    """A presolved tile with its slopes left out where `common` or `local` says False."""
    return replace(solved, common=solved.common * float(common), local=solved.local * float(local))


VARIANTS: dict[str, Callable[[Presolved], Presolved]] = {
    "level": lambda solved: without(solved, False, False),
    # Without the local slope, lines that share a group are all taken to move as their mean does.
    "level, common": lambda solved: without(solved, True, False),
    "level, common, local": lambda solved: solved,
}


@dataclass(frozen=True)
class Point:
    """One model's largest and root mean square error, in units of full scale; 0 blocks where it has none."""

    encoding: str
    variant: str
    blocks: int
    largest: float
    rms: float


@dataclass(frozen=True, eq=False)
class Case:
    """A tile, its drives `[vectors, inputs]` and stimulus, what nodal solves it from, and how it is sensed."""

    encoding: BitSerial | LinearPair
    tile: Tile
    drive: macro.Driven
    x: Floats
    stimulus: Stimulus
    prepared: nodal.Prepared
    inputs: int
    outputs: int

    def sensed(self, currents: Currents) -> Floats:
        """`[vectors, outputs]` in units of full scale."""
        amps = sensed_amps(currents, self.encoding.sense(self.outputs))
        return amps / full_scale_amps(self.encoding, self.inputs, 4, 4)

    def reduced(self, model: Macro) -> Floats:
        """The same from a reduced model."""
        lines, nothing = model.lines(torch.from_numpy(self.x)).numpy(), np.empty((len(self.x), 0))
        bitline, source = (lines, nothing) if self.drive.direction == "wordlines" else (nothing, lines)
        return self.sensed(Currents(bitline, source, np.ones(len(lines), dtype=np.bool_), lines[:, 0], "macro"))


def make_case(encoding_name: str, size: tuple[int, int], vectors: int) -> Case:
    """Random weights, and random drives of all densities after the full one and the last input alone."""
    chip = load_chip("etox65", (f"encoding={encoding_name}",))
    encoding, random = chip.encoding, np.random.default_rng(SEED)
    inputs, outputs = encoding.capacity(*size)
    weights = random.integers(0, 16, (inputs, outputs), dtype=np.uint8)
    tile = Tile(program(chip.cell, encoding).thresholds[encoding.cell_codes(weights, 7)], chip.cell, chip.wires)
    x = (random.random((vectors, inputs)) < random.uniform(0.05, 0.95, (vectors, 1))).astype(np.float64)
    if encoding_name == "linear-pair":
        x *= random.integers(0, 16, x.shape) / 15
    x[0], x[1], x[1, -1] = 1.0, 0.0, 1.0
    gate, drain = encoding.verify_volts
    serial = encoding_name == "bit-serial"
    drive = macro.Driven("wordlines", gate, drain) if serial else macro.Driven("bitlines", drain, gate)
    stimulus = drive.stimulus(x, tile)
    box = tables.bounds(tile, stimulus, drain_amps)
    simulator = ngspice.version_line(ngspice.find_ngspice())
    levels = np.unique(stimulus.wordline_volts), np.unique(tile.thresholds)
    table = tables.table(tile.cell, *levels, box, drain_amps, simulator)
    return Case(encoding, tile, drive, x, stimulus, nodal.prepare(tile, table), inputs, outputs)


def measure(
    encoding_name: str, size: tuple[int, int] = SIZE, counts: tuple[int, ...] = BLOCKS, vectors: int = VECTORS
) -> list[Point]:
    """The errors of all variants with those numbers of blocks."""
    case = make_case(encoding_name, size, vectors)
    exact = case.sensed(nodal.solve(case.prepared, case.stimulus))
    wires = case.tile.wires
    bare = replace(case.tile, wires=Wires(0.0, 0.0, 0.0, 0.0, wires.rows_per_source_line, wires.strap_every))
    sums = case.sensed(nodal.solve(nodal.prepare(bare, case.prepared.table), case.stimulus))
    found = [_point(encoding_name, IDEAL, 0, sums - exact)]
    solved = macro.presolve(case.prepared, case.drive, np.random.default_rng(0))
    scale = case.prepared.table.top_amps * case.inputs
    for variant, change in VARIANTS.items():
        for blocks in counts:
            model = macro.assemble(case.tile, case.drive, change(solved), blocks, scale, torch.float64)
            found.append(_point(encoding_name, variant, blocks, case.reduced(model) - exact))
    return found


def _point(encoding_name: str, variant: str, blocks: int, errors: Floats) -> Point:
    return Point(encoding_name, variant, blocks, float(np.abs(errors).max()), float(np.sqrt(np.square(errors).mean())))


def write_csv(points: list[Point], path: Path) -> None:
    """One row a model, three digits: what is beyond them differs between machines."""
    with open(path, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["encoding", "variant", "blocks", "max_error_full_scale", "rms_error_full_scale"])
        for point in points:
            rows.writerow([point.encoding, point.variant, point.blocks, f"{point.largest:.2e}", f"{point.rms:.2e}"])


def read_csv(path: Path) -> list[Point]:
    """What `write_csv` wrote."""
    with open(path, newline="") as file:
        return [
            Point(row["encoding"], row["variant"], int(row["blocks"]), float(row["max_error_full_scale"]),
                  float(row["rms_error_full_scale"]))
            for row in csv.DictReader(file)
        ]  # fmt: skip


def draw(points: list[Point], path: Path) -> None:
    """A panel an encoding: solid the largest error, dashed the root mean square."""
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(ENCODINGS), figsize=(9.0, 4.2), sharey=True, layout="constrained")
        for ax, encoding in zip(axes, ENCODINGS, strict=True):
            panel(ax, encoding, [point for point in points if point.encoding == encoding])
        axes[0].set_ylabel("error against nodal / full scale")
        axes[1].legend(loc="lower left", fontsize=9)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def panel(ax: Axes, title: str, points: list[Point]) -> None:
    """Errors over the number of blocks."""
    counts = sorted({point.blocks for point in points} - {0})
    for variant, colour in COLOURS.items():
        mine = [point for point in points if point.variant == variant]
        across = counts if variant == IDEAL else [point.blocks for point in mine]
        for name, style in (("largest", "-"), ("rms", "--")):
            values = [getattr(point, name) for point in mine] * (len(counts) if variant == IDEAL else 1)
            marker = "" if variant == IDEAL else "o"
            label = variant if name == "largest" else None
            ax.plot(across, values, style, color=colour, marker=marker, markersize=4, lw=1.5, label=label)
    ax.set(title=title, xscale="log", yscale="log", xlabel="blocks", xticks=counts, xticklabels=counts)
    ax.minorticks_off()
    ax.grid(color="#e3e7eb")


def main(folder: Path) -> None:
    """Measures both encodings and writes the numbers and the picture."""
    write_csv([point for encoding in ENCODINGS for point in measure(encoding)], folder / "convergence.csv")
    draw(read_csv(folder / "convergence.csv"), folder / "convergence.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
