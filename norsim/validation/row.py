"""A published measurement, and what norsim says about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from norsim.chip.model import Chip

# `load(settings)` returns the chip of a row's file with some keys changed.
Load = Callable[[Mapping[str, str | None]], Chip]
# The factor within which a prediction counts as agreement.
AGREEMENT = 2.0


@dataclass(frozen=True)
class Predicted:
    """A prediction in the unit of its row, and in `details` what else was computed, as a sentence."""

    value: float
    details: str = ""


@dataclass(frozen=True)
class Row:
    """A published measurement.

    `name`        of the row on the command line
    `measured`    what was measured, and on what
    `source`      where it is published
    `published`   its value in `unit`
    `unit`        of the value
    `chip`        name of the chip file; None if it needs none
    `predict`     computes norsim's value; None if norsim cannot
    `counts`      whether the value is a prediction, follows from keys that were fitted to the measurement itself, or
                  was made after another one was seen
    `at_most`     whether the published value is an upper limit
    `bound`       the factor within which prediction and published value are, one way or the other; for an upper limit,
                  above it. A test holds it
    `because`     what could explain the difference, or what is missing for a prediction
    """

    name: str
    measured: str
    source: str
    published: float
    unit: str
    chip: str | None
    because: str
    predict: Callable[[Load], Predicted] | None = None
    counts: Literal["prediction", "fitted", "hindsight"] = "prediction"
    at_most: bool = False
    bound: float = 2.0

    def factor(self, found: Predicted) -> float:
        """Return the predicted over the published value."""
        return found.value / self.published

    def within(self, found: Predicted, bound: float) -> bool:
        """Return whether the prediction is within a factor of the published value, or below it for an upper limit."""
        factor = self.factor(found)
        return factor <= bound and (self.at_most or factor >= 1 / bound)

    def verdict(self, found: Predicted) -> str:
        """Return what the prediction counts for."""
        if self.counts != "prediction":
            return "fitted, not counted" if self.counts == "fitted" else "made in hindsight, not counted"
        limit = 1.0 if self.at_most else AGREEMENT
        if self.within(found, limit):
            return "below the limit" if self.at_most else f"within {AGREEMENT:g} ×"
        return "**above the limit**" if self.at_most else "**apart**"
