"""An IR-drop study: what the source lines of a tile take from the current of each bitline, and what straps give back.

python examples/ir_drop.py [FOLDER]      writes ir_drop.svg into FOLDER, by default into this one
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from pictures import parser, save

import norsim
from norsim.backends.programming import program_levels

OHMS, STRAPS, WORDLINES, BITLINES = (5.0, 20.0, 50.0, 150.0), (8, 16, 32), 128, 64


@dataclass(frozen=True)
class Study:
    """The share of its current that each bitline loses, `[bitlines]`, by (ohms a cell, bitlines between two straps).

    `distance` is the largest difference between nodal and ngspice over all bitlines, of the one point that ngspice
    solves too, as a share of the largest current.
    """

    lost: dict[tuple[float, int], NDArray[np.float64]]
    distance: float


def tile_and_drive(wires: norsim.Wires, wordlines: int, bitlines: int) -> tuple[norsim.Tile, norsim.Stimulus]:
    """Return a tile of the preset with random codes, every fourth wordline up, and its bitlines at the read voltage."""
    chip = norsim.load_chip("etox65")
    thresholds = program_levels(chip.cell, chip.encoding).thresholds
    codes = np.random.default_rng(0).integers(0, len(thresholds), (wordlines, bitlines))
    up = np.where(np.arange(wordlines) % 4 == 0, chip.encoding.wordline_volts, 0.0)
    volts = np.full((1, bitlines), chip.encoding.bitline_volts)
    return norsim.Tile(thresholds[codes], chip.cell, wires), norsim.Stimulus(up[None], volts)


def study(
    ohms: tuple[float, ...] = OHMS, straps: tuple[int, ...] = STRAPS, wordlines: int = WORDLINES,
    bitlines: int = BITLINES,
) -> Study:  # fmt: skip
    """Solve the tile for each resistance and distance of straps, and the first of them with ngspice as well."""
    ideal = norsim.Wires(strap_every=straps[0])
    whole = norsim.read(*tile_and_drive(ideal, wordlines, bitlines), backend="nodal").bitline[0]
    lost, first = {}, None
    for every in straps:
        for resistance in ohms:
            wires = replace(ideal, source_ohms=resistance, strap_every=every)
            amps = norsim.read(*tile_and_drive(wires, wordlines, bitlines), backend="nodal").bitline[0]
            lost[resistance, every] = 1 - amps / whole
            first = first or (wires, amps)
    wires, amps = first
    spice = norsim.read(*tile_and_drive(wires, wordlines, bitlines), backend="ngspice").bitline[0]
    return Study(lost, float(np.abs(amps - spice).max() / spice.max()))


def draw(found: Study, path: Path) -> None:
    """Draw the loss of each bitline at the largest resistance, and the mean loss over the resistance."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    ohms, straps = sorted({key[0] for key in found.lost}), sorted({key[1] for key in found.lost})
    for every, colour in zip(straps, ("#3a7d44", "#2f6fae", "#b4531f"), strict=False):
        left.plot(100 * found.lost[ohms[-1], every], ".-", lw=0.8, ms=3, color=colour)
        means = [100 * found.lost[one, every].mean() for one in ohms]
        right.loglog(ohms, means, "o-", ms=4, color=colour, label=f"a strap every {every} bitlines")
    left.set_xlabel("bitline")
    left.set_ylabel(f"current lost at {ohms[-1]:g} ohm a cell, %")
    right.set_xlabel("source line, ohm a cell")
    right.set_ylabel("mean current lost, %")
    right.legend(fontsize=8)
    save(figure, path)


def main() -> None:
    """Run the study and draw it."""
    folder = parser(__doc__).parse_args().folder
    found = study()
    for (ohms, every), lost in found.lost.items():
        print(f"{ohms:g} ohm a cell, a strap every {every} bitlines: {100 * lost.mean():.2f} % lost")
    print(f"nodal is within {found.distance:.1e} of ngspice")
    draw(found, folder / "ir_drop.svg")


if __name__ == "__main__":
    main()
