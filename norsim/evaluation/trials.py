"""One network on several chips of one design."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from norsim.backends.backend import Backend
from norsim.backends.registry import backend_named, reference
from norsim.data.batches import Data, check_repeatable
from norsim.errors import ConfigurationError
from norsim.evaluation.chips import compare_chips
from norsim.evaluation.evaluate import Evaluation, evaluate, rungs_of
from norsim.evaluation.metrics import Metric, Predictions
from norsim.evaluation.proof.defaults import SPICE_SAMPLE
from norsim.evaluation.proof.sampling import KeptReads, Quota
from norsim.evaluation.proof.verification import verify
from norsim.jobs.phases import Report, silent
from norsim.jobs.workers import HERE, Workers
from norsim.tiling.convert import cells_of
from norsim.tiling.modules import tiled_layers


def evaluate_chips(
    fitted: Callable[[int], nn.Module],
    count: int,
    data: Data,
    backend: str = "macro",
    *,
    metric: Metric | None = None,
    spice_sample: int = SPICE_SAMPLE,
    proof_images: int | None = None,
    proof_seconds: float | None = None,
    each_pass: bool = True,
    workers: Workers = HERE,
    report: Report = silent,
    **options: Any,
) -> Evaluation:
    """Evaluate `count` chips; `fitted(k)` returns the converted and calibrated network on chip k.

    The accuracy is the mean over the chips, its interval is that of `Chips`, and the verification samples reads of all
    of them; the end-to-end proof is that of the first chip. `chips` and `predictions_by_chip` of the result hold the
    results of each chip. Raises ConfigurationError for fewer than one chip, and for several chips with a user-supplied
    metric, whose intervals are unknown.
    """
    check_count(count, metric)
    proof: dict[str, Any] = {"spice_sample": spice_sample, "proof_seconds": proof_seconds}
    if count == 1:
        return evaluate(
            fitted(0), data, backend, metric=metric, workers=workers, report=report, each_pass=each_pass,
            proof_images=proof_images, **proof, **options,
        )  # fmt: skip
    check_repeatable(data)
    kept = KeptReads(Quota.for_sample(spice_sample))
    each: list[Evaluation] = []
    rungs: dict[str, Backend] = {}
    reads = 0
    for k in range(count):
        model = fitted(k)
        found = evaluate(
            model, data, backend, workers=workers, verified=False, proof_images=0 if k else proof_images,
            report=report, **proof, **options,
        )  # fmt: skip
        kept.add(found.samples)
        each.append(replace(found, samples=[]))
        rungs |= rungs_of(tiled_layers(model), backend_named(backend))
        reads += sum(layer["reads"] for layer in found.layers)
    chips = compare_chips(np.array([found.predictions == found.labels for found in each]))
    verification = verify(
        kept.samples, workers, reference(*cells_of(tiled_layers(model))[:1]), spice_sample, each_pass=each_pass,
        seconds=proof_seconds, rungs=rungs, report=report,
    )  # fmt: skip
    first, mean = each[0], float(np.mean(chips.accuracies))
    return replace(
        first, accuracy=mean, accuracy_ci95=chips.ci95, metric_value=mean, metric_ci95=chips.ci95,
        metric_change_quantized=mean - first.metric_quantized, metric_change_quantized_ci95=None,
        metric_change_float=None if first.metric_float is None else mean - first.metric_float,
        metric_change_float_ci95=None, samples=kept.samples,
        at_random=min(kept.quota.at_random, reads), verification=verification,
        seconds=sum(found.seconds for found in each), chips=chips,
        predictions_by_chip=[found.predictions for found in each],
    )  # fmt: skip


def check_count(trials: int, metric: Metric | None = None) -> None:
    """Raise ConfigurationError unless `trials` is at least one chip, and one alone with another metric."""
    if not isinstance(trials, int) or trials < 1:
        raise ConfigurationError(f"trials is {trials!r}; expected at least 1 chip")
    if trials > 1 and metric is not None:
        raise ConfigurationError(
            "several chips are compared by the share of correct classes; omit metric, or evaluate one chip"
        )


def table_of_chips(found: Evaluation) -> dict[str, Predictions]:
    """Return the columns of results.csv, `[images]` each, besides `array`, which is that of the first chip."""
    return {f"array_{number}": classes for number, classes in enumerate(found.predictions_by_chip) if number}
