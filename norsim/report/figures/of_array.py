"""Figures of the array: thresholds, IR drop, current errors, cell curves, converter codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap

from norsim.array.tile import Floats
from norsim.report.array import SolvedTile
from norsim.report.cells import Curves
from norsim.report.converters import CodeUse
from norsim.report.figures.svg import BLUE, GREEN, GREY, INK, ORANGE, RED, Drawing, drawing, figure, plain_log

# Blue for too little current, orange for too much, transparent for none, so it suits light and dark pages.
SIGNED = LinearSegmentedColormap.from_list(
    "signed", [(0.24, 0.52, 0.78, 1), (0.24, 0.52, 0.78, 0.03), (0.88, 0.54, 0.18, 0.03), (0.88, 0.54, 0.18, 1)]
)


# From transparent by blue to orange: legible on light and dark pages too.
HEAT = LinearSegmentedColormap.from_list(
    "heat", [(0.24, 0.52, 0.78, 0.03), (0.24, 0.52, 0.78, 1), (0.56, 0.45, 0.79, 1), (0.88, 0.54, 0.18, 1)]
)


def thresholds(name: str, found: SolvedTile) -> Drawing:
    """Draw the histogram of the tile's thresholds."""
    with figure(5.2, 2.7) as drawn:
        panel: Any = drawn.subplots()
        panel.stairs(*np.histogram(found.thresholds, bins=120), fill=True, color=BLUE)
        panel.set_xlabel("threshold, V")
        panel.set_ylabel("cells")
        panel.set_yscale("log")
        plain_log(panel.yaxis)
        # Low enough to show a single cell.
        panel.set_ylim(bottom=0.7)
        panel.grid(axis="y")
        low, high = found.thresholds.min(), found.thresholds.max()
        return drawing(name, f"Histogram of the {found.thresholds.size} cells' thresholds of {found.name}, from "
                       f"{low:.2f} to {high:.2f} volts", drawn)  # fmt: skip


def drops(name: str, found: SolvedTile) -> Drawing:
    """Draw the drop along bitlines and the rise along source lines: worst line, median, and the band of all."""
    with figure(5.2, 3.9) as drawn:
        panels: Any = drawn.subplots(2, 1)
        along_bitlines, along_sources = 1e3 * found.drop.T, 1e3 * found.rise
        for panel, lines, what, across in (
            (panels[0], along_bitlines, "bitline", "wordline"), (panels[1], along_sources, "source line", "bitline"),
        ):  # fmt: skip
            x = np.arange(lines.shape[1])
            worst = int(lines.max(axis=1).argmax())
            panel.fill_between(x, lines.min(axis=0), lines.max(axis=0), color=BLUE, alpha=0.2, linewidth=0, step="mid")
            panel.plot(x, np.median(lines, axis=0), color=BLUE, linewidth=1.2, label="median")
            panel.plot(x, lines[worst], color=RED, linewidth=1.2, label=f"{what} {worst}, the worst")
            panel.set_ylabel("drop, mV" if what == "bitline" else "rise, mV")
            panel.set_xlabel(f"along the {what}, {across}")
            panel.set_xlim(0, max(len(x) - 1, 1))
            panel.set_ylim(bottom=min(0, float(lines.min())))
            panel.grid(axis="y")
            panel.legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 0.97), borderaxespad=0)
        return drawing(name, f"IR drop on the wires of {found.name}: up to {along_bitlines.max():.3g} millivolts "
                       f"along bitlines and {along_sources.max():.3g} along source lines", drawn)  # fmt: skip


def error_map(name: str, found: SolvedTile) -> Drawing:
    """Draw each cell's current minus the ideal one."""
    error = 100 * found.error
    most = float(np.abs(error).max()) or 1.0
    alt = (f"Heat map of the current error of every cell of {found.name}: from {error.min():.3g} to "
           f"{error.max():.3g} percent of the top level")  # fmt: skip
    return _map(name, error, "current minus the ideal one, % of the top level", alt, SIGNED, (-most, most))


def current_map(name: str, found: SolvedTile) -> Drawing:
    """Draw the current of each cell."""
    amps = 1e6 * found.amps
    alt = f"Heat map of the current of every cell of {found.name}, up to {amps.max():.3g} microamperes"
    return _map(name, amps, "current, µA", alt, HEAT, (0, float(amps.max()) or 1.0))


def loss_map(name: str, found: SolvedTile) -> Drawing:
    """Draw the volts that the wires take from each cell."""
    volts = 1e3 * found.lost
    alt = (f"Heat map of the volts that wires take from every cell of {found.name}: from {volts.min():.3g} to "
           f"{volts.max():.3g} millivolts")  # fmt: skip
    return _map(name, volts, "lost on bitline and source line, mV", alt, HEAT, (0, float(volts.max()) or 1.0))


