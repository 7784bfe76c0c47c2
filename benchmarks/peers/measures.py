"""Errors of currents, and differences of accuracies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from norsim.evaluation.intervals import ends, resampled_means, wilson

Floats = NDArray[np.float64]


def current_error(amps: Floats, exact: Floats, full_scale: float) -> dict[str, float]:
    """Return the deviations of currents `[reads, bitlines]` from `exact` ones, of `full_scale` amperes.

    `rms` and `largest` of all of them as they are, and `fitted_rms` and `fitted_largest` after the least-squares gain
    and offset of each bitline, which a chip's calibration finds.
    """
    away = amps - exact
    mean, level = amps.mean(axis=0), exact.mean(axis=0)
    spread = np.square(amps - mean).sum(axis=0)
    gain = ((amps - mean) * (exact - level)).sum(axis=0) / np.where(spread > 0, spread, 1.0)
    rest = (amps - mean) * gain + level - exact
    found = {"rms": _rms(away), "largest": np.abs(away).max(), "fitted_rms": _rms(rest),
             "fitted_largest": np.abs(rest).max()}  # fmt: skip
    return {name: float(value / full_scale) for name, value in found.items()}


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def accuracy(classes: Sequence[int], labels: Sequence[int]) -> tuple[float, tuple[float, float]]:
    """Return the share of classes that are right, and Wilson's 95 % interval."""
    right = int(np.count_nonzero(np.asarray(classes) == np.asarray(labels)))
    return right / len(labels), wilson(right, len(labels))


def difference(
    classes: Sequence[int], others: Sequence[int], labels: Sequence[int]
) -> tuple[float, tuple[float, float]]:
    """Return by how much the accuracy of `classes` exceeds that of `others` on the same images, a share, with its 95 %
    interval: the bootstrap over images, paired."""
    right, other = (np.asarray(some) == np.asarray(labels) for some in (classes, others))
    change = right.astype(np.float64) - other
    # One image can change by 1.
    return float(change.mean()), ends(resampled_means(change[None], 1.0)[:, 0])
