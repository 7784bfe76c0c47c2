"""Measure and draw the convergence of macro to nodal: `convergence.csv` and `convergence.svg`.

    python docs/theory/convergence.py [FOLDER]      writes both into FOLDER, beside this file by default

A tile of random weight codes of the preset chip is read by nodal, and by reduced models with increasing numbers
of blocks, each with some of its parts removed. Errors are those of sensed outputs, in units of full scale.
One version of matplotlib always writes the same bytes for the same numbers.
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
from norsim.backends.programming import program_levels
from norsim.chip.load import load_chip
from norsim.periphery.bit_serial import BitSerial
from norsim.periphery.encoding import full_scale_amps, sensed_amps
from norsim.periphery.linear_pair import LinearPair
from norsim.solver import characterisation_cache, nodal
from norsim.solver.input_lines import Driven
from norsim.solver.macro import build
from norsim.solver.macro.model import Macro
from norsim.solver.macro.presolve import presolve
from norsim.spice.simulators import ngspice
from norsim.spice.simulators.ngspice import drain_amps

SIZE = (128, 64)
BLOCKS = (1, 2, 4, 8, 16)
VECTORS = 48
SEED = 7
ENCODINGS = ("bit-serial", "linear-pair")
IDEAL = "no wires"
STYLE = {"svg.hashsalt": "norsim", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 10}
COLOURS = {
    IDEAL: "#5d6b78",
    "level": "#b4531f",
    "level, field": "#2f6fae",
    "level, field, deviation": "#8a4fa3",
    "level, field, gain, one slope": "#c99700",
    "level, field, deviation, gain": "#3a7d44",
}


def only_levels(model: Macro) -> Macro:
    """Keep summing lines at their profile: no field acts, and no line deviates."""
    field, of_field = model.field, model.tables[-1].clone()
    # The effect of the field's voltages beyond `response`: all terms but the constant, the share and the balance.
    of_field[:, 2:-1] = 0
    response = torch.zeros_like(field.response)
    response[0] = 1
    still = replace(field, response=response, shift=0 * field.shift)
    return without_deviation(replace(model, tables=(*model.tables[:-1], of_field), field=still))


def without_deviation(model: Macro) -> Macro:
    """Move lines only with the field: the current of a line is the plain sum over its blocks."""
    return without_gain(replace(model, sums=torch.ones_like(model.sums), rounds=0))


def one_slope(model: Macro) -> Macro:
    """Give all lines the mean slope: leave out the fixed point."""
    return replace(model, rounds=0)


def without_gain(model: Macro) -> Macro:
    """Ignore where in its block a current enters, which is the only use of the local slopes of the field."""
    return replace(model, field=replace(model.field, local_slopes=0 * model.field.local_slopes))


VARIANTS: dict[str, Callable[[Macro], Macro]] = {
    "level": only_levels,
    "level, field": without_deviation,
    "level, field, deviation": without_gain,
    "level, field, gain, one slope": one_slope,
    "level, field, deviation, gain": lambda model: model,
}


@dataclass(frozen=True)
class Point:
    """The largest and root mean square error of a model, in full scale; 0 blocks for a model without blocks."""

    encoding: str
    variant: str
    blocks: int
    largest: float
    rms: float


@dataclass(frozen=True, eq=False)
class Case:
    """A tile, its drives `[vectors, inputs]` and stimulus, its factored form for nodal, and how it is sensed."""

    encoding: BitSerial | LinearPair
    tile: Tile
    drive: Driven
    x: Floats
    stimulus: Stimulus
    prepared: nodal.Prepared
    inputs: int
    outputs: int

    def sensed(self, currents: Currents) -> Floats:
        """Return `[vectors, outputs]` in units of full scale."""
        amps = sensed_amps(currents, self.encoding.sense(self.outputs))
        return amps / full_scale_amps(self.encoding, self.inputs, 4, 4)

    def reduced(self, model: Macro) -> Floats:
        """Return the same from a reduced model."""
        lines, nothing = model.lines(torch.from_numpy(self.x)).numpy(), np.empty((len(self.x), 0))
        bitline, source = (lines, nothing) if self.drive.direction == "wordlines" else (nothing, lines)
        return self.sensed(Currents(bitline, source, np.ones(len(lines), dtype=np.bool_), lines[:, 0], "macro"))


def make_case(encoding_name: str, size: tuple[int, int], vectors: int) -> Case:
    """Make a tile of random weights, with the full drive, the last input alone, and random drives of all densities."""
    chip = load_chip("etox65-ideal-straps", (f"encoding={encoding_name}",))
    encoding, random = chip.encoding, np.random.default_rng(SEED)
    inputs, outputs = encoding.capacity(*size)
    weights = random.integers(0, 16, (inputs, outputs), dtype=np.uint8)
    tile = Tile(program_levels(chip.cell, encoding).thresholds[encoding.cell_codes(weights, 7)], chip.cell, chip.wires)
    gate, drain = encoding.verify_volts
    drive = Driven("wordlines", gate, drain) if encoding_name == "bit-serial" else Driven("bitlines", drain, gate)
    x = build.random_drives(tile, drive, vectors, random)
    stimulus = drive.stimulus(x, tile)
    box = characterisation_cache.bounds(tile, stimulus, drain_amps)
    simulator = ngspice.version_line(ngspice.find_ngspice())
    levels = np.unique(stimulus.wordline_volts), np.unique(tile.thresholds)
    table = characterisation_cache.table(tile.cell, *levels, box, drain_amps, simulator)
    return Case(encoding, tile, drive, x, stimulus, nodal.prepare(tile, table), inputs, outputs)


def measure(
    encoding_name: str, size: tuple[int, int] = SIZE, counts: tuple[int, ...] = BLOCKS, vectors: int = VECTORS
) -> list[Point]:
    """Return the errors of all variants with these numbers of blocks."""
    case = make_case(encoding_name, size, vectors)
    exact = case.sensed(nodal.solve(case.prepared, case.stimulus))
    wires = case.tile.wires
    bare = replace(case.tile, wires=Wires(0.0, 0.0, 0.0, 0.0, wires.rows_per_source_line, wires.strap_every))
    sums = case.sensed(nodal.solve(nodal.prepare(bare, case.prepared.table), case.stimulus))
    found = [_point(encoding_name, IDEAL, 0, sums - exact)]
    random = np.random.default_rng(0)
    solved = presolve(case.prepared, case.drive, random)
    fit = torch.from_numpy(build.random_drives(case.tile, case.drive, build.FIT_VECTORS, random))
    scale = case.prepared.table.top_amps * case.x.shape[1]
    models = [
        build.assemble(case.tile, case.drive, solved, None, fit, blocks, scale, torch.float64) for blocks in counts
    ]
    for variant, change in VARIANTS.items():
        for blocks, model in zip(counts, models, strict=True):
            found.append(_point(encoding_name, variant, blocks, case.reduced(change(model)) - exact))
    return found


def _point(encoding_name: str, variant: str, blocks: int, errors: Floats) -> Point:
    return Point(encoding_name, variant, blocks, float(np.abs(errors).max()), float(np.sqrt(np.square(errors).mean())))


def write_csv(points: list[Point], path: Path) -> None:
    """Write one row per model, with three digits, because further digits differ between machines."""
    with open(path, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["encoding", "variant", "blocks", "max_error_full_scale", "rms_error_full_scale"])
        for point in points:
            rows.writerow([point.encoding, point.variant, point.blocks, f"{point.largest:.2e}", f"{point.rms:.2e}"])


def read_csv(path: Path) -> list[Point]:
    """Read the file that `write_csv` wrote."""
    with open(path, newline="") as file:
        return [
            Point(row["encoding"], row["variant"], int(row["blocks"]), float(row["max_error_full_scale"]),
                  float(row["rms_error_full_scale"]))
            for row in csv.DictReader(file)
        ]  # fmt: skip


def draw(points: list[Point], path: Path) -> None:
    """Draw one panel per encoding: the largest error solid, the root mean square dashed."""
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(ENCODINGS), figsize=(9.0, 4.6), sharey=True, layout="constrained")
        for ax, encoding in zip(axes, ENCODINGS, strict=True):
            panel(ax, encoding, [point for point in points if point.encoding == encoding])
        axes[0].set_ylabel("error against nodal / full scale")
        figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def panel(ax: Axes, title: str, points: list[Point]) -> None:
    """Draw errors over the number of blocks."""
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
    """Measure both encodings and write the numbers and the picture."""
    write_csv([point for encoding in ENCODINGS for point in measure(encoding)], folder / "convergence.csv")
    draw(read_csv(folder / "convergence.csv"), folder / "convergence.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
