"""Measured curves of a transistor or of a cell: drain current over one swept voltage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Floats
from norsim.errors import DataError

# A curve with fewer points has no shape.
LEAST_POINTS = 3
# Temperatures at which no transistor is measured: a wrong unit.
LOWEST_KELVIN, HIGHEST_KELVIN = 1.0, 1000.0
ALL_STATES = "-"


@dataclass(frozen=True, eq=False)
class Curve:
    """One measured curve.

    `swept`   "gate" or "drain"
    `gate_volts`, `drain_volts`, `source_volts`, `bulk_volts`   `[points]`, against any common reference
    `amps`    `[points]`, positive into the drain
    `state`   the label of the programmed state, `-` if the data have none
    `kelvin`  temperature
    `where`   file and line, for messages
    """

    swept: str
    gate_volts: Floats
    drain_volts: Floats
    source_volts: Floats
    bulk_volts: Floats
    amps: Floats
    state: str
    kelvin: float
    where: str

    @property
    def outer(self) -> tuple[float, float, float]:
        """What is constant on the curve: the other terminal's volts over the source, bulk volts over the source, and
        kelvin."""
        other = self.drain_volts if self.swept == "gate" else self.gate_volts
        source = float(self.source_volts[0])
        return round(float(other[0]) - source, 9), round(float(self.bulk_volts[0]) - source, 9), self.kelvin


@dataclass(frozen=True, eq=False)
class Points:
    """Points of several curves, one after the other; volts are against the bulk.

    `gate`, `drain`, `source` `[n]` volts, `amps` `[n]`, `kelvin` `[n]`, `state` `[n]` the index of the state, `curve`
    `[n]` the index of the curve.
    """

    gate: Floats
    drain: Floats
    source: Floats
    amps: Floats
    kelvin: Floats
    state: NDArray[np.int64]
    curve: NDArray[np.int64]

    def take(self, chosen: NDArray[np.bool_] | slice) -> Points:
        """Return some of the points, by a mask `[n]` or a slice."""
        return Points(*(part[chosen] for part in vars(self).values()))


def points_of(curves: Sequence[Curve], states: Sequence[str]) -> Points:
    """Return all points of `curves`; `states` are the labels that their states are indices of."""
    every = [
        (
            one.gate_volts - one.bulk_volts,
            one.drain_volts - one.bulk_volts,
            one.source_volts - one.bulk_volts,
            one.amps,
            np.full(len(one.amps), one.kelvin),
            np.full(len(one.amps), states.index(one.state)),
            np.full(len(one.amps), place),
        )
        for place, one in enumerate(curves)
    ]
    return Points(*map(np.concatenate, zip(*every, strict=True)))


def states_of(curves: Iterable[Curve]) -> list[str]:
    """Return the labels of the states, in the order of their first curves."""
    return list(dict.fromkeys(one.state for one in curves))


def checked(curve: Curve) -> Curve:
    """Return the curve. Raises DataError if it has too few points or an impossible temperature."""
    if len(curve.amps) < LEAST_POINTS:
        raise DataError(
            f"{curve.where}: a curve of {len(curve.amps)} points; expected at least {LEAST_POINTS}, with one swept "
            "voltage and the others constant. Sort the points so that each sweep is in one piece"
        )
    if not LOWEST_KELVIN <= curve.kelvin <= HIGHEST_KELVIN:
        raise DataError(
            f"{curve.where}: the temperature is {curve.kelvin:g} K; expected {LOWEST_KELVIN:g} K to "
            f"{HIGHEST_KELVIN:g} K. Check its unit"
        )
    return curve


def noise_amps(points: Points) -> float:
    """Return the noise of the instrument: the largest negative current with the drain above the source, amperes.

    It is 0 if there is no such current. Raises DataError if no current is positive there.
    """
    on = points.drain > points.source
    amps = points.amps[on]
    if not len(amps) or amps.max() <= 0:
        raise DataError(
            "no measured current is positive with the drain above the source. Expected the current into the drain of "
            "an n-channel device; for a p-channel one invert the signs of all voltages and currents"
        )
    return float(max(-amps.min(), 0.0))


def fitted_half(curves: Sequence[Curve]) -> NDArray[np.bool_]:
    """Return which curves are fitted `[curves]`, so that the others can judge the fit.

    Neighbours differ: with the constant voltages of the sweeps of one kind in order, as the rows and columns of a
    chessboard, the black squares are fitted. A state without a fitted curve gets its first one. Raises DataError if no
    curve is left to judge.
    """
    ranks: list[int] = []
    for one in curves:
        alike = [other.outer for other in curves if other.swept == one.swept]
        values = [sorted({outer[part] for outer in alike}) for part in range(3)]
        ranks.append(sum(of.index(value) for of, value in zip(values, one.outer, strict=True)))
    chosen: NDArray[np.bool_] = np.array(ranks) % 2 == 0
    for state in states_of(curves):
        of_state = [place for place, one in enumerate(curves) if one.state == state]
        if not chosen[of_state].any():
            chosen[of_state[0]] = True
    if chosen.all():
        raise DataError(
            f"{len(curves)} curves cannot be divided into two halves, one to fit and one to judge. Give more curves, "
            "or fit all of them without a judgement"
        )
    return chosen
