"""The fit of a channel to measured points, by least squares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from norsim.array.tile import Floats
from norsim.cell_fit import channel
from norsim.cell_fit.channel import PARAMETERS
from norsim.cell_fit.divider import Divider
from norsim.cell_fit.measured import Points
from norsim.errors import DataError, SolveError

# A residual is relative to the measured current plus this many times the noise, or this share of the largest current.
NOISES, SMALLEST_SHARE = 10.0, 1e-6
# Residuals beyond this share count less than by their square.
SOFT = 0.03
# The fit starts at these volts from the first estimate of the thresholds; the best one goes on.
STARTS, FIRST_STEPS, MOST_STEPS = (-0.4, -0.2, 0.0, 0.2), 40, 1000
# Below this share of the largest current a transistor of the first estimate is off.
ONSET = 1e-3
# Voltages and temperatures that are this far apart count as different.
LEAST_VOLTS, LEAST_KELVIN = 0.02, 2.0


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted channel.

    `values`      its parameters, and `tref`, kelvin
    `thresholds`  `[states]` of the channel, volts
    `divider`     between the measured gate and the channel's
    `assumed`     the names of the parameters that the data do not tell
    `at_bounds`   the names of those that the fit left at a bound
    """

    values: Mapping[str, float]
    thresholds: Floats
    divider: Divider
    assumed: tuple[str, ...]
    at_bounds: tuple[str, ...]

    def amps(self, points: Points) -> Floats:
        """Return the fitted currents `[n]` at measured points, amperes."""
        gate = self.divider.gate_volts(points.gate, points.drain, points.source)
        return channel.amps(
            self.values, self.thresholds[points.state], gate, points.drain, points.source, points.kelvin
        )

    def overdrive(self, points: Points) -> Floats:
        """Return how far the channel's gate is above source and threshold `[n]`, volts."""
        gate = self.divider.gate_volts(points.gate, points.drain, points.source)
        found: Floats = gate - np.minimum(points.drain, points.source) - self.thresholds[points.state]
        return found


def fit(points: Points, states: Sequence[str], noise: float, divider: Divider) -> Fitted:
    """Fit a channel behind `divider` to points of which each state has some; `noise` in amperes.

    Raises DataError if there are fewer points above the noise than parameters, and SolveError if no start converges.
    """
    points = points.take(points.drain != points.source)
    tref = float(np.median(points.kelvin))
    levels = _levels(points)
    free = [name for name, one in PARAMETERS.items() if not one.needs or levels[one.needs] >= one.levels]
    assumed = tuple(name for name in PARAMETERS if name not in free)
    fixed = {"tref": tref, **{name: PARAMETERS[name].start for name in assumed}}
    floor = max(NOISES * noise, SMALLEST_SHARE * float(np.abs(points.amps).max()))
    above = int((points.amps > floor).sum())
    if above < len(free) + len(states):
        raise DataError(
            f"{above} measured currents are above {floor:.2g} A; expected at least {len(free) + len(states)}, the "
            "number of parameters. Give more points, or a smaller noise if the instrument has less"
        )

    def fitted_at(x: Floats) -> Fitted:
        values = {**fixed, **dict(zip(free, x[: len(free)], strict=True))}
        values["beta"] = float(np.exp(x[free.index("beta")]))
        return Fitted(values, x[len(free) :], divider, assumed, ())

    def residuals(x: Floats) -> Floats:
        found: Floats = (fitted_at(x).amps(points) - points.amps) / (np.abs(points.amps) + floor)
        return found

    onset = _onsets(points, len(states), divider)
    low, high = (np.array([_inner(name, getattr(PARAMETERS[name], end)) for name in free]) for end in ("low", "high"))
    bounds = (np.r_[low, np.full(len(states), -np.inf)], np.r_[high, np.full(len(states), np.inf)])
    tried = []
    for shift in STARTS:
        gain = 2 * float(points.amps.max()) / max(float(np.ptp(points.gate)), 0.1) ** 2
        start = [_inner(name, gain if name == "beta" else PARAMETERS[name].start) for name in free]
        x = np.clip(np.r_[start, onset + shift], *bounds)
        tried.append(_solved(residuals, x, bounds, FIRST_STEPS))
    best = min(tried, key=lambda one: float(one.cost))
    best = _solved(residuals, best.x, bounds, MOST_STEPS)
    if not (np.isfinite(best.cost) and best.success):
        raise SolveError(f"the fit of the channel did not converge in {MOST_STEPS} steps: {best.message}")
    # The solver stays a little inside of the bounds that it found active.
    bound = np.select([best.active_mask < 0, best.active_mask > 0], bounds, best.x)
    at_bounds = tuple(name for name, place in zip(free, best.active_mask, strict=False) if place)
    found = fitted_at(bound)
    values = {name: float(value) for name, value in found.values.items()}
    return Fitted(values, found.thresholds, divider, assumed, at_bounds)


def _solved(residuals: Callable[[Floats], Floats], x: Floats, bounds: tuple[Floats, Floats], steps: int) -> Any:
    scale = np.maximum(np.abs(x), 0.05)
    return least_squares(residuals, x, loss="soft_l1", f_scale=SOFT, x_scale=scale, bounds=bounds, max_nfev=steps)


def _inner(name: str, value: float) -> float:
    """Return a parameter as the solver sees it: beta, which spans decades, by its logarithm."""
    return float(np.log(value)) if name == "beta" else value


def _levels(points: Points) -> dict[str, int]:
    """Return how many different values the "bulk" and "drain" volts over the source and the "kelvin" have."""
    source, across = np.minimum(points.source, points.drain), np.abs(points.drain - points.source)
    return {
        "bulk": _different(source, LEAST_VOLTS),
        "drain": _different(across, LEAST_VOLTS),
        "kelvin": _different(points.kelvin, LEAST_KELVIN),
    }


def _different(values: Floats, least: float) -> int:
    """Return how many of `values` `[n]` are at least `least` apart."""
    count, last = 0, -np.inf
    for value in np.unique(values):
        if value >= last + least:
            count, last = count + 1, value
    return count


def _onsets(points: Points, states: int, divider: Divider) -> Floats:
    """Return the lowest floating-gate volts at which each state `[states]` conducts, volts."""
    gate = divider.gate_volts(points.gate, points.drain, points.source)
    on = points.amps > ONSET * points.amps.max()
    found = np.empty(states)
    for state in range(states):
        own = points.state == state
        chosen = own & on if (own & on).any() else own
        found[state] = gate[chosen].min()
    return found
