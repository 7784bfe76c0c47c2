"""The accuracy of a network over values of any chip keys."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from norsim.backends.registry import backend_named
from norsim.data.batches import Data, check_repeatable
from norsim.errors import ConfigurationError
from norsim.evaluation.evaluate import Evaluation
from norsim.evaluation.intervals import Interval
from norsim.evaluation.metrics import Predictions
from norsim.evaluation.proof.defaults import SPICE_SAMPLE
from norsim.evaluation.proof.verification import largest_errors
from norsim.evaluation.trials import evaluate_chips
from norsim.experiments.deployment import Deployment
from norsim.jobs.phases import Report, silent
from norsim.jobs.unit_store import UnitStore
from norsim.jobs.workers import HERE, Workers

# What happens to cells after they were programmed.
AGES, FRESH = ("silicon.time", "silicon.reads"), "calibration.fresh"


@dataclass(frozen=True)
class SweepPoint:
    """One point of a sweep.

    `values`      value of each varied key
    `accuracy`    the mean over the chips, with its 95 % interval `ci95`
    `sigma`       the spread between chips (norsim.evaluation.chips); None for one chip
    `max_error_full_scale`   largest error of all parts of the verification; None without one
    `clipped_cells`   cells of the first chip that conduct less than they should, at the lowest threshold
    """

    values: Mapping[str, Any]
    accuracy: float
    ci95: Interval
    sigma: float | None
    max_error_full_scale: float | None
    clipped_cells: int = 0


@dataclass(frozen=True)
class Sweep:
    """The result of a sweep: varied `keys`, `points` in order, and the `last` evaluation, with what all share.

    `fitted_fresh`   whether converters were fitted just after programming because the time since then was varied
    """

    keys: tuple[str, ...]
    points: tuple[SweepPoint, ...]
    last: Evaluation
    fitted_fresh: bool = False

    @property
    def best(self) -> SweepPoint:
        """The first of the points with the highest accuracy."""
        return max(self.points, key=lambda point: point.accuracy)

    @property
    def worst(self) -> SweepPoint:
        """The first of the points with the lowest accuracy, such as the worst corner."""
        return min(self.points, key=lambda point: point.accuracy)

    def rows(self) -> list[dict[str, Any]]:
        """Return the points as rows of a table: one column per key, then accuracy, interval and spread."""
        return [{**point.values, **{k: v for k, v in asdict(point).items() if k != "values"}} for point in self.points]


def combinations(vary: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return all combinations of the values of the keys. Raises ConfigurationError for a key without values, or with
    equal values."""
    if not vary or not isinstance(vary, Mapping):
        raise ConfigurationError('vary has no keys; give keys with values, for example {"adc.bits": [5, 6, 8]}')
    for key, values in vary.items():
        listed = isinstance(values, Iterable) and not isinstance(values, str)
        texts = [str(value) for value in values] if listed else []
        if not texts:
            raise ConfigurationError(f"{key}: expected a list of values, not {values!r}")
        if len(set(texts)) < len(texts):
            raise ConfigurationError(f"{key}: a value occurs twice in {', '.join(texts)}; give each value once")
    return [dict(zip(vary, point, strict=True)) for point in itertools.product(*vary.values())]


def fits_fresh(deployment: Deployment, vary: Mapping[str, Sequence[Any]]) -> bool:
    """Return whether a sweep fits converters just after programming: where it varies the time or the reads since
    programming, unless the chip or the sweep sets `calibration.fresh` itself.

    Converters that are fitted again at each of them would hide a part of the drift.
    """
    varied = any(age in vary for age in AGES)
    return varied and FRESH not in vary and "fresh" not in deployment.choice.content.get("calibration", {})


def designs(
    deployment: Deployment, vary: Mapping[str, Sequence[Any]]
) -> list[tuple[dict[str, Any], Deployment]]:  # fmt: skip
    """Return all points of a sweep, with the network on the chip of each.

    Raises ConfigurationError for unknown keys and invalid values.
    """
    points = combinations(vary)
    base = deployment.with_settings({FRESH: True}) if fits_fresh(deployment, vary) else deployment
    return [(point, base.with_settings(point)) for point in points]


def sweep_chip(
    deployment: Deployment, data: Data, vary: Mapping[str, Sequence[Any]], trials: int = 1, backend: str = "macro", *,
    float_predictions: Predictions | None = None, spice_sample: int = 4, workers: Workers = HERE,
    report: Report = silent, store: UnitStore | None = None,
    done: Callable[[SweepPoint], None] = lambda point: None,
) -> Sweep:  # fmt: skip
    """Evaluate `trials` chips at every combination of the values in `vary`; `done(point)` is called after each point.

    All combinations are checked before the first one is evaluated. See `fits_fresh` for when converters are fitted in a
    sweep over `silicon.time`. `float_predictions` `[images]` are the float
    network's classes. Raises ConfigurationError for unknown keys and invalid values.
    """
    check_repeatable(data)
    found = designs(deployment, vary)
    points: list[SweepPoint] = []
    for number, (values, one) in enumerate(found):
        report("points", number, len(found))
        last = evaluate_deployment(
            one, data, trials, backend, float_predictions=float_predictions, spice_sample=spice_sample,
            proof_images=0, each_pass=False, workers=workers, report=report, store=store,
        )  # fmt: skip
        if last.accuracy is None or last.accuracy_ci95 is None:
            raise ConfigurationError("a sweep needs accuracies with known intervals")
        points.append(SweepPoint(
            values, last.accuracy, last.accuracy_ci95, last.chips.sigma if last.chips else None,
            max((error for _, error, _ in largest_errors(last.verification) if error is not None), default=None),
            sum(row["clipped_cells"]["low"] for row in last.layers),
        ))  # fmt: skip
        done(points[-1])
    return Sweep(tuple(vary), tuple(points), last, fits_fresh(deployment, vary))


def evaluate_deployment(
    deployment: Deployment, data: Data, trials: int = 1, backend: str = "macro", *, spice_sample: int = SPICE_SAMPLE,
    proof_images: int | None = None, proof_seconds: float | None = None, each_pass: bool = True,
    float_predictions: Predictions | None = None, workers: Workers = HERE, report: Report = silent,
    store: UnitStore | None = None,
) -> Evaluation:  # fmt: skip
    """Evaluate the network on `trials` specimens of its chip, each programmed and calibrated.

    `float_predictions` `[images]` are the float network's classes.
    """
    integers = backend_named(backend).gives_integers

    def fitted(number: int) -> Any:
        analog = deployment.converted(deployment.specimen(number))
        return analog if integers else deployment.fit(analog, backend, workers=workers, report=report, store=store)

    return evaluate_chips(
        fitted, trials, data, backend, spice_sample=spice_sample, proof_images=proof_images,
        proof_seconds=proof_seconds, each_pass=each_pass, seed=deployment.seed, workers=workers,
        report=report, network=deployment.name, original=deployment.original,
        float_predictions=float_predictions, store=store,
    )  # fmt: skip
