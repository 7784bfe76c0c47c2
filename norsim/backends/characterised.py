"""The fast solvers on tiles: `nodal`, and `macro` with its reduced models. Cells are as the simulator characterises
them."""

from __future__ import annotations

import hashlib
import threading
from functools import lru_cache
from itertools import product

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.errors import SolveError
from norsim.solver import characterisation_cache, nodal
from norsim.solver.characterize import Box, CellTable
from norsim.solver.input_lines import Driven, driven
from norsim.solver.macro import build
from norsim.solver.macro.tables import Tabulated, tabulate
from norsim.spice.simulators.choice import chosen_simulator

# Drives that modes are fitted to and checked on.
TABULATED_DRIVES = 96
# What may leave a cell past its source where only the drain's current is known: of the largest current, and in amperes
# where all cells are off.
MOST_LOST = 1e-6
LEAST_LOST_AMPS = 1e-13
# The kernels use all cores themselves, and numba's threads bear no second caller.
ONE_AT_A_TIME = threading.RLock()


def read_nodal(tile: Tile, stimulus: Stimulus) -> Currents:
    """The tile's currents by Kirchhoff's laws, with the cell as ngspice has characterised it.

    Raises SolveError where a read does not converge.
    """
    table = characterisation(tile, stimulus, np.unique(tile.thresholds))
    with ONE_AT_A_TIME:
        currents = nodal.solve(nodal.prepare(tile, table), stimulus)
    if not currents.converged.all():
        raise SolveError(
            f"nodal did not converge on {int((~currents.converged).sum())} of {stimulus.vectors} reads of "
            f"{tile.name}: cell currents still change by {currents.residual.max():.1e} of what flows"
        )
    return currents


def read_nodes(tile: Tile, stimulus: Stimulus, lossless: bool = False) -> nodal.Nodes:
    """The first read of `stimulus` by nodal, node by node; `lossless` as if the tile's wires had no resistance."""
    table = characterisation(tile, stimulus, np.unique(tile.thresholds))
    with ONE_AT_A_TIME:
        return nodal.nodes(nodal.prepare(tile, table), stimulus, "none" if lossless else "both")


def reduced(tile: Tile, stimulus: Stimulus) -> Tabulated:
    """The tile's reduced model, by tables, for all drives of the kind of `stimulus`, built when it is first asked for.

    Raises ConfigurationError for a drive that macro has no model of, SolveError for a tile that it does not fit.
    """
    return macro_model(_Content(tile), driven(stimulus))


def read_macro(tile: Tile, stimulus: Stimulus) -> Currents:
    """The currents of the lines that are summed, by the tile's reduced model.

    The other kind of line is left out: `[vectors, 0]`. `residual` is the model's own error, its largest
    deviation from nodal, in units of full scale, found when it was built.
    """
    model = reduced(tile, stimulus)
    with ONE_AT_A_TIME:
        amps = model.lines(model.drive.drives(stimulus)).astype(np.float64)
    nothing = np.empty((stimulus.vectors, 0))
    bitline, source = (amps, nothing) if model.drive.direction == "wordlines" else (nothing, amps)
    converged, residual = np.ones(stimulus.vectors, dtype=np.bool_), np.full(stimulus.vectors, model.error)
    return Currents(bitline, source, converged, residual, "macro")


class _Content:
    """A tile as a cache's key: tiles of equal content are one."""

    def __init__(self, tile: Tile) -> None:
        self.tile = tile
        self.key = (hashlib.sha256(tile.thresholds.tobytes()).digest(), tile.thresholds.shape, tile.cell, tile.wires)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Content) and self.key == other.key


@lru_cache(maxsize=1024)
def macro_model(content: _Content, drive: Driven) -> Tabulated:
    """The reduced model of a tile, by tables, for every drive of that kind."""
    tile = content.tile
    inputs = drive.inputs(tile)
    ends = drive.stimulus(np.array([np.zeros(inputs), np.ones(inputs)]), tile)
    with ONE_AT_A_TIME:
        model = build.build(tile, drive, characterisation(tile, ends, np.unique(tile.thresholds)))
        return tabulate(model, build.random_drives(tile, drive, TABULATED_DRIVES, np.random.default_rng(1)))


def characterisation(tile: Tile, stimulus: Stimulus, thresholds: Floats) -> CellTable:
    """The tile's cell at `thresholds` `[states]`, sorted, for every volt that the tile's can see under `stimulus`.

    Raises SolveError for a cell that polynomials do not fit, or that loses current past its source.
    """
    simulator = chosen_simulator()
    box, gates = characterisation_cache.bounds(tile, stimulus, simulator.drain_amps), np.unique(stimulus.wordline_volts)
    table = characterisation_cache.table(tile.cell, gates, thresholds, box, simulator.drain_amps, simulator.identity())
    lost = _lost_amps(tile.cell, tuple(gates.tolist()), box)
    if lost > max(MOST_LOST * table.top_amps, LEAST_LOST_AMPS):
        raise SolveError(
            f"the cell {tile.cell.subcircuit} loses {lost:.1e} A through gate and bulk, more than {MOST_LOST:g} of its "
            f"largest current, {table.top_amps:.1e} A; nodal and macro have all of it flow out of the "
            "source. The ngspice backend has both"
        )
    return table


@lru_cache(maxsize=64)
def _lost_amps(cell: Cell, gates: tuple[float, ...], box: Box) -> float:
    """The most that a cell loses past its source, amperes, over the corners of a box."""
    ends = product(gates, (box.across_low, box.across_high), (box.source_low, box.source_high),
                   (cell.erased_volts, cell.programmed_volts))  # fmt: skip
    gate, across, source, thresholds = np.array(list(ends)).T
    return float(np.abs(chosen_simulator().lost_amps(cell, gate, across + source, source, thresholds)).max())
