"""What stands in the cells of the page's tables: shares and losses with their intervals."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
from scipy.stats import binomtest

from norsim.evaluation.attribution import paired_loss

Runs = dict[str, dict[str, Any]]


def points(loss: dict[str, Any]) -> str:
    return f"{loss['points']:.2f} ({loss['ci95'][0]:.2f} to {loss['ci95'][1]:.2f})"


def nats(rise: dict[str, Any]) -> str:
    return f"{rise['nats']:.4f} ({rise['ci95'][0]:.4f} to {rise['ci95'][1]:.4f})"


def share(summary: dict[str, Any], key: str) -> str:
    low, high = summary[f"{key}_ci95"]
    return f"{100 * summary[key]:.2f} % ({100 * low:.2f} to {100 * high:.2f})"


def loss(classes: dict[str, np.ndarray], before: str, after: str) -> str:
    labels = classes["label"]
    found = paired_loss(classes[before], classes[after], labels)
    one, other = classes[before] == labels, classes[after] == labels
    lost, gained = int((one & ~other).sum()), int((~one & other).sum())
    p = binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    return f"{found.points:.2f} ({found.ci95[0]:.2f} to {found.ci95[1]:.2f}) | {f'{p:.2g}' if p else '< 1e-300'}"


def classes_of(summary: dict[str, Any]) -> dict[str, np.ndarray]:
    """`{column: [images]}` of a run's results.csv."""
    with open(summary["folder"] / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([int(row[key]) for row in rows]) for key in ("label", "array", "quantized", "float")}
