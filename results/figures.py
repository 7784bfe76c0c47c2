"""The figures of the pages, drawn from the same files of parts as their tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from norsim.evaluation.intervals import wilson
from norsim.files import write_atomically
from norsim.report.figures.sweep_curves import draw_curves
from results.cells import Found, Row, row
from results.plan import REFERENCE, SHIPPED, SWEPT
from results.read_chain import RANKED, by_share

matplotlib.use("svg")
# The same runs give the same bytes.
matplotlib.rcParams.update({"svg.hashsalt": "norsim", "font.size": 9})

from matplotlib import pyplot  # noqa: E402

# What has a point in the figure of accuracies: a row, and which network of it.
STAGES = {
    "float": (REFERENCE, "float"),
    "4 bit": (REFERENCE, "quantized"),
    "array": (REFERENCE, "array"),
    "straps at one end": ("one-end", "array"),
    "ideal straps": ("ideal-straps", "array"),
}
CAUSES = ("causes-bit-serial", "causes-linear-pair")


def draw(found: Found, folder: Path) -> None:
    """Draw `accuracy.svg`, `causes.svg`, `silicon.svg` and `read-chain.svg` in `folder`, of what has been measured; a
    figure of which nothing has been is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("accuracy", "causes", "silicon", "read-chain"):
        (folder / f"{name}.svg").unlink(missing_ok=True)
    first = [network for network in SHIPPED if row(found, network, REFERENCE).results]
    if first:
        _save(_accuracies({network: stages(found, network) for network in first}), folder / "accuracy.svg")
    attributed = {network: [row(found, network, kind).results for kind in CAUSES] for network in SHIPPED}
    attributed = {network: kinds for network, kinds in attributed.items() if any(kinds)}
    if attributed:
        _save(_causes(attributed), folder / "causes.svg")
    swept = {network: {name: row(found, network, f"sweep-{name}").results for name in SWEPT} for network in SHIPPED}
    swept = {network: runs for network, runs in swept.items() if any(runs.values())}
    if swept:
        _save(_silicon(swept), folder / "silicon.svg")
    ranked = {network: row(found, network, "read-chain").results for network in RANKED}
    if any(ranked.values()):
        shares = {network: by_share(results[0]) for network, results in ranked.items() if results}
        _save(_ranking(shares), folder / "read-chain.svg")


def stages(found: Found, network: str) -> dict[str, np.ndarray]:
    """Return whether each image is right, `[images]`, by stage, of those that have been measured."""
    rows: dict[str, Row] = {name: row(found, network, name) for name, _ in STAGES.values()}
    right = {stage: rows[name].correct(kind) for stage, (name, kind) in STAGES.items() if rows[name].results}
    return {stage: some for stage, some in right.items() if some is not None}


def _save(figure: Any, path: Path) -> None:
    write_atomically(path, lambda file: figure.savefig(file, format="svg", metadata={"Date": None}))
    pyplot.close(figure)


def _accuracies(found: dict[str, dict[str, np.ndarray]]) -> Any:
    """A panel a network, a point with its 95 % interval a stage."""
    figure, panels = pyplot.subplots(
        1, len(found), figsize=(2.6 * len(found) + 1.2, 2.4), sharey=True, layout="constrained", squeeze=False
    )
    names = list(STAGES)[::-1]
    for panel, (network, right) in zip(panels[0], found.items(), strict=True):
        for stage, some in right.items():
            value, (low, high) = some.mean(), wilson(int(some.sum()), len(some))
            panel.errorbar(
                100 * value, names.index(stage), xerr=[[100 * (value - low)], [100 * (high - value)]], fmt="o",
                capsize=3, color="C7" if stage in ("float", "4 bit") else "C0",
            )  # fmt: skip
        panel.set_yticks(range(len(names)), names)
        panel.set_title(network)
        panel.set_xlabel("accuracy, %")
        panel.grid(axis="x", alpha=0.3)
    return figure


def _causes(found: dict[str, list[list[dict[str, Any]]]]) -> Any:
    """A row an encoding, a panel a network: points lost to each cause, alone and by all but it."""
    figure, panels = pyplot.subplots(
        len(CAUSES), len(found), figsize=(2.6 * len(found) + 1.2, 4.2), sharey=True, layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for column, (network, kinds) in zip(panels.T, found.items(), strict=True):
        for panel, kind, results in zip(column, CAUSES, kinds, strict=True):
            for summary in results:
                shares = summary["shares"][::-1]
                _bars(panel, [share["alone"] for share in shares], 0.15, "C0", "alone")
                _bars(panel, [share["without"] for share in shares], -0.15, "C1", "all but it, less")
                _bars(panel, [summary["array"]], len(shares), "C7", "the whole")
                panel.set_yticks(range(len(shares) + 1), [share["name"] for share in shares] + ["the whole"])
            panel.axvline(0, color="black", linewidth=0.6)
            panel.grid(axis="x", alpha=0.3)
            panel.set_title(f"{network}, {kind.removeprefix('causes-')}")
        column[-1].set_xlabel("points lost against 4 bit")
    # Labels of a panel with bars; another may wait for its part.
    handles: dict[str, Any] = {}
    for panel in panels.flat:
        handles |= {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def _silicon(found: dict[str, dict[str, list[dict[str, Any]]]]) -> Any:
    """A row a network, a panel a sweep."""
    figure, panels = pyplot.subplots(
        len(found), len(SWEPT), figsize=(2.7 * len(SWEPT), 2.4 * len(found)), sharey="row", layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for each, (network, runs) in zip(panels, found.items(), strict=True):
        for panel, name in zip(each, SWEPT, strict=True):
            for result in runs[name]:
                draw_curves(panel, result)
            panel.set_title(name)
            panel.label_outer(remove_inner_ticks=False)
        each[0].set_ylabel(f"{network}: accuracy, %")
    return figure


def _bars(panel: Any, losses: list[dict[str, Any]], shift: float, color: str, label: str) -> None:
    points = [loss["points"] for loss in losses]
    below = [loss["points"] - loss["ci95"][0] for loss in losses]
    above = [loss["ci95"][1] - loss["points"] for loss in losses]
    places = [place + shift for place in range(len(losses))]
    # Agresti and Min's interval is drawn towards 0 and can lie beside the estimate.
    spans = [[max(value, 0.0) for value in side] for side in (below, above)]
    panel.barh(places, points, 0.3, xerr=spans, color=color, label=label, error_kw={"capsize": 2, "linewidth": 0.8})


def _ranking(found: dict[str, list[dict[str, Any]]]) -> Any:
    """A panel a network, a bar for the rise of the cross-entropy of each cause, the largest above."""
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
    return figure
