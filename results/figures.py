"""The figures of docs/results.md, drawn from the same summaries as its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

from norsim.files import write_atomically
from norsim.report.figures.sweep_curves import draw_curves
from results.cells import Runs

matplotlib.use("svg")
# The same runs give the same bytes.
matplotlib.rcParams.update({"svg.hashsalt": "norsim", "font.size": 9})

from matplotlib import pyplot  # noqa: E402

STAGES = {
    "float": ("etox65-bit-serial", "accuracy_float"),
    "4 bit": ("etox65-bit-serial", "accuracy_quantized"),
    "bit-serial": ("etox65-bit-serial", "accuracy"),
    "bit-serial, unfitted": ("etox65-bit-serial-unfitted", "accuracy"),
    "linear-pair": ("etox65-linear-pair", "accuracy"),
    "linear-pair, unfitted": ("etox65-linear-pair-unfitted", "accuracy"),
    "stress chip": ("etox65-stress-bit-serial", "accuracy"),
    "stress chip, unfitted": ("etox65-stress-bit-serial-unfitted", "accuracy"),
}


def draw(found: dict[str, Runs], folder: Path) -> None:
    """`accuracy.svg`, `causes.svg` and `silicon.svg` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    _save(_accuracies(found), folder / "accuracy.svg")
    _save(_causes(found), folder / "causes.svg")
    draw_silicon(found, folder)


def draw_silicon(found: dict[str, Runs], folder: Path) -> None:
    """`silicon.svg`, where there are sweeps."""
    swept = {network: runs for network, runs in found.items() if any("points" in run for run in runs.values())}
    if swept:
        _save(_silicon(swept), folder / "silicon.svg")


def _save(figure: Any, path: Path) -> None:
    write_atomically(path, lambda file: figure.savefig(file, format="svg", metadata={"Date": None}))
    pyplot.close(figure)


def _accuracies(found: dict[str, Runs]) -> Any:
    """A panel a network, a point with its 95 % interval a stage."""
    figure, panels = pyplot.subplots(
        1, len(found), figsize=(2.6 * len(found) + 1.2, 2.8), sharey=True, layout="constrained", squeeze=False
    )
    names = list(STAGES)[::-1]
    for panel, (network, runs) in zip(panels[0], found.items(), strict=True):
        for place, name in enumerate(names):
            run, key = STAGES[name]
            value, (low, high) = runs[run][key], runs[run][f"{key}_ci95"]
            panel.errorbar(
                100 * value, place, xerr=[[100 * (value - low)], [100 * (high - value)]], fmt="o", capsize=3,
                color="C0" if key == "accuracy" else "C7",
            )  # fmt: skip
        panel.set_yticks(range(len(names)), names)
        panel.set_title(network)
        panel.set_xlabel("accuracy, %")
        panel.grid(axis="x", alpha=0.3)
    return figure


def _causes(found: dict[str, Runs]) -> Any:
    """A row an encoding, a panel a network: points lost to each cause, alone and by all but it."""
    kinds = ["causes-bit-serial", "causes-linear-pair"]
    figure, panels = pyplot.subplots(
        len(kinds), len(found), figsize=(2.6 * len(found) + 1.2, 4.2), sharey=True, layout="constrained", squeeze=False
    )
    for row, kind in zip(panels, kinds, strict=True):
        for panel, (network, runs) in zip(row, found.items(), strict=True):
            summary = runs[kind]
            shares = summary["shares"][::-1]
            _bars(panel, [share["alone"] for share in shares], 0.15, "C0", "alone")
            _bars(panel, [share["without"] for share in shares], -0.15, "C1", "all but it, less")
            _bars(panel, [summary["array"]], len(shares), "C7", "the whole")
            panel.set_yticks(range(len(shares) + 1), [share["name"] for share in shares] + ["the whole"])
            panel.axvline(0, color="black", linewidth=0.6)
            panel.grid(axis="x", alpha=0.3)
            if kind == kinds[0]:
                panel.set_title(network)
            else:
                panel.set_xlabel("points lost against 4 bit")
        row[0].set_ylabel(kind.removeprefix("causes-"))
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _silicon(found: dict[str, Runs]) -> Any:
    """A row a network, a panel a sweep."""
    names = [name for name, run in next(iter(found.values())).items() if "points" in run]
    figure, panels = pyplot.subplots(
        len(found), len(names), figsize=(2.7 * len(names), 2.4 * len(found)), sharey="row", layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for row, (network, runs) in zip(panels, found.items(), strict=True):
        for panel, name in zip(row, names, strict=True):
            draw_curves(panel, runs[name])
            panel.label_outer(remove_inner_ticks=False)
        row[0].set_ylabel(f"{network}: accuracy, %")
    return figure


def _bars(panel: Any, losses: list[dict[str, Any]], shift: float, color: str, label: str) -> None:
    points = [loss["points"] for loss in losses]
    below = [loss["points"] - loss["ci95"][0] for loss in losses]
    above = [loss["ci95"][1] - loss["points"] for loss in losses]
    places = [place + shift for place in range(len(losses))]
    # Agresti and Min's interval is drawn towards 0 and can lie beside the estimate.
    spans = [[max(value, 0.0) for value in side] for side in (below, above)]
    panel.barh(places, points, 0.3, xerr=spans, color=color, label=label, error_kw={"capsize": 2, "linewidth": 0.8})


def draw_ranking(found: dict[str, list[dict[str, Any]]], folder: Path) -> None:
    """`read-chain.svg`: a panel a network, a bar for the rise of the cross-entropy of each cause, the largest above."""
    folder.mkdir(parents=True, exist_ok=True)
    figure, panels = pyplot.subplots(
        1, len(found), figsize=(4.2 * len(found), 3.0), layout="constrained", squeeze=False
    )
    for panel, (network, shares) in zip(panels[0], found.items(), strict=True):
        names, rises = [part["name"] for part in shares][::-1], [part["cross_entropy"] for part in shares][::-1]
        values = [rise["nats"] for rise in rises]
        spans = [
            [max(value - rise["ci95"][0], 0.0) for value, rise in zip(values, rises, strict=True)],
            [max(rise["ci95"][1] - value, 0.0) for value, rise in zip(values, rises, strict=True)],
        ]
        panel.barh(range(len(names)), values, 0.6, xerr=spans, color="C0", error_kw={"capsize": 2, "linewidth": 0.8})
        panel.set_yticks(range(len(names)), names)
        panel.axvline(0, color="black", linewidth=0.6)
        panel.grid(axis="x", alpha=0.3)
        panel.set_title(network)
        panel.set_xlabel("rise of the cross-entropy, nats")
    _save(figure, folder / "read-chain.svg")
