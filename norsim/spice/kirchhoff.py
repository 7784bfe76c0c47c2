"""The currents of a tile as a simulator gives them, by Kirchhoff's current law: what flows in must flow out.

Bitlines and source lines have ammeters. The bulk has none, since a node that all cells share would take ngspice ten
times as long; what a cell's junctions lose into it is measured on single cells, where the law seems to be broken.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.errors import SolveError

TOLERANCE = 1e-5
# What wires do to a cell's volts changes what it loses by less than this share.
LOST_MARGIN = 0.25
# Where more of the current is lost, this is no array but a solution that is none.
MOST_LOST = 0.1
# More thresholds than these are told apart by so many volts only.
MOST_STATES, COARSE_VOLTS = 512, 0.01

# What `[n]` cells at `[n]` gate, drain and source volts and thresholds lose past their sources, amperes.
Lost = Callable[[Cell, Floats, Floats, Floats, Floats], Floats]


def currents_from(table: Floats, tile: Tile, stimulus: Stimulus, backend: str, lost: Lost) -> Currents:
    """`[vectors, bitlines + source lines]` ammeter currents -> `Currents`.

    Raises SolveError when some vector's currents in and out differ by more than 1e-5 of what flows, or of a nanoampere
    a cell where less flows (the solver's gmin leaks into the bulk), but for what its cells lose by `lost`, which may be
    a tenth of what flows.
    """
    bitline, source = table[:, : tile.bitlines], table[:, tile.bitlines :]
    flowing = np.maximum(np.abs(bitline).sum(axis=1), 1e-9 * tile.thresholds.size)
    missing = bitline.sum(axis=1) - source.sum(axis=1)
    residual = np.abs(missing) / flowing
    if residual.max() > TOLERANCE:
        bulk = lost_by_all(tile, stimulus, lost)
        beyond = (np.abs(missing - bulk) - LOST_MARGIN * np.abs(bulk)) / flowing
        beyond[np.abs(bulk) > MOST_LOST * flowing] = np.inf
        if beyond.max() > TOLERANCE:
            worst = int(beyond.argmax())
            raise SolveError(
                f"Kirchhoff's current law fails at point {worst}: in and out differ by {residual[worst]:.1e} of "
                f"what flows, {missing[worst]:.2e} A; {bulk[worst]:.2e} A into gates and bulk was expected of single "
                f"cells, give or take {TOLERANCE:g} of what flows, and at most {MOST_LOST:g} of it"
            )
    return Currents(bitline, source, np.ones(len(table), dtype=np.bool_), residual, backend)


def lost_by_all(tile: Tile, stimulus: Stimulus, lost: Lost) -> Floats:
    """`[vectors]` amperes that the cells of a tile lose past their sources together, were its wires without loss."""
    thresholds = tile.thresholds
    if len(np.unique(thresholds)) > MOST_STATES:
        thresholds = np.round(thresholds / COARSE_VOLTS) * COARSE_VOLTS
    (gates, gate), (drains, drain), (states, state) = (
        np.unique(volts, return_inverse=True) for volts in (stimulus.wordline_volts, stimulus.bitline_volts, thresholds)
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
