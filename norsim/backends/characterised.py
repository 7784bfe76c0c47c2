"""The fast solvers for tiles: `nodal`, and `macro` with its reduced models. The simulator characterises the cells."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from itertools import count, product

import numpy as np
from numba import get_num_threads
from threadpoolctl import threadpool_limits

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.backends.backend import Progress
from norsim.caches.arrays import MODELS
from norsim.errors import ConfigurationError, SolveError
from norsim.jobs.workers import Threads, Unit
from norsim.solver import characterisation_cache, nodal
from norsim.solver.characterize import Box, CellTable
from norsim.solver.input_lines import Driven, driven
from norsim.solver.macro import build
from norsim.solver.macro.stored import model_key, store_model, stored_model
from norsim.solver.macro.tables import Tabulated, tabulate
from norsim.spice.simulators.choice import chosen_simulator

# Number of drives that modes are fitted to and checked on.
TABULATED_DRIVES = 96
# Limit of the current that leaves a cell elsewhere than through its source, if only the drain current is known: as a
# fraction of the largest current, and in amperes if all cells are off.
MOST_LOST = 1e-6
LEAST_LOST_AMPS = 1e-13
# A failed solve of a tile whose wires would drop this share of the read's volts is put down to the wires.
LARGE_DROP = 0.2
# The kernels use all cores, and numba's threads are not re-entrant.
ONE_AT_A_TIME = threading.RLock()


def read_nodal(tile: Tile, stimulus: Stimulus, device: str | None = None) -> Currents:
    """Return the tile's currents by Kirchhoff's laws, with the cell characterised by the simulator, solved on a torch
    device, or by the kernels on the CPU.

    Raises SolveError if a read does not converge, ConfigurationError if the memory of the device is full.
    """
    with _blaming_the_wires(tile, stimulus):
        table = characterisation(tile, stimulus, np.unique(tile.thresholds))
        with ONE_AT_A_TIME:
            prepared = nodal.prepare(tile, table)
            if device is None:
                currents = nodal.solve(prepared, stimulus)
            else:
                from norsim.solver.nodal.on_device import solve_on

                currents = solve_on(device, prepared, stimulus)
        if not currents.converged.all():
            raise SolveError(
                f"nodal did not converge on {int((~currents.converged).sum())} of {stimulus.vectors} reads of "
                f"{tile.name} in {nodal.MOST_SWEEPS} sweeps: cell currents still change by "
                f"{currents.residual.max():.1e} of the total"
            )
    return currents


@contextmanager
def _blaming_the_wires(tile: Tile, stimulus: Stimulus) -> Iterator[None]:
    """Add to a SolveError how many volts the wires would drop, if these are a large part of those of the read."""
    try:
        yield
    except SolveError as problem:
        read = float(stimulus.bitline_volts.max()) - stimulus.source_volts
        along = characterisation_cache.lossless_drops(tile, stimulus, chosen_simulator(tile.cell).drain_amps)
        if max(along) < LARGE_DROP * read:
            raise
        line = ("bitlines", "source lines")[int(np.argmax(along))]
        raise type(problem)(
            f"{problem}. The {line} are the cause: the cells' currents on lossless wires would drop {along[0]:.3g} V "
            f"along a bitline and {along[1]:.3g} V along a source line, of {read:.3g} V in all. Lower the resistance "
            f"of the {line} or the currents of the levels, or use the ngspice backend, which takes any drop"
        ) from None


def read_nodes(tile: Tile, stimulus: Stimulus, lossless: bool = False) -> nodal.Nodes:
    """Return the nodal solution of the first read of `stimulus`, node by node; `lossless` ignores wire resistance."""
    table = characterisation(tile, stimulus, np.unique(tile.thresholds))
    with ONE_AT_A_TIME:
        return nodal.nodes(nodal.prepare(tile, table), stimulus, "none" if lossless else "both")


def reduced(tile: Tile, stimulus: Stimulus) -> Tabulated:
    """Return the tile's tabulated reduced model for all drives of the kind of `stimulus`; it is built on first use.

    Raises ConfigurationError for a drive that macro cannot model, SolveError for a tile that the model does not fit.
    """
    return macro_model(_Content(tile), modelled(stimulus))


def modelled(stimulus: Stimulus) -> Driven:
    """Return the kind of drive of `stimulus`. Raises ConfigurationError for one that macro cannot model."""
    drive = driven(stimulus)
    if drive.levels:
        raise ConfigurationError(
            f"macro models wordlines that are up or down, but these have {len(drive.levels)} levels; use the nodal "
            "backend, or ngspice"
        )
    return drive


def read_macro(tile: Tile, stimulus: Stimulus) -> Currents:
    """Return the currents of the lines that are summed, by the tile's reduced model.

    The other kind of line is omitted: `[vectors, 0]`. `residual` is the model's error: its largest deviation from
    nodal, in units of full scale, measured when it was built.
    """
    model = reduced(tile, stimulus)
    with ONE_AT_A_TIME:
        amps = model.lines(model.drive.drives(stimulus)).astype(np.float64)
    nothing = np.empty((stimulus.vectors, 0))
    bitline, source = (amps, nothing) if model.drive.direction == "wordlines" else (nothing, amps)
    converged, residual = np.ones(stimulus.vectors, dtype=np.bool_), np.full(stimulus.vectors, model.error)
    return Currents(bitline, source, converged, residual, "macro")


class _Content:
    """A tile as the key of a cache: tiles of equal content are equal."""

    def __init__(self, tile: Tile) -> None:
        self.tile = tile
        self.key = (tile.digest, tile.thresholds.shape, tile.cell, tile.wires)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Content) and self.key == other.key


def model_table(tile: Tile, stimulus: Stimulus) -> CellTable:
    """Return the characterisation that the reduced model of `tile` for drives like `stimulus` is built from.

    Raises ConfigurationError for a drive that macro cannot model, and the errors of `characterisation`.
    """
    return _table_of(tile, modelled(stimulus))


def _table_of(tile: Tile, drive: Driven) -> CellTable:
    inputs = drive.inputs(tile)
    ends = drive.stimulus(np.array([np.zeros(inputs), np.ones(inputs)]), tile)
    return characterisation(tile, ends, np.unique(tile.thresholds))


@lru_cache(maxsize=1024)
def macro_model(content: _Content, drive: Driven) -> Tabulated:
    """Return the tabulated reduced model of a tile for all drives of one kind, from memory, from disk, or built now."""
    key = _key(content.tile, drive)
    kept = stored_model(key)
    if kept is not None:
        return kept
    made = built(content.tile, drive)
    store_model(key, made)
    return made


def is_stored(tile: Tile, stimulus: Stimulus) -> bool:
    """Return whether the model of `tile` for drives like `stimulus` is kept on disk, so that it need not be built."""
    return MODELS.has(_key(tile, modelled(stimulus)))


def _key(tile: Tile, drive: Driven) -> str:
    return model_key(tile, drive, chosen_simulator(tile.cell).identity())


def built(tile: Tile, drive: Driven) -> Tabulated:
    """Build the tabulated reduced model of a tile for all drives of one kind. Several may be built at a time."""
    inputs = drive.inputs(tile)
    ends = drive.stimulus(np.array([np.zeros(inputs), np.ones(inputs)]), tile)
    with _blaming_the_wires(tile, ends):
        model = build.build(tile, drive, _table_of(tile, drive))
        drives = build.random_drives(tile, drive, TABULATED_DRIVES, np.random.default_rng(1))
        with ONE_AT_A_TIME:
            return tabulate(model, drives)


def build_models(requests: Sequence[tuple[Tile, Stimulus]], progress: Progress) -> None:
    """Build or load the models of many tiles, each for drives like its stimulus; `progress(done, total)` counts them.

    As many are built at a time as numba has threads, because most of the work of one takes one thread.
    """
    missing = [request for request in requests if not is_stored(*request)]
    if missing:
        # The first use characterises the cell, and once is enough.
        model_table(*missing[0])
    ended = count(1)
    units = (Unit(place, request[0].name, request) for place, request in enumerate(requests))
    with one_thread_each():
        Threads(get_num_threads()).run(reduced, units, lambda *_: progress(next(ended), len(requests)), tries=1)


def one_thread_each() -> AbstractContextManager[object]:
    """Return a context in which numpy's linear algebra takes one thread: the matrices of a model are small, and several
    models, each with as many threads as there are cores, wait for each other."""
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits


def times_to_build(tile: Tile, stimulus: Stimulus) -> tuple[float, float]:
    """Return the seconds in which `build_models` builds the model of each of many tiles like this one, and those that
    the first takes besides: it characterises the cell, and loads the kernels."""
    drive, times = modelled(stimulus), []
    with one_thread_each():
        for _ in range(2):
            started = time.perf_counter()
            built(tile, drive)
            times.append(time.perf_counter() - started)
    return times[1] / get_num_threads(), max(times[0] - times[1], 0.0)


def characterisation(tile: Tile, stimulus: Stimulus, thresholds: Floats) -> CellTable:
    """Return the tile's cell characterised at sorted `thresholds` `[states]`, over all volts that its cells can have
    under `stimulus`.

    Raises SolveError for a cell that polynomials do not fit, or with current through its gate or bulk.
    """
    simulator = chosen_simulator(tile.cell)
    box, gates = characterisation_cache.bounds(tile, stimulus, simulator.drain_amps), np.unique(stimulus.wordline_volts)
    table = characterisation_cache.table(tile.cell, gates, thresholds, box, simulator.drain_amps, simulator.identity())
    lost = _lost_amps(tile.cell, tuple(gates.tolist()), box)
    if lost > max(MOST_LOST * table.top_amps, LEAST_LOST_AMPS):
        raise SolveError(
            f"the cell {tile.cell.subcircuit} loses {lost:.1e} A through gate and bulk, more than {MOST_LOST:g} of its "
            f"largest current, {table.top_amps:.1e} A; nodal and macro assume that all of it leaves through the "
            "source. Use the ngspice backend, which models gate and bulk currents"
        )
    return table


@lru_cache(maxsize=64)
def _lost_amps(cell: Cell, gates: tuple[float, ...], box: Box) -> float:
    """Return the largest current of a cell through gate and bulk, amperes, over the corners of a box."""
    ends = product(gates, (box.across_low, box.across_high), (box.source_low, box.source_high),
                   (cell.erased_volts, cell.programmed_volts))  # fmt: skip
    gate, across, source, thresholds = np.array(list(ends)).T
    return float(np.abs(chosen_simulator(cell).lost_amps(cell, gate, across + source, source, thresholds)).max())
