"""Program-verify: the thresholds at which the cell conducts the target current of each weight code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import elementwise

from norsim.array.cell import Cell
from norsim.array.tile import Floats
from norsim.errors import ConfigurationError, SolveError

Measure = Callable[[Cell, Floats], Floats]
ABSOLUTE_VOLTS = 1e-9
LEAST_SHARE = 1e-9
# Bisecting a window of volts to a nanovolt takes 34 steps; a current that is not reproducible never converges.
MOST_STEPS = 200
CURVE_VOLTS = 0.005
# Below the noise of simulators.
NO_AMPS = 1e-18


@dataclass(frozen=True, eq=False)
class Levels:
    """The cell's levels, one per weight code.

    `thresholds`  `[levels]`, volts
    `target_amps`, `achieved_amps`  `[levels]`, amperes under the verify read
    """

    thresholds: Floats
    target_amps: Floats
    achieved_amps: Floats

    @property
    def worst_error(self) -> float:
        """Largest |achieved - target| as a fraction of the top level's current."""
        return float(np.abs(self.achieved_amps - self.target_amps).max() / self.target_amps.max())


def find_levels(cell: Cell, target_amps: Floats, measure: Measure) -> Levels:
    """Find the thresholds at which `measure(cell, thresholds [n]) -> amperes [n]` meets the targets `[levels]`.

    A target of 0 A is the fully programmed cell, whatever its leakage. The others are found by bracketing
    root finding (Chandrupatla's method, SciPy) between the erased and the programmed threshold.
    Raises ConfigurationError for a target that no threshold in the window reaches, SolveError if the root finding
    does not converge.
    """
    thresholds = np.full(len(target_amps), cell.programmed_volts, dtype=np.float64)
    wanted = target_amps > 0
    window = measure(cell, np.array([cell.erased_volts, cell.programmed_volts]))
    reachable = (target_amps[wanted] <= window[0]) & (target_amps[wanted] >= window[1])
    if not reachable.all():
        worst = target_amps[wanted][~reachable][0]
        raise ConfigurationError(
            f"a level of {worst:.4g} A cannot be programmed: under the verify read the cell conducts "
            f"{window[0]:.4g} A erased and {window[1]:.4g} A programmed. Change the level currents, the read "
            "volts or the cell's window"
        )
    found = elementwise.find_root(
        # The logarithm makes the root easy to find; the current can be zero or slightly negative.
        lambda volts, target: np.log(np.maximum(measure(cell, volts), LEAST_SHARE * target) / target),
        (cell.erased_volts, cell.programmed_volts),
        args=(target_amps[wanted],),
        tolerances={"xatol": ABSOLUTE_VOLTS, "xrtol": 0.0, "fatol": 0.0, "frtol": 0.0},
        maxiter=MOST_STEPS,
    )
    if not np.all(found.success):
        raise SolveError("program-verify did not converge: is the cell's current monotone in its threshold?")
    thresholds[wanted] = found.x
    return Levels(thresholds, target_amps, measure(cell, thresholds))


def current_curve(cell: Cell, measure: Measure) -> Callable[[Floats], Floats]:
    """Return the cell's curve: a function from thresholds `[n]` to the currents `[n]` that `measure` finds.

    The curve is measured every 5 mV between the cell's limits, and interpolated in ln(I) by monotone cubics. Thresholds
    beyond a limit count as the limit.
    """
    low, high = cell.limits
    volts = np.linspace(low, high, round((high - low) / CURVE_VOLTS) + 1)
    curve = PchipInterpolator(volts, np.log(np.maximum(measure(cell, volts), NO_AMPS)))
    return lambda thresholds: np.exp(curve(np.clip(thresholds, low, high)))


def threshold_curve(cell: Cell, measure: Measure) -> Callable[[Floats], Floats]:
    """Return the inverse of the cell's curve: a function from currents `[n]` under the verify read to thresholds `[n]`.

    The curve is measured every 5 mV over all thresholds that the cell can reach, and interpolated in ln(I) by monotone
    cubics (SciPy's PCHIP). A current below the curve, such as 0 A, maps to the programmed threshold; one above it maps
    to the lowest threshold. Raises SolveError if the current does not fall with rising threshold.
    """
    low, high = cell.limits
    volts = np.linspace(low, high, round((high - low) / CURVE_VOLTS) + 1)
    amps = measure(cell, volts)
    # The leakage of a cell that is off no longer falls, or by less than the logarithm resolves.
    logarithms = np.log(np.maximum(amps, np.finfo(np.float64).tiny))
    falling = int(np.argmin(np.append(np.diff(logarithms) < 0, False)))
    while falling and amps[falling] <= 0:
        falling -= 1
    if falling < 2:
        raise SolveError(f"the current of the cell {cell.subcircuit} does not fall with rising threshold")
    curve = PchipInterpolator(logarithms[falling::-1], volts[falling::-1])

    def threshold_of(wanted: Floats) -> Floats:
        thresholds = np.full(wanted.shape, max(cell.programmed_volts, volts[falling]))
        reached = wanted >= amps[falling]
        thresholds[reached] = curve(np.log(np.minimum(wanted[reached], amps[0])))
        return thresholds

    return threshold_of
