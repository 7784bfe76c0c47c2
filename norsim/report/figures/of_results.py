"""Figures of results: accuracies, losses, layers, answers, energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from norsim.experiments.run_record import AttributionRecord
from norsim.report.array import Deviation
from norsim.report.figures.svg import BLUE, GREEN, GREY, INK, ORANGE, RED, VIOLET, Drawing, drawing, figure, plain_log
from norsim.report.verdict import Verdict

COLOURS = (BLUE, ORANGE, GREEN, RED, VIOLET, GREY)
ROW = 0.27
# Characters that fit in a line of a figure.
LABEL = 44


def accuracies(verdicts: Mapping[str, Verdict]) -> Drawing:
    """Draw each accuracy with its interval, one per row; those of several runs below each other."""
    first = next(iter(verdicts.values()))
    scale, unit = (1, first.metric) if first.metric else (100, "accuracy, %, with 95 % interval")
    count = len(verdicts)
    several = count > 1
    with figure(5.2, 1.0 + (0.31 * count if several else 0.4) * len(first.rows) + 0.17 * max(count - 2, 0)) as drawn:
        panel: Any = drawn.subplots()
        for number, (name, found) in enumerate(verdicts.items()):
            known = [
                (place, row.accuracy, row.ci95) for place, row in enumerate(found.rows) if row.accuracy is not None
            ]
            x = np.array([scale * accuracy for _, accuracy, _ in known])
            y = np.array([place + (number - (count - 1) / 2) * 0.64 / count for place, _, _ in known])
            low, high = scale * np.array([ci95 or (accuracy, accuracy) for _, accuracy, ci95 in known]).T
            panel.errorbar(x, y, xerr=np.maximum([x - low, high - x], 0), fmt="o", color=COLOURS[number], capsize=4,
                           markersize=6, linewidth=2, label=shortened(name))  # fmt: skip
            for a, at in zip(x, y, strict=True):
                text = f"{a:.4g}" if first.metric else f"{a:.2f}"
                panel.annotate(text, (a, at), (0, -13 if number and count == 2 else 5), textcoords="offset points",
                               ha="center", fontsize=8)  # fmt: skip
        labels = [row.label if not several else row.label.partition(" (")[0] for row in first.rows]
        panel.set_yticks(range(len(labels)), labels)
        panel.set_ylim(len(labels) - 0.4, -0.6)
        panel.set_xlabel(unit)
        panel.grid(axis="x")
        if several:
            fits = count == 2 and sum(map(len, verdicts)) <= LABEL
            panel.legend(ncols=2 if fits else 1, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
        said = "; ".join(
            f"{row.label} {found.shown(row.accuracy).replace('%', 'percent')}"
            for found in verdicts.values() for row in found.rows
            if row.accuracy is not None
        )  # fmt: skip
        what = first.metric or "Accuracies with 95 percent intervals"
        return drawing("accuracies", f"{what}: {said}", drawn)


def shortened(name: str) -> str:
    """Return a name that fits in a figure: the path of a run folder can be of any length, and its end tells most."""
    return name if len(name) <= LABEL else f"…{name[1 - LABEL :]}"


def described(found: AttributionRecord) -> str:
    """Name what an attribution is by: causes, mitigations or layers."""
    return "mitigations" if found.by == "cures" else found.by


def losses(name: str, found: AttributionRecord) -> Drawing:
    """Draw the points lost to each share: alone, added last and, in runs that have it, its Shapley value."""
    shares = found.summary["shares"]
    kinds = [(-0.22, "alone", "alone", BLUE), (0.0, "without", "added last", ORANGE)]
    if all("shapley" in share for share in shares):
        kinds.append((0.22, "shapley", "Shapley value", GREEN))
    with figure(5.2, 1.1 + 2 * ROW * len(shares)) as drawn:
        panel: Any = drawn.subplots()
        for shift, key, label, colour in kinds:
            x = np.array([share[key]["points"] for share in shares])
            low, high = np.array([share[key]["ci95"] for share in shares]).T
            y = np.arange(len(shares)) + shift
            panel.errorbar(x, y, xerr=[x - low, high - x], fmt="o", color=colour, capsize=3, markersize=5, label=label)
        panel.axvline(0, color=GREY, linewidth=0.8)
        panel.set_yticks(range(len(shares)), [str(share["name"]) for share in shares])
        panel.set_ylim(len(shares) - 0.5, -0.5)
        panel.set_xlabel("points lost, with 95 % interval")
        panel.grid(axis="x")
        panel.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=3, borderaxespad=0)
        said = ", ".join(f"{share['name']} {share['alone']['points']:.2f} alone" for share in shares)
        return drawing(name, f"Points of accuracy lost by {described(found)}: {said}", drawn)


def layer_deviations(name: str, found: Sequence[Deviation]) -> Drawing:
    """Draw the deviation of output currents from ideal ones by layer, with half a converter step."""
    with figure(5.2, 1.0 + ROW * len(found)) as drawn:
        panel: Any = drawn.subplots()
        y = np.arange(len(found))
        panel.hlines(y, [100 * part.rms for part in found], [100 * part.worst for part in found], color=BLUE, alpha=0.4)
        panel.plot([100 * part.rms for part in found], y, "o", color=BLUE, label="root mean square")
        panel.plot([100 * part.worst for part in found], y, "|", color=RED, markersize=10, markeredgewidth=2,
                   label="largest")  # fmt: skip
        panel.plot([50 * part.step for part in found], y, "D", color=GREY, markersize=4, label="half a converter step")
        panel.set_yticks(y, [part.layer for part in found])
        panel.set_ylim(len(found) - 0.5, -0.5)
        panel.set_xscale("log")
        plain_log(panel.xaxis)
        panel.set_xlabel("deviation of output currents, % of full scale")
        panel.grid(axis="x")
        panel.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=3, borderaxespad=0, handletextpad=0.3)
        worst = max(found, key=lambda part: part.worst)
        return drawing(name, "Deviation of output currents from ideal ones by layer; the largest, "
                       f"{100 * worst.worst:.3g} percent of full scale, in layer {worst.layer}", drawn)  # fmt: skip


def confusion(name: str, table: NDArray[np.int64], classes: Sequence[str]) -> Drawing:
    """Draw the confusion matrix in shares of each label's images, with counts for up to 20 classes.

    `table`   `[labels, classes]`, images
    """
    count = len(classes)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    size = min(max(0.36 * count, 3.0), 7.0)
    with figure(size + 1.2, size + 0.7) as drawn:
        panel: Any = drawn.subplots()
        panel.imshow(_wash(share), aspect="equal", interpolation="nearest")
        if count <= 20:
            for (row, column), value in np.ndenumerate(table):
                if value:
                    panel.text(column, row, str(value), ha="center", va="center", fontsize=7.5, color=INK)
            long = max(map(len, classes)) > 3
            turned: Any = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if long else {}
            panel.set_xticks(range(count), classes, **turned)
            panel.set_yticks(range(count), classes)
        panel.set_xlabel("answer of the array")
        panel.set_ylabel("label")
        right = int(np.trace(table))
        return drawing(name, f"Confusion matrix: {right} of {table.sum()} images on the diagonal", drawn)


def _wash(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return colours for shares, legible on light and dark pages: correct ones green, wrong ones red."""
    found = np.zeros((*share.shape, 4))
    for colour, where in ((GREEN, np.eye(len(share), dtype=bool)), (RED, ~np.eye(len(share), dtype=bool))):
        found[where, :3] = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    found[..., 3] = np.where(np.eye(len(share), dtype=bool), 0.6 * share, np.where(share > 0, 0.12 + 0.8 * share, 0))
    return found


def energy(name: str, layers: Sequence[Mapping[str, Any]]) -> Drawing:
    """Draw the energy per image by layer and by part."""
    kinds = {"converters_joules_image": ("converters", ORANGE), "lines_joules_image": ("lines", VIOLET),
             "cells_joules_image": ("cells", BLUE)}  # fmt: skip
    with figure(5.2, 1.0 + ROW * len(layers)) as drawn:
        panel: Any = drawn.subplots()
        y, left = np.arange(len(layers)), np.zeros(len(layers))
        for key, (label, colour) in kinds.items():
            values = np.array([1e9 * layer[key] for layer in layers])
            panel.barh(y, values, left=left, color=colour, label=label, height=0.65)
            left += values
        panel.set_yticks(y, [str(layer["name"]) for layer in layers])
        panel.set_ylim(len(layers) - 0.5, -0.5)
        panel.set_xlabel("energy per image, nJ")
        panel.grid(axis="x")
        panel.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=3, borderaxespad=0)
        total = left.sum()
        return drawing(name, f"Energy per image by layer, {total:.3g} nanojoules in all", drawn)
