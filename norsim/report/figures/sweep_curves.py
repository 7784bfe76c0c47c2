"""The curves of a sweep."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from norsim.report.figures.svg import GREY, drawing, figure

NUMBER = re.compile(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?")


def curves(sweep: dict[str, Any]) -> str:
    """Draw accuracy with its 95 % interval over the first key, one curve per combination of the others, as SVG."""
    with figure(5.0, 3.4) as drawn:
        draw_curves(drawn.subplots(), sweep)
        found = [100 * row["accuracy"] for row in sweep["points"]]
        alt = (
            f"Accuracy with 95 percent intervals over {', '.join(sweep['keys'])}: from {min(found):.2f} to "
            f"{max(found):.2f} percent"
        )
        return drawing("curves", alt, drawn).svg


def draw_curves(panel: Any, sweep: dict[str, Any]) -> None:
    """Draw the same into a panel. Values that are not numbers with one unit are spaced evenly, in their order."""
    key, *others = sweep["keys"]
    values = list(dict.fromkeys(row[key] for row in sweep["points"]))
    at, label = _places(values)
    groups = dict.fromkeys(tuple(row[other] for other in others) for row in sweep["points"])
    for group in groups:
        rows = [row for row in sweep["points"] if tuple(row[other] for other in others) == group]
        x = [at[row[key]] for row in rows]
        low, y, high = (np.array([100 * row[name] for row in rows]) for name in ("low", "accuracy", "high"))
        named = ", ".join(f"{other} {value}" for other, value in zip(others, group, strict=True))
        panel.errorbar(x, y, yerr=[y - low, high - y], fmt="o-", capsize=3, label=named or None)
    panel.axhline(100 * sweep["accuracy_quantized"], color=GREY, linewidth=0.8, linestyle="--")
    if label is None:
        panel.set_xticks(range(len(values)), values)
    panel.set_xlabel(key if not label else f"{key}, {label}")
    panel.set_ylabel("accuracy, %")
    panel.grid(alpha=0.3)
    if others:
        panel.legend(fontsize=7)


def _places(values: list[str]) -> tuple[dict[str, float], str | None]:
    """Return the place of each value on the axis, and their unit; None if they do not share one."""
    matches = [NUMBER.match(value) for value in values]
    units = {value[match.end() :].strip() for value, match in zip(values, matches, strict=True) if match}
    if not all(matches) or len(units) != 1:
        return {value: float(place) for place, value in enumerate(values)}, None
    return {value: float(match[0]) for value, match in zip(values, matches, strict=True) if match}, units.pop()
