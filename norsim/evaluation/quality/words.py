"""The change of a metric from a digital network to the array, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from norsim.evaluation.intervals import Interval
from norsim.evaluation.metrics import ACCURACY

STARTS = {"metric_change_quantized": "the integers", "metric_change_float": "the float network"}


def changes_in_words(summary: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each change, with its paired interval, that the `summary` of an evaluation of one chip
    knows."""
    texts = []
    points = summary["metric"] == ACCURACY
    unit, factor, digits = (" points", 100, ".2f") if points else ("", 1, ".4g")
    for key, start in STARTS.items():
        change, interval = summary.get(key), summary.get(f"{key}_ci95")
        if change is not None and interval is not None:
            low, high = (f"{factor * end:+{digits}}" for end in interval)
            texts.append(
                f"From {start} to the array, the {summary['metric']} changes by {factor * change:+{digits}}{unit} "
                f"({low} to {high}, paired by image)."
            )
    return texts


def results_in_words(metric: str, results: Sequence[tuple[str, float | None, Interval | None]]) -> list[str]:
    """Return a line for each value of a metric that is known, with its 95 % interval, accuracies in per cent; `results`
    are (where it was computed, value, interval)."""
    lines = []
    for where, value, ends in results:
        if value is None:
            continue
        known = value, *(ends or ())
        number, *both = (f"{100 * one:.2f} %" if metric == ACCURACY else f"{one:.5g}" for one in known)
        lines.append(f"{number} ({both[0]} to {both[1]}) {where}" if both else f"{number} {where}")
    return lines


def witness_in_words(proof: Mapping[str, Any]) -> list[str]:
    """Return a line on the reads that were solved again, from a `Verification` as a dict; none if none were."""
    if proof["max_error_steps"] is None:
        return []
    largest = f"{proof['max_error_steps']:.2g} converter steps"
    return [f"{proof['samples']} reads by {proof['witness']} differ by up to {largest}"]
