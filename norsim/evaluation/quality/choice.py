"""The metric that a user names: one of norsim's, a function, or a function in a Python file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from norsim.errors import ConfigurationError, suggestion
from norsim.evaluation.metrics import ACCURACY, Metric, check_metric
from norsim.evaluation.quality.named import METRICS
from norsim.user_code import absolute, call_code, is_code


def metric_of(named: Metric | str | None) -> Metric | None:
    """Return the metric called `named`; None for the share of correct classes.

    FILE.py:FUNCTION is a user's function of (outputs, targets), whose file is executed when it is called. Raises
    ConfigurationError for an unknown name, and for anything else that cannot be called.
    """
    if named is None or named == ACCURACY:
        return None
    if not isinstance(named, str):
        check_metric(named)
        return named
    if is_code(named):
        return InFile(absolute(named))
    if named not in METRICS:
        known = [ACCURACY, *METRICS]
        raise ConfigurationError(
            f"there is no metric {named!r}; {suggestion(named, known)}. A metric of your own is FILE.py:FUNCTION"
        )
    return METRICS[named]


class InFile:
    """A function of (outputs, targets) in a user's Python file; `reference` names both."""

    def __init__(self, reference: str) -> None:
        self.reference = reference
        self.name = Path(reference.rpartition(":")[0]).name + ":" + reference.rpartition(":")[2]

    def __call__(self, outputs: Any, targets: Any) -> float:
        """Return the function's value for outputs and targets of all images, `[images, ...]`."""
        return float(call_code(self.reference, outputs, targets))
