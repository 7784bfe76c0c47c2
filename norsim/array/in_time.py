"""What a sample of a read that has not settled sees of each cell's current.

A cell whose gate lags behind the wordline's driver by d volts conducts like one with a threshold higher by d; one with
an input on its bitline conducts in proportion to its drain volts. The currents take their way along the sensed line
(norsim.array.settling). Each read starts from lines at rest, with all volts but those of the input applied. Left out
are the charge that gates couple into bitlines, the conductances of cells beside those of the line, and the source lines
and straps of arrays that are sensed on bitlines.
"""

from __future__ import annotations

import numpy as np

from norsim.array import settling
from norsim.array.tile import Floats
from norsim.array.variation import ThresholdOf
from norsim.array.wires import Wires

# Thresholds between which shares are interpolated, and currents that the cell's curve is taken at.
NODES, CURRENTS = 33, 2000
LEAST_OF_TOP, MOST_OF_TOP = 1e-8, 1e2
# A cell that has not begun to conduct has a gain above 0 all the same.
LEAST_GAIN = 1e-9


def through_bitlines(
    wires: Wires, thresholds: Floats, seconds: float, window_seconds: float, step_volts: float, top_amps: float,
    curve: ThresholdOf,
) -> Floats:  # fmt: skip
    """Return the share `[wordlines, bitlines]` of each cell's settled current that a sample of bitlines sees.

    The sample, or the mean over the window before it, is `seconds` after wordlines step by `step_volts`. `thresholds`,
    of that shape, are those of the cells, and `curve` gives the thresholds of currents at these volts, of which
    `top_amps` is a large one. Raises ConfigurationError for a time in which hardly any current arrives.
    """
    wordlines, bitlines = thresholds.shape
    times, weights = settling.seen_times(settling.bitline(wires, wordlines), wordlines, seconds, window_seconds)
    line = settling.wordline(wires, bitlines)
    if line is None:
        return np.broadcast_to(weights.sum(axis=1)[:, None], thresholds.shape).copy()
    missing = step_volts * (1 - _over_time(line, bitlines, times))
    nodes = np.linspace(thresholds.min(), thresholds.max() + 1e-3, NODES)
    amps = _current_of(curve, top_amps)
    settled = amps(nodes)[:, None, None]
    # A cell that is off is off all the time.
    moving = np.where(settled > 0, amps(nodes[:, None, None] + missing) / np.where(settled > 0, settled, 1.0), 1.0)
    shares = np.einsum("wt,ntb->nwb", weights, moving, optimize=True)
    place = (thresholds - nodes[0]) / (nodes[1] - nodes[0])
    below = np.clip(place.astype(np.int64), 0, NODES - 2)
    i, j = np.indices(thresholds.shape)
    low, high = shares[below, i, j], shares[below + 1, i, j]
    gains: Floats = np.maximum(low + (place - below) * (high - low), LEAST_GAIN)
    return gains


def through_source_lines(wires: Wires, shape: tuple[int, int], seconds: float, window_seconds: float) -> Floats:
    """Return the share of each cell's settled current, an array of `shape` (wordlines, bitlines), that a sample of
    source lines sees `seconds` after bitlines step, or the mean over the window before that.

    Raises ConfigurationError for a time in which hardly any current arrives.
    """
    wordlines, bitlines = shape
    times, weights = settling.seen_times(settling.source_line(wires, bitlines), bitlines, seconds, window_seconds)
    shares: Floats = weights @ _over_time(settling.bitline(wires, wordlines), wordlines, times)
    gains: Floats = np.maximum(shares.T, LEAST_GAIN)
    return gains


def _over_time(line: settling.Response | None, cells: int, times: Floats) -> Floats:
    """Return the shares of the input that have reached cells along a line, `[times, cells]`."""
    if line is None:
        return np.ones((len(times), cells))
    return np.stack([line.mean(float(one)) for one in times])


def _current_of(curve: ThresholdOf, top_amps: float) -> ThresholdOf:
    """Return the inverse of a cell's curve: currents, amperes, of thresholds of any shape; none beyond the curve."""
    logs = np.linspace(np.log(LEAST_OF_TOP * top_amps), np.log(MOST_OF_TOP * top_amps), CURRENTS)
    volts, first = np.unique(curve(np.exp(logs)), return_index=True)

    def amps(thresholds: Floats) -> Floats:
        found: Floats = np.exp(np.interp(thresholds, volts, logs[first], right=-np.inf))
        return found

    return amps
