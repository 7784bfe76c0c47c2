"""Metrics by name. Each is a function of sums over the images, so that its interval follows from the images' sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from norsim.array.tile import Floats
from norsim.data.inputs.structure import Structure, described, tensors_in
from norsim.errors import ConfigurationError, DataError
from norsim.evaluation.quality.classes import counted, nats, scores_and_targets


@dataclass(frozen=True)
class SumMetric:
    """A metric that is `value(sums)` of `sums(outputs, targets)`, `[images, quantities]`, added over the images.

    `name`, `about`   its name, and what it is, for help texts
    `value`           maps sums `[..., quantities]` to values `[...]`
    `is_share`        whether each image counts as 0 or 1, and the value is their mean
    """

    name: str
    about: str
    sums: Callable[[Structure, Structure], Floats]
    value: Callable[[Floats], Floats]
    is_share: bool = False

    def __call__(self, outputs: Structure, targets: Structure) -> float:
        """Return the value for outputs and targets of all images, `[images, ...]`."""
        return float(self.value(self.sums(outputs, targets).sum(axis=0)))


def _mean(sums: Floats) -> Floats:
    """Return the quotient of the first and the last of the quantities; NaN where nothing is counted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = sums[..., 0] / sums[..., -1]
    return found


def _columns(*parts: Tensor) -> Floats:
    found: Floats = torch.stack([part.double() for part in parts], dim=1).cpu().numpy()
    return found


def _cross_entropy(outputs: Structure, targets: Structure) -> Floats:
    return _columns(*nats(*scores_and_targets(outputs, targets)))


def _top(count: int) -> Callable[[Structure, Structure], Floats]:
    def sums(outputs: Structure, targets: Structure) -> Floats:
        scores, truth = scores_and_targets(outputs, targets)
        if scores.shape[-1] < count:
            raise ConfigurationError(f"the network has {scores.shape[-1]} scores; top{count} needs at least {count}")
        known = counted(truth, scores.shape[-1])
        hits = (scores.topk(count, dim=-1).indices == truth[..., None]).any(-1) & known
        return _columns(*(part.reshape(len(part), -1).sum(1) for part in (hits, known)))

    return sums


def _overlaps(outputs: Structure, targets: Structure) -> Floats:
    """Return, for each class, how many pixels of an image are predicted rightly, and how many are predicted or true."""
    scores, truth = scores_and_targets(outputs, targets)
    classes, known = scores.shape[-1], counted(truth, scores.shape[-1])
    found = scores.argmax(-1)
    rows = torch.arange(len(truth), device=truth.device).reshape(-1, *[1] * (truth.ndim - 1)).expand_as(truth)

    def count(which: Tensor, of: Tensor) -> Tensor:
        places = rows[which] * classes + of[which]
        return torch.bincount(places, minlength=len(truth) * classes).reshape(len(truth), classes)

    both = count(known & (found == truth), truth)
    union = count(known, truth) + count(known, found) - both
    together: Floats = torch.cat([both, union], 1).double().cpu().numpy()
    return together


def _mean_overlap(sums: Floats) -> Floats:
    """Return the mean of intersection over union, of the classes that are predicted or true anywhere."""
    both, union = np.split(sums, 2, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(union > 0, both / union, 0.0).sum(axis=-1) / (union > 0).sum(axis=-1)
    return found


def _errors(power: int) -> Callable[[Structure, Structure], Floats]:
    def sums(outputs: Structure, targets: Structure) -> Floats:
        pairs = list(zip(tensors_in(outputs), tensors_in(targets), strict=False))
        fits = len(list(tensors_in(outputs))) == len(list(tensors_in(targets))) == len(pairs) > 0
        if not fits or any(one.shape != other.shape and one.numel() != other.numel() for one, other in pairs):
            raise DataError(
                f"the network returns {described(outputs)} for targets of {described(targets)}; expected one number "
                "for each target"
            )
        off = [(one.reshape(len(one), -1).double() - other.reshape(len(one), -1)).abs() for one, other in pairs]
        total, count = sum((part**power).sum(1) for part in off), sum(part.shape[1] for part in off)
        return _columns(torch.as_tensor(total), torch.full((len(off[0]),), count))

    return sums


METRICS = {
    metric.name: metric
    for metric in (
        SumMetric("top5", "share of images whose class is among the 5 largest scores", _top(5), _mean, True),
        SumMetric("cross-entropy", "mean cross-entropy of the predictions, in nats", _cross_entropy, _mean),
        SumMetric("perplexity", "exponential of the cross-entropy", _cross_entropy, lambda sums: np.exp(_mean(sums))),
        SumMetric("prediction-accuracy", "share of right predictions: of pixels or tokens", _top(1), _mean),
        SumMetric("miou", "intersection over union of predicted and true pixels, mean of classes", _overlaps,
                  _mean_overlap),
        SumMetric("mae", "mean absolute error", _errors(1), _mean),
        SumMetric("rmse", "root of the mean square error", _errors(2), lambda sums: np.sqrt(_mean(sums))),
    )
}  # fmt: skip
