"""Retention between two cards of a cell: as programmed, and at the end of its life.

A cell programmed to the threshold V_T conducts, at the end of life, the current of the aged card, as a fresh cell of
the equivalent threshold V_T + dV does. In between dV grows with the logarithm of time,

    dV(t) = dV log(1 + t / 1 s) / log(1 + T / 1 s),

the same law in time as the interpolation of measured tables (norsim.array.measured). The equivalent threshold is found
at the read, and for cells that are off there at the gate voltage at which the aged one conducts a quarter of the lowest
level.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import elementwise

from norsim.array.cell import Cell
from norsim.array.tile import Floats
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError
from norsim.periphery.encoding import Encoding
from norsim.spice.simulators.choice import chosen_simulator

POINTS, ABSOLUTE_VOLTS, LEAST_AMPS, LEAST_SHARE = 65, 1e-7, 1e-30, 0.25


def aged(chip: Chip, thresholds: Floats) -> Floats:
    """Return `thresholds`, volts, of any shape, at the time since programming; the same for a chip without an aged
    card, and right after programming.

    Raises ConfigurationError for a time beyond the end of life, and if the aged cell is beyond the cell's limits.
    """
    end, seconds = chip.end_of_life, chip.silicon.seconds
    if end is None or not seconds:
        return thresholds
    if seconds > end.seconds:
        raise ConfigurationError(
            f"silicon.time is {seconds:g} s, beyond the end of life of {end.seconds:g} s (cell.end_of_life.after); "
            "nothing is extrapolated"
        )
    shift = _shift(chip.cell, end.cell, chip.encoding)(thresholds)
    return thresholds + shift * (math.log1p(seconds) / math.log1p(end.seconds))


@lru_cache(maxsize=16)
def _shift(fresh: Cell, old: Cell, encoding: Encoding) -> Callable[[Floats], Floats]:
    """Return a function from thresholds of any shape to their shifts at the end of life, volts."""
    (read, drain), simulator = encoding.verify_volts, chosen_simulator(fresh)
    window = fresh.erased_volts, fresh.programmed_volts
    states = np.linspace(*window, POINTS)
    least = LEAST_SHARE * float(encoding.level_amps[encoding.level_amps > 0].min())

    def amps(cell: Cell, gate: Floats, volts: Floats) -> Floats:
        zero = np.zeros(volts.shape)
        found = simulator.drain_amps(cell, gate.ravel(), (zero + drain).ravel(), zero.ravel(), volts.ravel())
        return np.maximum(found.reshape(volts.shape), LEAST_AMPS)

    def root(off: Callable[..., Floats], low: Floats, high: Floats, *args: Floats) -> Floats:
        found = elementwise.find_root(
            off, (low, high), args=args,
            tolerances={"xatol": ABSOLUTE_VOLTS, "xrtol": 0.0, "fatol": 0.0, "frtol": 0.0},
        )  # fmt: skip
        return np.where(found.success, found.x, np.nan)

    gates = np.full(POINTS, float(read))
    off = amps(old, gates, states) < least
    if off.any():
        gates[off] = root(
            lambda gate, volts: np.log(amps(old, gate, np.broadcast_to(volts, gate.shape)) / least),
            gates[off], gates[off] + 2 * (window[1] - window[0]), states[off],
        )  # fmt: skip
    found = np.full(POINTS, np.nan)
    known = np.isfinite(gates)
    found[known] = root(
        lambda volts, gate, want: np.log(amps(fresh, np.broadcast_to(gate, volts.shape), volts) / want),
        *(np.full(int(known.sum()), end) for end in fresh.limits), gates[known], amps(old, gates[known], states[known]),
    )  # fmt: skip
    if not np.isfinite(found).all():
        worst = float(states[~np.isfinite(found)][0])
        raise ConfigurationError(
            f"at the end of life, a cell of {worst:.3g} V conducts what no threshold of the fresh cell between "
            f"{fresh.limits[0]:g} V and {fresh.limits[1]:g} V does; widen cell.lowest and cell.highest, or check the "
            "card of cell.end_of_life"
        )
    curve = PchipInterpolator(states, found - states)
    return lambda thresholds: curve(np.clip(thresholds, *window))