def threshold_map(name: str, found: SolvedTile) -> Drawing:
    """Draw the threshold of each cell."""
    low, high = float(found.thresholds.min()), float(found.thresholds.max())
    alt = f"Heat map of the thresholds of {found.name}, from {low:.2f} to {high:.2f} volts"
    return _map(name, found.thresholds, "threshold, V", alt, HEAT, (low, high if high > low else low + 1))


def _map(
    name: str, values: Floats, label: str, alt: str, colours: LinearSegmentedColormap, ends: tuple[float, float]
) -> Drawing:
    """Draw `values` `[wordlines, bitlines]` as a heat map from the first of `ends` to the second."""
    with figure(5.2, 4.2) as drawn:
        panel: Any = drawn.subplots()
        shown = panel.imshow(values, cmap=colours, vmin=ends[0], vmax=ends[1], aspect="auto", interpolation="nearest")
        panel.set_xlabel("bitline")
        panel.set_ylabel("wordline")
        for side in ("top", "right"):
            panel.spines[side].set_visible(True)
        bar = drawn.colorbar(shown, ax=panel, shrink=0.9, pad=0.02)
        bar.set_label(label)
        bar.outline.set_edgecolor(GREY)
        return drawing(name, alt, drawn)


def cell_curves(name: str, found: Curves) -> Drawing:
    """Draw drain current over gate volts at each level and, if there is one, the spread of thresholds."""
    colours = colormaps["viridis"](np.linspace(0.1, 0.9, len(found.levels)))
    with figure(5.2, 2.9 if found.spread is None else 5.2) as drawn:
        panels: Any = drawn.subplots(1 if found.spread is None else 2, 1, squeeze=False)[:, 0]
        panel = panels[0]
        for amps, colour in zip(found.amps, colours, strict=True):
            panel.plot(found.gate, 1e6 * amps, color=colour, linewidth=1.1)
        panel.plot(np.full(len(found.levels), found.read), 1e6 * found.levels, "_", color=INK, markersize=9,
                   label="target levels")  # fmt: skip
        panel.axvline(found.read, color=GREY, linewidth=0.8, linestyle="--")
        panel.set_xlabel(f"gate, V, with {found.drain:g} V on the drain")
        panel.set_ylabel("drain current, µA")
        panel.grid()
        panel.legend(loc="upper left")
        if found.spread is not None:
            _spread(panels[1], found)
        return drawing(name, f"Drain current over gate volts of the {len(found.levels)} levels of the cell", drawn)


def _spread(panel: Any, found: Curves) -> None:
    assert found.spread is not None
    codes = np.arange(len(found.levels))
    low, middle, high = 1e3 * (found.spread - found.thresholds[:, None]).T
    panel.vlines(codes, low, high, color=ORANGE, linewidth=5, alpha=0.6, label="5 to 95 % of cells")
    panel.plot(codes, middle, "_", color=INK, markersize=9, label="median")
    panel.axhline(0, color=GREEN, linewidth=0.8, linestyle="--", label="target")
    panel.set_xticks(codes)
    panel.set_xlabel("weight code")
    panel.set_ylabel("threshold minus target, mV")
    panel.grid(axis="y")
    panel.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0, handletextpad=0.3)


def codes(name: str, found: tuple[CodeUse, ...]) -> Drawing:
    """Draw one histogram of converter codes per layer, each scaled to its row, over the range of codes."""
    with figure(5.2, 0.9 + 0.36 * len(found)) as drawn:
        panel: Any = drawn.subplots()
        for row, use in enumerate(found):
            edges = np.linspace(0, 100, len(use.counts) + 1)
            share = use.counts / max(int(use.counts.max()), 1)
            heights = np.repeat(np.sqrt(share), 2)
            panel.fill_between(np.repeat(edges, 2)[1:-1], row + 0.4 - 0.8 * heights, row + 0.4, color=BLUE, linewidth=0)
            clipped = f"{100 * use.clipped:.2f} % clipped"
            panel.annotate(clipped, (101, row + 0.3), fontsize=7.5, annotation_clip=False,
                           color=RED if use.clipped > 0.01 else INK)  # fmt: skip
        panel.set_yticks(range(len(found)), [use.layer for use in found])
        panel.set_ylim(len(found) - 0.4, -0.6)
        panel.set_xlim(0, 100)
        panel.set_xlabel("converter range, % (height: square root of frequency)")
        panel.grid(axis="x")
        said = ", ".join(f"{use.layer} {100 * use.clipped:.2f}" for use in found)
        return drawing(name, f"Histograms of converter codes by layer; percent clipped: {said}", drawn)
