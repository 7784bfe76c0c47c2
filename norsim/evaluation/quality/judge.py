"""The value of a metric for the outputs of several networks, with 95 % intervals over other images.

Networks are compared on the same images: a resample of the images is the same for all of them, so the intervals of
differences are paired. Metrics by name are resampled as norsim.evaluation.intervals does (Bayesian bootstrap: Rubin,
1981). A user's function takes whole images, so these are drawn with replacement (Efron and Tibshirani, 1993).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from norsim.array.tile import Floats
from norsim.data.inputs.structure import Structure, count_of, taken, tensors_in
from norsim.errors import ConfigurationError
from norsim.evaluation.intervals import RESAMPLES, WEIGHTS, Interval, ends, wilson
from norsim.evaluation.metrics import Metric, value_of
from norsim.evaluation.quality.named import SumMetric
from norsim.random_streams import Stream, generator

# A user's function is called that often, or for about that many seconds; with fewer calls there is no interval.
CALLS, SECONDS, FEWEST_CALLS = 400, 20.0, 50


@dataclass(frozen=True, eq=False)
class Judged:
    """The values of one metric.

    `values`     of each network, by name; the value of a network without outputs is missing
    `resampled`  the same for resampled images, `[resamples]`; empty if there is no interval
    `counts`     right and all images of each network, of a metric that is a share of images
    """

    values: Mapping[str, float]
    resampled: Mapping[str, Floats]
    counts: Mapping[str, tuple[int, int]]

    def interval(self, name: str) -> Interval | None:
        """Return the 95 % interval of a network's value; None if it is unknown."""
        if name in self.counts:
            return wilson(*self.counts[name])
        return _ends(self.resampled[name]) if name in self.resampled else None

    def change(self, start: str, end: str) -> tuple[float | None, Interval | None]:
        """Return the value of `end` minus that of `start`, and its paired 95 % interval, as far as they are known."""
        if start not in self.values or end not in self.values:
            return None, None
        known = start in self.resampled and end in self.resampled
        change = _ends(self.resampled[end] - self.resampled[start]) if known else None
        return self.values[end] - self.values[start], change


def _ends(resampled: Floats) -> Interval | None:
    found = resampled[np.isfinite(resampled)]
    return ends(found) if len(found) == len(resampled) else None


def judge(metric: Metric, outputs: Mapping[str, Structure], targets: Structure) -> Judged:
    """Return the values of `metric` for the outputs `[images, ...]` of networks, by name, and the same targets.

    Raises ConfigurationError if a user's function fails or returns no number, and what a metric by name raises for
    outputs and targets that do not fit it.
    """
    return _by_sums(metric, outputs, targets) if isinstance(metric, SumMetric) else _by_calls(metric, outputs, targets)


def _by_sums(metric: SumMetric, outputs: Mapping[str, Structure], targets: Structure) -> Judged:
    sums = {name: metric.sums(found, targets) for name, found in outputs.items()}
    values = {name: float(metric.value(one.sum(axis=0))) for name, one in sums.items()}
    single = metric.is_share and all((one[:, -1] == 1).all() for one in sums.values())
    counts = {name: (round(one[:, 0].sum()), len(one)) for name, one in sums.items()} if single else {}
    if min(map(len, sums.values()), default=0) < 2:
        return Judged(values, {}, counts)
    widths = [one.shape[1] for one in sums.values()]
    total = _weighted(np.concatenate(list(sums.values()), axis=1))
    parts = np.split(total, np.cumsum(widths)[:-1], axis=1)
    return Judged(values, {name: metric.value(part) for name, part in zip(sums, parts, strict=True)}, counts)


def _weighted(sums: Floats) -> Floats:
    """Return resampled sums `[resamples, quantities]` of those of the images, `[images, quantities]`."""
    random = generator(0, Stream.IMAGE_BOOTSTRAP)
    found, block = [], max(1, WEIGHTS // len(sums))
    for first in range(0, RESAMPLES, block):
        weights = random.standard_exponential((min(block, RESAMPLES - first), len(sums)))
        # Sums of weights of 1 on average, so that a value that depends on counts keeps its scale.
        found.append(weights / weights.mean(axis=1, keepdims=True) @ sums)
    return np.concatenate(found)


def _by_calls(metric: Metric, outputs: Mapping[str, Structure], targets: Structure) -> Judged:
    started = time.monotonic()
    values = {name: value_of(metric, found, targets) for name, found in outputs.items()}
    each = max(time.monotonic() - started, 1e-9)
    images, calls = count_of(targets), min(CALLS, int(SECONDS / each))
    if calls < FEWEST_CALLS or images < 2 or not all(_counts(found, images) for found in outputs.values()):
        return Judged(values, {}, {})
    random = generator(0, Stream.IMAGE_BOOTSTRAP)
    found: dict[str, list[float]] = {name: [] for name in outputs}
    for _ in range(calls):
        places = torch.from_numpy(random.integers(images, size=images))
        some = taken(targets, places)
        for name, answers in outputs.items():
            found[name].append(_value(metric, taken(answers, places), some))
    return Judged(values, {name: np.array(one) for name, one in found.items()}, {})


def _counts(outputs: Structure, images: int) -> bool:
    """Return whether the first axis of all tensors in the outputs counts the images, so that some can be taken."""
    return all(part.ndim and len(part) == images for part in tensors_in(outputs))


def _value(metric: Metric, outputs: Structure, targets: Structure) -> float:
    """Return a value; NaN where a user's function has none for some of the images, such as those without an object."""
    try:
        return value_of(metric, outputs, targets)
    except ConfigurationError:
        return math.nan


def of_each(metric: Metric, outputs: Structure, targets: Structure) -> list[float | str]:
    """Return the value of each image by itself, `[images]`; an empty text where it has none."""
    images = count_of(targets)
    if outputs is None or not _counts(outputs, images):
        return [""] * images
    if isinstance(metric, SumMetric):
        found = metric.value(metric.sums(outputs, targets)).tolist()
    else:
        found = [_value(metric, taken(outputs, one), taken(targets, one)) for one in map(_slice, range(images))]
    return ["" if math.isnan(value) else value for value in found]


def _slice(place: int) -> slice:
    return slice(place, place + 1)
