"""Check of a simulator's currents by Kirchhoff's current law: current in equals current out.

Bitlines and source lines have ammeters. The bulk has none, because with a node shared by all cells ngspice would take
ten times as long; if the law seems violated, the junction currents into the bulk are measured on single cells.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.errors import SolveError

TOLERANCE = 1e-5
# IR drop changes the bulk and gate current of a cell by less than this share.
LOST_MARGIN = 0.25
# A larger share of current lost to gates and bulk means a wrong solution.
MOST_LOST = 0.1
# With more thresholds than MOST_STATES, they are rounded to COARSE_VOLTS.
MOST_STATES, COARSE_VOLTS = 512, 0.01

# Returns the amperes `[n]` that cells at gate, drain and source volts and thresholds `[n]` lose through gate and bulk.
Lost = Callable[[Cell, Floats, Floats, Floats, Floats], Floats]


def currents_from(table: Floats, tile: Tile, stimulus: Stimulus, backend: str, lost: Lost) -> Currents:
    """Convert ammeter currents `[vectors, bitlines + source lines]` to `Currents`.

    Raises SolveError if the currents in and out of a vector, corrected for the gate and bulk currents of its cells
    (`lost`), differ by more than 1e-5 of the total current, or of a nanoampere per cell if the total is less (the
    solver's gmin leaks into the bulk). Gate and bulk currents may be up to a tenth of the total.
    """
    bitline, source = table[:, : tile.bitlines], table[:, tile.bitlines :]
    flowing = np.maximum(np.abs(bitline).sum(axis=1), 1e-9 * tile.thresholds.size)
    missing = bitline.sum(axis=1) - source.sum(axis=1) - (0.0 if tile.leaks is None else tile.leaks.sum())
    residual = np.abs(missing) / flowing
    if residual.max() > TOLERANCE:
        bulk = lost_by_all(tile, stimulus, lost)
        beyond = (np.abs(missing - bulk) - LOST_MARGIN * np.abs(bulk)) / flowing
        beyond[np.abs(bulk) > MOST_LOST * flowing] = np.inf
        if beyond.max() > TOLERANCE:
            worst = int(beyond.argmax())
            raise SolveError(
                f"Kirchhoff's current law fails at point {worst}: current in and out differ by {residual[worst]:.1e} "
                f"of the total, {missing[worst]:.2e} A; expected {bulk[worst]:.2e} A into gates and bulk, as measured "
                f"on single cells, within {TOLERANCE:g} of the total, and at most {MOST_LOST:g} of it"
            )
    return Currents(bitline, source, np.ones(len(table), dtype=np.bool_), residual, backend)


def lost_by_all(tile: Tile, stimulus: Stimulus, lost: Lost) -> Floats:
    """Return the total current `[vectors]`, amperes, of a tile's cells into gates and bulk, for lossless wires."""
    thresholds = tile.thresholds
    if len(np.unique(thresholds)) > MOST_STATES:
        thresholds = np.round(thresholds / COARSE_VOLTS) * COARSE_VOLTS
    (gates, gate), (drains, drain), (states, state) = (
        np.unique(volts, return_inverse=True)
        for volts in (stimulus.wordline_volts, tile.applied(stimulus.bitline_volts), thresholds)
    )
    shape = (len(gates), len(drains), len(states))
    volts = [axis.ravel() for axis in np.meshgrid(gates, drains, states, indexing="ij")]
    sources = np.full(len(volts[0]), stimulus.source_volts)
    amps = lost(tile.cell, volts[0], volts[1], sources, volts[2]).reshape(shape)
    gate, drain = gate.reshape(stimulus.wordline_volts.shape), drain.reshape(stimulus.bitline_volts.shape)
    state = state.reshape(thresholds.shape)
    return np.array([
        amps[up[:, None], across[None, :], state].sum() for up, across in zip(gate, drain, strict=True)
    ])  # fmt: skip
