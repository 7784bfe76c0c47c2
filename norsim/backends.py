"""The solvers by name, and `read`, the one way to a tile's currents."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from scipy.optimize import brentq

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.errors import ConfigurationError, SolveError
from norsim.periphery.encoding import Encoding
from norsim.periphery.programming import Levels, find_levels, threshold_curve
from norsim.solver import in_situ, nodal, reduce, tables
from norsim.solver.characterize import Box, CellTable
from norsim.solver.drive import Driven, driven
from norsim.solver.tabulated import Tabulated, tabulate
from norsim.spice import neospice, ngspice, shared
from norsim.spice.simulator import chosen_simulator, simulator_of
from norsim.units import UnitStore, currents_of, currents_table, unit_key
from norsim.workers import HERE, Unit, Workers

Solver = Callable[[Tile, Stimulus], Currents]
Progress = Callable[[int, int], None]

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
        model = reduce.build(tile, drive, characterisation(tile, ends, np.unique(tile.thresholds)))
        return tabulate(model, reduce.random_drives(tile, drive, TABULATED_DRIVES, np.random.default_rng(1)))


def aimed(tile: Tile, stimulus: Stimulus, target_amps: Floats, random: np.random.Generator) -> Tile:
    """`tile` with each threshold moved until its cell conducts `target_amps` `[wordlines, bitlines]` in its place.

    The load is that of random drives of the kind of `stimulus`: see norsim.solver.in_situ.
    """
    drive = driven(stimulus)
    inputs = drive.inputs(tile)

    def table_of(some: Tile, thresholds: Floats) -> CellTable:
        ends = drive.stimulus(np.array([np.zeros(inputs), np.ones(inputs)]), some)
        return characterisation(some, ends, thresholds)

    with ONE_AT_A_TIME:
        return in_situ.aim(tile, drive, target_amps, table_of, random)


def characterisation(tile: Tile, stimulus: Stimulus, thresholds: Floats) -> CellTable:
    """The tile's cell at `thresholds` `[states]`, sorted, for every volt that the tile's can see under `stimulus`.

    Raises SolveError for a cell that polynomials do not fit, or that loses current past its source.
    """
    simulator = chosen_simulator()
    box, gates = tables.bounds(tile, stimulus, simulator.drain_amps), np.unique(stimulus.wordline_volts)
    table = tables.table(tile.cell, gates, thresholds, box, simulator.drain_amps, simulator.identity())
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
    return float(chosen_simulator().lost_amps(cell, gate, across + source, source, thresholds).max())


BACKENDS: dict[str, Solver] = {
    "ngspice": ngspice.read,
    "ngspice-shared": shared.read,
    "neospice": neospice.read,
    "nodal": read_nodal,
    "macro": read_macro,
}


def read(tile: Tile, stimulus: Stimulus, backend: str = "ngspice") -> Currents:
    """The currents of `tile` under `stimulus`, from the solver named `backend`.

    Raises ConfigurationError for an unknown backend or volts that do not fit the tile's lines, and
    whatever the solver raises: there is no fallback from one to another.
    """
    if backend not in BACKENDS:
        raise ConfigurationError(f"no backend {backend!r} reads a tile; there are {', '.join(BACKENDS)}")
    lines = (stimulus.wordline_volts.shape[1], stimulus.bitline_volts.shape[1])
    if lines != (tile.wordlines, tile.bitlines):
        raise ConfigurationError(
            f"volts for {lines[0]} wordlines and {lines[1]} bitlines do not fit a tile of "
            f"{tile.wordlines} x {tile.bitlines}"
        )
    return BACKENDS[backend](tile, stimulus)


def read_all(
    requests: Sequence[tuple[Tile, Stimulus]],
    backend: str,
    workers: Workers = HERE,
    progress: Progress | None = None,
    store: UnitStore | None = None,
) -> list[Currents]:
    """`read` for each of `requests`, in order, by `workers`; `progress(done, total)` as they finish.

    Of a simulator's reads those that `store` has are taken from it, and it gets those that it lacks. Such a unit is
    known by its deck, which holds the cell, the wires, all volts and options, and by the simulator. Raises SolveError
    that counts and names what failed.
    """
    by = simulator_of(backend)
    simulator = by.identity() if by else None
    kept = store if by else None
    currents: dict[int, Currents] = {}
    keys: dict[int, str] = {}

    def units() -> Iterator[Unit]:
        for place, (tile, stimulus) in enumerate(requests):
            if kept is not None and by is not None:
                keys[place] = unit_key(backend, simulator, by.deck(tile, stimulus))
                found = kept.get(keys[place])
                if found is not None:
                    finish(place, currents_of(found))
                    continue
            yield Unit(place, tile.name, (tile, stimulus, backend))

    def solved(place: int, result: Currents) -> None:
        if kept is not None:
            kept.put(keys[place], currents_table(result))
        finish(place, result)

    def finish(place: int, result: Currents) -> None:
        currents[place] = result
        if progress:
            progress(len(currents), len(requests))

    workers.run(read, units(), solved)
    return [currents[place] for place in range(len(requests))]


def cell_amps(cell: Cell, thresholds: Floats, gate_volts: float, drain_volts: float) -> Floats:
    """`[n]` amperes of single cells with those thresholds `[n]`, by the simulator: one row, wires without loss."""
    tile = Tile(np.atleast_2d(thresholds), cell, Wires(strap_every=1))
    stimulus = Stimulus(np.array([[gate_volts]]), np.full((1, tile.bitlines), drain_volts))
    currents: Floats = read(tile, stimulus, chosen_simulator().name).bitline[0]
    return currents


@lru_cache(maxsize=32)
def program(cell: Cell, encoding: Encoding) -> Levels:
    """The thresholds of every weight code of `encoding` on `cell`, found on ngspice reads of that cell."""
    gate, drain = encoding.verify_volts
    return find_levels(cell, encoding.level_amps, lambda c, volts: cell_amps(c, volts, gate, drain))


@lru_cache(maxsize=32)
def curve(cell: Cell, encoding: Encoding) -> Callable[[Floats], Floats]:
    """What turns currents `[n]` under the verify read of `encoding` into thresholds `[n]` of `cell`.

    It is made of ngspice reads of that cell.
    """
    gate, drain = encoding.verify_volts
    return threshold_curve(cell, lambda c, volts: cell_amps(c, volts, gate, drain))


@lru_cache(maxsize=32)
def tracked_volts(cell: Cell, threshold: float, amps: float, gate_volts: float, drain_volts: float) -> float:
    """The gate volts at which a reference cell of that threshold conducts `amps`, near `gate_volts`.

    Raises ConfigurationError where none between a half and three halves of `gate_volts` do.
    """

    def excess(volts: float) -> float:
        return float(cell_amps(cell, np.array([threshold]), volts, drain_volts)[0]) / amps - 1

    low, high = 0.5 * gate_volts, 1.5 * gate_volts
    if not excess(low) < 0 < excess(high):
        raise ConfigurationError(
            f"no wordline volts between {low:g} V and {high:g} V make the reference cell conduct {amps:.3g} A at "
            f"{cell.temperature_kelvin:g} K; read nearer to the temperature of programming, or without tracking"
        )
    found: float = brentq(excess, low, high, xtol=1e-7)
    return found
