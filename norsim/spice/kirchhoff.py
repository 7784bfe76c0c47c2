"""The currents of a tile as a simulator gives them, by Kirchhoff's current law: what flows in must flow out.

Bitlines and source lines have ammeters. The bulk has none, since a node that all cells share would take ngspice ten
times as long; what a cell's junctions lose into it is measured on single cells, where the law seems to be broken.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.errors import SolveError

TOLERANCE = 1e-5
# What wires do to a cell's volts changes what it loses by less than this.
LOST_MARGIN = 2.0
# A cell that loses more, amperes, is no cell but a solution that is none.
MOST_LOST_AMPS = 1e-10

# What `[n]` cells at `[n]` gate, drain and source volts and thresholds lose past their sources, amperes.
Lost = Callable[[Cell, Floats, Floats, Floats, Floats], Floats]


def currents_from(table: Floats, tile: Tile, stimulus: Stimulus, backend: str, lost: Lost) -> Currents:
    """`[vectors, bitlines + source lines]` ammeter currents -> `Currents`.

    Raises SolveError when some vector's currents in and out differ by more than 1e-5 of what flows, or of a nanoampere
    a cell where less flows (the solver's gmin leaks into the bulk), and by more than what its cells lose, `lost`.
    """
    bitline, source = table[:, : tile.bitlines], table[:, tile.bitlines :]
    flowing = np.maximum(np.abs(bitline).sum(axis=1), 1e-9 * tile.thresholds.size)
    missing = np.abs(bitline.sum(axis=1) - source.sum(axis=1))
    residual = missing / flowing
    if residual.max() > TOLERANCE:
        bulk = tile.thresholds.size * min(LOST_MARGIN * most_lost(tile, stimulus, lost), MOST_LOST_AMPS)
        beyond = (missing - bulk) / flowing
        if beyond.max() > TOLERANCE:
            worst = int(beyond.argmax())
            raise SolveError(
                f"Kirchhoff's current law fails at point {worst}: in and out differ by {residual[worst]:.1e} of what "
                f"flows, where at most {TOLERANCE:g}, and {bulk:.1e} A into the bulk, was expected"
            )
    return Currents(bitline, source, np.ones(len(table), dtype=np.bool_), residual, backend)


def most_lost(tile: Tile, stimulus: Stimulus, lost: Lost) -> float:
    """The most that a cell of a tile loses past its source, amperes: at the ends of what it can see."""
    gates = {float(stimulus.wordline_volts.min()), float(stimulus.wordline_volts.max())}
    drains = {float(stimulus.bitline_volts.min()), float(stimulus.bitline_volts.max())}
    sources = {stimulus.source_volts, *drains}
    thresholds = {float(tile.thresholds.min()), float(tile.thresholds.max())}
    points = np.array(list(product(gates, drains, sources, thresholds)))
    return float(lost(tile.cell, *points.T).max())
