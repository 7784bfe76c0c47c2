"""Attribution of lost accuracy: losses relative to the digital network, paired by image, by cause and by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from norsim.array.tile import Floats
from norsim.data.batches import Data, inputs_of
from norsim.errors import ConfigurationError
from norsim.evaluation.batches import run_batches
from norsim.evaluation.intervals import NORMAL_95, Interval, ends, resampled_means, widened
from norsim.evaluation.metrics import Outcome, Predictions, joined, outcome, scores_of
from norsim.evaluation.shapley import Order, Shapley, shapley
from norsim.tiling.reader import Reader

MARGIN_POINTS = 1.0
ORDERS = 8

Verdict = Literal["adds up", "does not add up", "inconclusive"]


@dataclass(frozen=True)
class Loss:
    """Percentage points of accuracy lost between two classifications of the same images; negative is a gain.

    `ci95`      interval of the loss over other images
    """

    points: float
    ci95: Interval


@dataclass(frozen=True)
class Remainder(Loss):
    """The same with its 90 % interval `ci90`, which an equivalence test at 5 % uses."""

    ci90: Interval


@dataclass(frozen=True)
class Nats:
    """A rise of the mean cross-entropy of the labels, in nats, with its interval; negative is a gain.

    It changes with every score, not only where a class changes, so it shows effects too small for the accuracy.
    """

    nats: float
    ci95: Interval


def classify(model: nn.Module, data: Data, reader: Reader, labels: Predictions, seed: int = 0) -> Outcome:
    """Return the outcome of a converted network whose layers are read by `reader`; `labels` are `[images]`, and `seed`
    determines the noise of reads."""
    results = run_batches(model, inputs_of(data), reader, classify=False, seed=seed)
    return outcome(scores_of(joined([result.array for result in results])), labels)


def paired_loss(before: Predictions, after: Predictions, labels: NDArray[np.int64]) -> Loss:
    """Return the loss from `before` to `after`, both `[images]` classes.

    The interval follows Agresti and Min, "Simple improved confidence intervals for comparing matched proportions"
    (Statistics in Medicine 24, 2005): Wald's interval with half an image added to each cell of the two-by-two table.
    """
    lost = int(((before == labels) & (after != labels)).sum())
    gained = int(((before != labels) & (after == labels)).sum())
    total, wider = len(labels), len(labels) + 2
    middle = (lost - gained) / wider
    spread = NORMAL_95 * math.sqrt((lost + gained + 1) / wider - middle**2) / math.sqrt(wider)
    return Loss(100 * (lost - gained) / total, (100 * (middle - spread), 100 * (middle + spread)))


@dataclass(frozen=True)
class Share:
    """The loss from one cause, mitigation or layer.

    `alone`     when it is switched on alone
    `without`   when it is added to all others
    `shapley`   when it is added to some others: the mean over orders of adding all, so these add up to the total
    `cross_entropy`   the same of the cross-entropy
    """

    name: str
    alone: Loss
    without: Loss
    shapley: Loss
    cross_entropy: Nats


@dataclass(frozen=True)
class Attribution:
    """Losses in points, all on the same images.

    `quantization`  from the float network to the digital quantized network; None if the former is unknown
    `array`     from the digital network to the array, and `shares` of it
    `base`      the loss with all causes off: that of integers read through a lossless array
    `remainder` the array's loss minus the sum of `base` and of the losses by each cause alone, which is their
                interaction. It has its own interval, because each image enters it once per share
    `verdict`   whether the remainder is within `margin_points`: see `verdict_of`
    `orders`    number of orders whose mean the Shapley values are, and `exact`, whether those are all orders
    `array_cross_entropy`, `base_cross_entropy`   rises of the cross-entropy, as `array` and `base`
    """

    images: int
    quantization: Loss | None
    array: Loss
    base: Loss
    shares: tuple[Share, ...]
    remainder: Remainder
    verdict: Verdict
    margin_points: float
    orders: int
    exact: bool
    array_cross_entropy: Nats
    base_cross_entropy: Nats


def verdict_of(left: Remainder, margin_points: float) -> Verdict:
    """Return whether losses add up, from the remainder and the margin within which it counts as none, in points.

    They add up if the 90 % interval is within plus and minus the margin: two one-sided tests at 5 % each (D. J.
    Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15, 1987). They do not if the 95 % interval is beyond the
    margin on one side. Otherwise the images do not decide it. The 90 % interval lies in the 95 % interval, so only one
    of the three applies.
    """
    if -margin_points < left.ci90[0] and left.ci90[1] < margin_points:
        return "adds up"
    if left.ci95[0] > margin_points or left.ci95[1] < -margin_points:
        return "does not add up"
    return "inconclusive"


def remainder(each: Floats) -> Remainder:
    """Return the mean of the images' remainders `[images]`, in points, with its intervals from an image bootstrap."""
    drawn = resampled_means(each[None], largest=1.0)[:, 0]
    return Remainder(100 * float(each.mean()), _percent(ends(drawn)), _percent(ends(drawn, 0.90)))


