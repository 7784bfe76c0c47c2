"""The change of a metric from a digital network to the array, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
