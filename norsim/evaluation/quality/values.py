"""What an evaluation states about the outputs of the array, of the integers and of the float network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from norsim.data.inputs.structure import Structure, count_of
from norsim.errors import ConfigurationError, DataError
from norsim.evaluation.attribution import paired_loss
from norsim.evaluation.intervals import Interval, wilson
from norsim.evaluation.metrics import Metric, Predictions, check_labels, classes_of, labels_of, scores_of
from norsim.evaluation.quality.classes import predictions
from norsim.evaluation.quality.judge import judge

# Outputs or classes of the array, of the integers and of the float network, the last None if they are unknown.
Answers = tuple[Structure, Structure, Structure]


def accuracies_of(answers: Answers, truth: Structure) -> dict[str, Any]:
    """Return the accuracies, and their intervals, by the names of fields of Evaluation; None for unknown ones.

    Answers are classes `[images]` or outputs `[images, ...]`. All values are None unless the network has one score for
    each class and `truth` one label for each image.
    """
    classes = [_classes(found, truth) for found in answers]
    shares = [(None, None) if found is None else share(found[0], found[1]) for found in classes]
    return _fields(("accuracy", "accuracy_quantized", "accuracy_float"), shares)


def _fields(names: tuple[str, ...], pairs: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """Return values and their intervals by name."""
    found: dict[str, Any] = {}
    for name, (value, interval) in zip(names, pairs, strict=True):
        found |= {name: value, f"{name.removesuffix('_value')}_ci95": interval}
    return found


def _classes(found: Structure, truth: Structure) -> tuple[Predictions, Predictions] | None:
    """Return the classes and the labels, `[images]` each; None where there are none."""
    if found is None:
        return None
    if isinstance(found, np.ndarray):
        if len(found) != len(truth):
            raise ConfigurationError(f"{len(found)} float predictions for {len(truth)} images; expected one per image")
        return found, truth
    try:
        scores = scores_of(found)
        labels = labels_of(truth, len(scores))
        check_labels(labels, scores)
    except (ConfigurationError, DataError):
        return None
    return classes_of(scores), labels


def share(predictions: Predictions, labels: Predictions) -> tuple[float, Interval]:
    """Return the share of predictions `[images]` that equal the labels `[images]`, and its 95 % Wilson interval."""
    right = int((predictions == labels).sum())
    return right / len(labels), wilson(right, len(labels))


def values_of(metric: Metric | None, answers: Answers, truth: Structure) -> dict[str, Any]:
    """Return the values of the metric, and the changes from the integers and from the float network to the array, with
    their intervals, by the names of fields of Evaluation; None for unknown ones.

    Without a metric these are accuracies, of classes `[images]`.
    """
    names = ("metric_value", "metric_quantized", "metric_float", "metric_change_quantized", "metric_change_float")
    array, quantized, full = answers
    if metric is None:
        known = accuracies_of(answers, truth)
        pairs = [(known[name], known[f"{name}_ci95"]) for name in ("accuracy", "accuracy_quantized", "accuracy_float")]
        return _fields(names, [*pairs, *(_gain(start, array, truth) for start in (quantized, full))])
    judged = judge(metric, {"array": array, "quantized": quantized, **({} if full is None else {"float": full})}, truth)
    pairs = [(judged.values.get(name), judged.interval(name)) for name in ("array", "quantized", "float")]
    return _fields(names, [*pairs, *(judged.change(start, "array") for start in ("quantized", "float"))])


def _gain(start: Predictions | None, end: Predictions, labels: Predictions) -> tuple[float | None, Interval | None]:
    """Return the accuracy gained from `start` to `end`, `[images]` each, and its paired interval."""
    if start is None:
        return None, None
    loss = paired_loss(start, end, labels)
    # 0 minus, because the negative of 0.0 would be shown as -0.00.
    return 0 - loss.points / 100, (-loss.ci95[1] / 100, -loss.ci95[0] / 100)


def class_counts(found: Structure, other: Structure, truth: Structure) -> tuple[list[int], list[int]] | None:
    """Return how many predictions of each image differ between two outputs, and how many there are; None where the
    outputs are no scores of classes."""
    one, two = predictions(found, truth), predictions(other, truth)
    if one is None or two is None:
        return None
    known = (one >= 0).reshape(count_of(one), -1)
    differ = torch.ne(one, two).reshape(known.shape) & known
    return differ.sum(1).tolist(), known.sum(1).tolist()
