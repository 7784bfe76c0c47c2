"""Metrics of a network's outputs: the share of correct classes, or any function of outputs and targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from norsim.array.tile import Floats
from norsim.data.inputs.structure import described
from norsim.errors import ConfigurationError, DataError

Predictions = NDArray[np.int64]
Metric = Callable[[Any, Any], float]
# The name of the share of right classes, which is the metric unless another one is given.
ACCURACY = "accuracy"
# What to do with outputs and targets that are no classes. Several chips, sweeps and attributions compare accuracies.
OTHERWISE = "To judge others, give evaluate a metric, a function of (outputs, targets), with one chip"


def classes_of(outputs: Any) -> Predictions:
    """Return the class `[images]` of each image. Raises ConfigurationError for outputs without `scores_of`."""
    found: Predictions = scores_of(outputs).detach().argmax(dim=1).cpu().numpy()
    return found


def scores_of(outputs: Any) -> Tensor:
    """Return scores `[images, classes]`: the outputs themselves, or the only such tensor in a tuple or dict.

    Raises ConfigurationError for other outputs.
    """
    parts = list(outputs.values()) if isinstance(outputs, Mapping) else outputs
    parts = [parts] if isinstance(parts, Tensor) else list(parts) if isinstance(parts, (tuple, list)) else []
    scores = [part for part in parts if isinstance(part, Tensor) and part.ndim == 2 and part.is_floating_point()]
    if len(scores) != 1:
        raise ConfigurationError(
            f"the network returns {described(outputs)}; an accuracy needs scores [images, classes]. {OTHERWISE}"
        )
    return scores[0]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a network answers: classes, and the cross-entropy of each label in nats, both `[images]`."""

    classes: Predictions
    cross_entropy: Floats


def outcome(scores: Tensor, labels: Predictions) -> Outcome:
    """Return the outcome of scores `[images, classes]` for labels `[images]`.

    Raises ConfigurationError for another number of images, DataError for a label without a score.
    """
    if len(scores) != len(labels):
        raise ConfigurationError(
            f"the network returns scores for {len(scores)} images of {len(labels)}; expected scores [images, classes]"
        )
    check_labels(labels, scores)
    chosen = functional.log_softmax(scores.double(), 1).gather(1, torch.from_numpy(labels)[:, None])[:, 0]
    return Outcome(scores.argmax(dim=1).numpy(), -chosen.numpy())


def check_labels(labels: Predictions, scores: Tensor) -> None:
    """Raise DataError if one of `labels` `[images]` has no score among `scores` `[images, classes]`."""
    if int(labels.max(initial=0)) >= scores.shape[1]:
        raise DataError(
            f"labels go up to {int(labels.max())}; expected 0 to {scores.shape[1] - 1}, one for each score of the "
            "network"
        )


def labels_of(targets: Any, images: int) -> Predictions:
    """Return targets as labels `[images]`. Raises DataError for anything but one integer per image."""
    try:
        found = np.asarray(targets.detach().cpu() if isinstance(targets, Tensor) else targets)
    except (TypeError, ValueError):
        found = np.empty(0, object)
    if found.ndim != 1 or found.dtype.kind not in "iu" or len(found) != images or found.min(initial=0) < 0:
        kind = f"{found.dtype} of shape {list(found.shape)}" if found.dtype != object else described(targets)
        raise DataError(
            f"targets are {kind} for {images} images; an accuracy needs one integer label of at least 0 per "
            f"image. {OTHERWISE}"
        )
    return found.astype(np.int64)


def plain(outputs: Any) -> Any:
    """Return outputs as tensors on the CPU in dicts, tuples and lists, of any shape. Raises ConfigurationError for
    other objects."""
    if isinstance(outputs, Tensor):
        return outputs.detach().cpu()
    if isinstance(outputs, Mapping):
        return {str(key): plain(part) for key, part in outputs.items()}
    if isinstance(outputs, list):
        return [plain(part) for part in outputs]
    if isinstance(outputs, tuple):
        return tuple(plain(part) for part in outputs)
    if outputs is None or isinstance(outputs, (str, int, float, bool)):
        return outputs
    raise ConfigurationError(
        f"the network returns {described(outputs)}; expected tensors, or tuples, lists and dicts of them"
    )


def check_metric(metric: object) -> None:
    """Raise ConfigurationError for a metric that cannot be called; None is the share of correct classes."""
    if metric is not None and not callable(metric):
        raise ConfigurationError(
            f"metric is {metric!r}; expected the name of a metric or a function of (outputs, targets)"
        )


def name_of(metric: Metric) -> str:
    """The name of a metric: of a function its own, of another object its `name` or that of its class."""
    return str(getattr(metric, "__name__", getattr(metric, "name", type(metric).__name__)))


def value_of(metric: Metric, outputs: Any, targets: Any) -> float:
    """Return the value of `metric` on all outputs. Raises ConfigurationError if it fails or returns no number."""
    try:
        return float(metric(outputs, targets))
    except Exception as problem:  # whatever a user's function raises
        raise ConfigurationError(
            f"the metric {name_of(metric)} failed on outputs of {described(outputs)} and targets of "
            f"{described(targets)}: {type(problem).__name__}: {problem}. Expected a function that returns one number"
        ) from problem
