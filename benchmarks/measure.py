"""What a measurement is, and how times are taken: warmed up, repeated, the two sides of a ratio in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Measured:
    """A number with its spread, and what it was taken from."""

    value: float
    low: float
    high: float
    note: str = ""


def spread(values: Sequence[float], note: str = "") -> Measured:
    """Median and range over repeats."""
    return Measured(float(np.median(values)), min(values), max(values), note)


def worst(values: Sequence[float], note: str = "") -> Measured:
    """Largest and range over cases: for errors, which do not vary from run to run."""
    return Measured(max(values), min(values), max(values), note)


def seconds(call: Callable[[], Any], least: float = 0.0) -> float:
    """Seconds of one call, the mean over as many as fill `least` seconds."""
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
    """`repeats` pairs of seconds of `one` and `other`, next to each other in time; the first pair is thrown away."""
    pairs = [(seconds(one, least), seconds(other, least)) for _ in range(repeats + 1)]
    return pairs[1:]


def slope(sizes: Sequence[int], times: Sequence[float]) -> float:
    """The exponent p of time ~ size^p by least squares on logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