def attribute(
    names: Sequence[str],
    answer: Callable[[frozenset[str]], Outcome],
    digital: Outcome,
    float_predictions: Predictions | None,
    labels: NDArray[np.int64],
    orders: Sequence[Order],
    margin_points: float = MARGIN_POINTS,
) -> Attribution:
    """Return the losses by each of `names` alone, added to all others, and added in each of `orders`.

    `answer(on)` returns the outcome with those on; it is called once for each of `shapley.configurations`. Classes and
    labels are `[images]`. Raises ConfigurationError for a margin that is not above 0.
    """
    check_margin(margin_points)
    known: dict[frozenset[str], Outcome] = {}

    def answered(on: frozenset[str]) -> Outcome:
        if on not in known:
            known[on] = answer(on)
        return known[on]

    def right(on: frozenset[str]) -> NDArray[np.bool_]:
        return np.equal(answered(on).classes, labels)

    everything, nothing = frozenset(names), frozenset[str]()
    alone = [frozenset({name}) for name in names]
    whole, base = answered(everything), answered(nothing)
    points = shapley(names, orders, lambda on: 1.0 - right(on))
    nats = shapley(names, orders, lambda on: answered(on).cross_entropy)
    # What the losses by each one alone do not explain, image by image.
    left = 1.0 * right(nothing) - right(everything) - sum(1.0 * right(nothing) - right(one) for one in alone)
    rest = remainder(left)
    losses = [Loss(100 * value, _percent(span)) for value, span in _spans(points, largest=1.0)]
    rises = [Nats(value, span) for value, span in _spans(nats)]
    shares = tuple(
        Share(
            name,
            paired_loss(base.classes, answered(one).classes, labels),
            paired_loss(answered(everything - one).classes, whole.classes, labels),
            loss, rise,
        )
        for name, one, loss, rise in zip(names, alone, losses, rises, strict=True)
    )  # fmt: skip
    return Attribution(
        len(labels),
        None if float_predictions is None else paired_loss(float_predictions, digital.classes, labels),
        paired_loss(digital.classes, whole.classes, labels),
        paired_loss(digital.classes, base.classes, labels),
        shares, rest, verdict_of(rest, margin_points), margin_points, len(orders), points.exact,
        _rise(whole.cross_entropy - digital.cross_entropy), _rise(base.cross_entropy - digital.cross_entropy),
    )  # fmt: skip


def check_margin(margin_points: float) -> None:
    """Raise ConfigurationError for a margin that is not above 0."""
    if not isinstance(margin_points, int | float) or not 0 < margin_points < math.inf:
        raise ConfigurationError(f"margin is {margin_points!r}; expected percentage points above 0")


def _spans(found: Shapley, largest: float = 0.0) -> list[tuple[float, Interval]]:
    """Return each factor's mean change, and its interval over other images and, if orders are sampled, other orders."""
    means, drawn = found.by_image.mean(axis=1), resampled_means(found.by_image, largest)
    spans = [(float(mean), ends(some)) for mean, some in zip(means, drawn.T, strict=True)]
    if found.exact:
        return spans
    return [(mean, widened(mean, span, some)) for (mean, span), some in zip(spans, found.by_order.T, strict=True)]


def _rise(changes: Floats) -> Nats:
    """Return the mean of changes `[images]` of the cross-entropy."""
    return Nats(float(changes.mean()), ends(resampled_means(changes[None])[:, 0]))


def _percent(interval: Interval) -> Interval:
    return 100 * interval[0], 100 * interval[1]


def summary(found: Attribution) -> dict[str, Any]:
    """Return an attribution as JSON content."""
    return {**asdict(found), "remainder_points": found.remainder.points}
