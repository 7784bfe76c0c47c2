"""Measurements: times with warm-up and repeats, the two sides of a ratio measured alternately."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Measured:
    """A number with its range, and a note on how it was measured."""

    value: float
    low: float
    high: float
    note: str = ""


def spread(values: Sequence[float], note: str = "") -> Measured:
    """Return median and range over repeats."""
    return Measured(float(np.median(values)), min(values), max(values), note)


def worst(values: Sequence[float], note: str = "") -> Measured:
    """Return maximum and range over cases, for errors, which do not vary between runs."""
    return Measured(max(values), min(values), max(values), note)


def seconds(call: Callable[[], Any], least: float = 0.0) -> float:
    """Return the seconds of one call, the mean over enough calls to take `least` seconds."""
    calls, start = 0, time.perf_counter()
    while True:
        call()
        calls += 1
        passed = time.perf_counter() - start
        if passed >= least:
            return passed / calls


def in_turns(
    one: Callable[[], Any], other: Callable[[], Any], repeats: int, least: float = 0.0
) -> list[tuple[float, float]]:
    """Return `repeats` pairs of seconds of `one` and `other`, measured alternately; the first pair is discarded."""
    pairs = [(seconds(one, least), seconds(other, least)) for _ in range(repeats + 1)]
    return pairs[1:]


def slope(sizes: Sequence[int], times: Sequence[float]) -> float:
    """Return the exponent p of time ~ size^p by least squares on logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
