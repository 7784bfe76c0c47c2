"""The written netlist, solved by the simulator at measured points: does it compute what was fitted?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from norsim.array.cell import Cell
from norsim.cell_fit import channel
from norsim.cell_fit.cell import FittedCell
from norsim.errors import SolveError
from norsim.spice.simulators.choice import Simulator

# Points that are solved; a netlist with another equation is off at most of them.
MOST_POINTS = 60
# Largest difference of the netlist from the fit, of the largest current.
TOLERANCE = 1e-6


def largest_difference(cell: Cell, one: FittedCell, simulator: Simulator) -> float:
    """Return the largest difference of the simulator's currents of `cell`, read from the files of `one`, from the
    fitted ones, over their largest.

    The points are measured ones of the on-region, with the control gate at the volts that put the channel's gate where
    it was measured. Raises SolveError if the difference is above TOLERANCE, and as the simulator does.
    """
    fitted, found, divider = one.fitted, one.judgement, one.divider
    on = found.points.take(found.is_on)
    on = on.take(slice(None, None, max(len(on.amps) // MOST_POINTS, 1)))
    wanted = fitted.divider.gate_volts(on.gate, on.drain, on.source)
    gate = (wanted - divider.drain * on.drain - divider.source * on.source) / divider.gate
    thresholds = fitted.thresholds[on.state]
    expected = channel.amps(fitted.values, thresholds, wanted, on.drain, on.source, on.kelvin)
    solved = np.empty(len(expected))
    for kelvin in np.unique(on.kelvin):
        own = on.kelvin == kelvin
        warm = replace(cell, temperature_kelvin=float(kelvin))
        volts = (gate[own], on.drain[own], on.source[own], thresholds[own] / divider.gate)
        solved[own] = simulator.drain_amps(warm, *volts)
    worst = float(np.abs(solved - expected).max() / np.abs(expected).max())
    if not worst <= TOLERANCE:
        raise SolveError(
            f"the written netlist differs from the fitted channel by {worst:.1e} of the largest current; expected at "
            f"most {TOLERANCE:g}. Report this, with the measured file"
        )
    return worst
