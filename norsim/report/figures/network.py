"""The network drawn: its layers and what connects them, beside what each of them loses and costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patches import FancyBboxPatch

from norsim.report.connections import INPUT, Connections
from norsim.report.figures.svg import BLUE, GREY, INK, ORANGE, RED, Drawing, drawing, figure
from norsim.report.layers import Layer, Network

# Half the height of a box, and where below its middle another output joins, and where its output is tapped, in rows.
HALF, JOIN, TAP = 0.3, 0.42, 0.56
# Room for one line that passes by, as a share of the width of a box, and the largest number of such lines side by side.
LANE, MOST_LANES = 0.06, 8
# Characters that fit in a box.
LABEL = 24


def network(name: str, found: Network) -> Drawing:
    """Draw one row per layer; each links to the part of the page about that layer, `NAME-NUMBER`."""
    layers = found.layers
    columns = [column for column in (_losses(found), _costs(layers)) if column is not None]
    with figure(5.2, 1.1 + 0.4 * len(layers)) as drawn:
        panels: Any = drawn.subplots(1, 1 + len(columns), sharey=True, squeeze=False,
                                     width_ratios=[1.7, *[1.0] * len(columns)])[0]  # fmt: skip
        _boxes(panels[0], layers)
        if isinstance(found.connections, Connections):
            _lines(panels[0], layers, found.connections)
        panels[0].set_ylim(len(layers) - 0.1, -1.1)
        panels[0].set_axis_off()
        for panel, (draw, label) in zip(panels[1:], columns, strict=True):
            draw(panel)
            panel.set_xlabel(label)
            panel.grid(axis="x")
            panel.tick_params(left=False, labelleft=False)
            panel.spines["left"].set_visible(False)
            panel.axvline(0, color=GREY, linewidth=0.8)
        return drawing(name, f"The {len(layers)} layers of the network: {_said(layers)}", drawn)


def _boxes(panel: Any, layers: Sequence[Layer]) -> None:
    for place, layer in enumerate(layers):
        colour = GREY if layer.digital else BLUE
        box = FancyBboxPatch(
            (0.02, place - HALF), 0.96, 2 * HALF, boxstyle="round,pad=0,rounding_size=0.03",
            facecolor=(*_rgb(colour), 0.14), edgecolor=colour, linewidth=1, linestyle="--" if layer.digital else "-",
        )  # fmt: skip
        box.set_url(f"#{layer.number}")
        panel.add_patch(box)
        short = layer.name if len(layer.name) <= LABEL else f"…{layer.name[1 - LABEL :]}"
        for text, shift, size, weight in ((short, -0.1, 8, "bold"), (_size(layer), 0.13, 6.5, "normal")):
            panel.text(0.5, place + shift, text, ha="center", va="center", fontsize=size, fontweight=weight, color=INK,
                       url=f"#{layer.number}")  # fmt: skip


def _size(layer: Layer) -> str:
    where = "digital" if layer.digital else f"{layer.row['tiles']} tile{'s' if layer.row['tiles'] != 1 else ''}"
    return f"{layer.row['inputs']} × {layer.row['outputs']}, {where}"


def _lines(panel: Any, layers: Sequence[Layer], found: Connections) -> None:
    rows = {INPUT: -1} | {layer.name: place for place, layer in enumerate(layers)}
    style: Any = {"color": GREY, "linewidth": 1, "zorder": 0.5, "solid_capstyle": "round"}
    passing = []
    for pairs, joins in ((found.inputs, False), (found.joins, True)):
        for source, target in pairs:
            if source not in rows or target not in rows:
                continue
            first, last = rows[source], rows[target]
            if not joins and last == first + 1:
                panel.plot([0.5, 0.5], [first + HALF, last - HALF], **style)
            else:
                passing.append((first + TAP, last + JOIN if joins else float(last), joins))
    lanes: list[float] = []
    for start, end, joins in sorted(passing, key=lambda line: (line[0], line[1])):
        free = [lane for lane, until in enumerate(lanes) if until <= min(start, end)]
        lane = free[0] if free else min(len(lanes), MOST_LANES - 1)
        lanes[lane : lane + 1] = [max(start, end)]
        x = -LANE * (lane + 1)
        reaches = 0.5 if joins else 0.02
        panel.plot([0.5, 0.5], [start - TAP + HALF, start], **style)
        panel.plot([0.5, x, x, reaches], [start, start, end, end], **style)
        if joins:
            panel.plot([0.5, 0.5], [end - JOIN + HALF, end + TAP - JOIN], **style)
            panel.plot([0.5], [end], "o", color=GREY, markersize=5, zorder=2)
        else:
            panel.plot([reaches - 0.015], [end], ">", color=GREY, markersize=4, zorder=2)
    panel.text(0.5, -1 + HALF - 0.02, INPUT, ha="center", va="bottom", fontsize=8, color=INK)
    panel.set_xlim(-LANE * (len(lanes) + 0.5), 1.02)


def _losses(found: Network) -> tuple[Any, str] | None:
    """Return what draws the loss of each layer, and its label: in points if they were measured, or in steps."""
    layers = found.layers

    def points(panel: Any) -> None:
        known = [(place, layer.lost) for place, layer in enumerate(layers) if layer.lost is not None]
        y, x = [place for place, _ in known], np.array([lost.points for _, lost in known])
        low, high = np.array([lost.ci95 for _, lost in known]).T
        panel.errorbar(x, y, xerr=np.maximum([x - low, high - x], 0), fmt="o", color=RED, capsize=3, markersize=4,
                       linewidth=1.2)  # fmt: skip

    def steps(panel: Any) -> None:
        known = [(place, part.deviation) for place, part in enumerate(layers) if part.deviation is not None]
        panel.barh([place for place, _ in known], [part.rms / part.step for _, part in known], height=0.45, color=RED)

    if any(layer.lost is not None for layer in layers):
        return points, "points lost"
    if any(layer.deviation is not None for layer in layers):
        return steps, "r.m.s. deviation, steps"
    return None


def _costs(layers: Sequence[Layer]) -> tuple[Any, str] | None:
    known = [(place, 1e9 * layer.joules) for place, layer in enumerate(layers) if layer.joules is not None]
    if not known:
        return None

    def draw(panel: Any) -> None:
        panel.barh([place for place, _ in known], [part for _, part in known], height=0.45, color=ORANGE)

    return draw, "energy per image, nJ"


def _said(layers: Sequence[Layer]) -> str:
    return "; ".join(f"{layer.name}, {_size(layer)}" for layer in layers)


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue
