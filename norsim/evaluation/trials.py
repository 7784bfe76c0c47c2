"""One network on several chips of one design."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from norsim.backends.registry import reference
from norsim.data.batches import Data, check_repeatable
from norsim.errors import ConfigurationError
from norsim.evaluation.chips import compare_chips
from norsim.evaluation.evaluate import Evaluation, evaluate
from norsim.evaluation.metrics import Metric, Predictions
from norsim.evaluation.proof import choose_samples, verify
from norsim.jobs.workers import HERE, Workers


def evaluate_chips(
    fitted: Callable[[int], nn.Module],
    count: int,
    data: Data,
    backend: str = "macro",
    *,
    metric: Metric | None = None,
    spice_sample: int = 12,
    workers: Workers = HERE,
    **options: Any,
) -> Evaluation:
    """Evaluate `count` chips; `fitted(k)` returns the converted and calibrated network on chip k.

    The accuracy is the mean over the chips, its interval is that of `Chips`, and the verification samples reads of all
    of them; `chips` and `predictions_by_chip` of the result hold the results of each chip. Raises ConfigurationError
    for fewer than one chip, and for several chips with a user-supplied metric, whose intervals are unknown.
    """
    check_count(count)
    if count == 1:
        return evaluate(
            fitted(0), data, backend, metric=metric, spice_sample=spice_sample, workers=workers, **options
        )  # fmt: skip
    if metric is not None:
        raise ConfigurationError("several chips are compared by the share of correct classes; omit metric")
    check_repeatable(data)
    each = [evaluate(fitted(k), data, backend, spice_sample=0, workers=workers, **options) for k in range(count)]
    chips = compare_chips(np.array([found.predictions == found.labels for found in each]))
    samples = choose_samples([sample for found in each for sample in found.samples], spice_sample)
    return replace(
        each[0], accuracy=float(np.mean(chips.accuracies)), accuracy_ci95=chips.ci95, samples=samples,
        verification=verify(samples, workers, reference()), seconds=sum(found.seconds for found in each),
        chips=chips, predictions_by_chip=[found.predictions for found in each],
    )  # fmt: skip


def check_count(trials: int) -> None:
    """Raise ConfigurationError unless `trials` is at least one chip."""
    if not isinstance(trials, int) or trials < 1:
        raise ConfigurationError(f"trials is {trials!r}; expected at least 1 chip")


def table_of_chips(found: Evaluation) -> dict[str, Predictions]:
    """Return the columns of results.csv, `[images]` each, besides `array`, which is that of the first chip."""
    return {f"array_{number}": classes for number, classes in enumerate(found.predictions_by_chip) if number}
