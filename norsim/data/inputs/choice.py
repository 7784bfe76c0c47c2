"""Which samples of a split are read: functions from the number of its samples to increasing indices `[chosen]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from norsim.errors import DataError

Indices: TypeAlias = NDArray[np.int64]
Choice: TypeAlias = Callable[[int], Indices]


def everything(available: int) -> Indices:
    """Choose all samples."""
    return np.arange(available)


def first(count: int, skipped: int = 0) -> Choice:
    """Choose the first `count` samples after those `skipped`. The choice raises DataError where there are fewer."""

    def choose(available: int) -> Indices:
        check_count(skipped + count, available)
        return np.arange(skipped, skipped + count)

    return choose


def after(skipped: int) -> Choice:
    """Choose all samples but the first `skipped`. The choice raises DataError where that leaves none."""

    def choose(available: int) -> Indices:
        if skipped >= available:
            raise DataError(f"none of {available} images are left after the first {skipped}. Skip fewer.")
        return np.arange(skipped, available)

    return choose


def at_most(count: int) -> Choice:
    """Choose the first `count` samples, or all where there are fewer."""
    return lambda available: np.arange(min(count, available))


def drawn(count: int, random: np.random.Generator) -> Choice:
    """Choose `count` samples at random, without replacement, or all where there are fewer."""
    return lambda available: draw(min(count, available), available, random)


def draw(count: int, available: int, random: np.random.Generator) -> Indices:
    """Return `count` different indices `[count]` below `available`, drawn at random, in increasing order."""
    return np.sort(random.choice(available, size=count, replace=False))


def spread(count: int) -> Choice:
    """Choose `count` samples spread evenly over all, or all where there are fewer."""
    return lambda available: np.arange(available)[:: max(available // count, 1)][:count]


def check_count(count: int, available: int, where: str = "") -> None:
    """Raise DataError, starting with `where`, unless `count` is 1 to `available`."""
    if not 1 <= count <= available:
        raise DataError(f"{where}{count} images were requested, expected 1 to {available}.")
