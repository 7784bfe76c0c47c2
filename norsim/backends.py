"""The solvers by name, and `read`, the one way to a tile's currents."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from functools import lru_cache

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.errors import ConfigurationError, SolveError
from norsim.periphery.encoding import Encoding
from norsim.periphery.programming import Levels, find_levels
from norsim.solver import nodal, reduce, tables
from norsim.solver.characterize import CellTable
from norsim.solver.drive import Driven, driven
from norsim.solver.tabulated import Tabulated, tabulate
from norsim.spice import ngspice, shared
from norsim.spice.deck import deck
from norsim.spice.sweep import drain_amps
from norsim.units import UnitStore, currents_of, currents_table, unit_key

Solver = Callable[[Tile, Stimulus], Currents]
Progress = Callable[[int, int], None]

# Drives that modes are fitted to and checked on.
TABULATED_DRIVES = 96
ONE_AT_A_TIME = threading.Lock()


def read_nodal(tile: Tile, stimulus: Stimulus) -> Currents:
    """The tile's currents by Kirchhoff's laws, with the cell as ngspice has characterised it.

    Raises SolveError where a read does not converge.
    """
    table = _table(tile, stimulus)
    # The kernels use all cores themselves, and numba's threads bear no second caller.
    with ONE_AT_A_TIME:
        currents = nodal.solve(nodal.prepare(tile, table), stimulus)
    if not currents.converged.all():
        raise SolveError(
            f"nodal did not converge on {int((~currents.converged).sum())} of {stimulus.vectors} reads of "
            f"{tile.name}: cell currents still change by {currents.residual.max():.1e} of what flows"
        )
    return currents


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
        model = reduce.build(tile, drive, _table(tile, ends))
        return tabulate(model, reduce.random_drives(tile, drive, TABULATED_DRIVES, np.random.default_rng(1)))


def _table(tile: Tile, stimulus: Stimulus) -> CellTable:
    """The tile's cell characterised for every volt it can see under `stimulus`."""
    simulator = ngspice.version_line(ngspice.find_ngspice())
    box = tables.bounds(tile, stimulus, drain_amps)
    gates, thresholds = np.unique(stimulus.wordline_volts), np.unique(tile.thresholds)
    return tables.table(tile.cell, gates, thresholds, box, drain_amps, simulator)


BACKENDS: dict[str, Solver] = {
    "ngspice": ngspice.read,
    "ngspice-shared": shared.read,
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


def read_kept(tile: Tile, stimulus: Stimulus, backend: str, store: UnitStore | None) -> Currents:
    """`read`, but of ngspice's reads those that `store` has are taken from it, and it gets those that it lacks.

    A unit is known by the deck, which holds the cell, the wires, all volts and options, and by the simulator.
    """
    if store is None or not backend.startswith("ngspice"):
        return read(tile, stimulus, backend)
    simulator = ngspice.version_line(ngspice.find_ngspice())
    key = unit_key(backend, simulator, deck(tile, stimulus))
    kept = store.get(key)
    if kept is not None:
        return currents_of(kept)
    currents = read(tile, stimulus, backend)
    store.put(key, currents_table(currents))
    return currents


def read_all(
    requests: Sequence[tuple[Tile, Stimulus]],
    backend: str,
    jobs: int = 1,
    progress: Progress | None = None,
    store: UnitStore | None = None,
) -> list[Currents]:
    """`read_kept` for each of `requests`, `jobs` at a time, in order; `progress(done, total)` as they finish.

    Raises SolveError that counts and names what failed; what had not begun by then is given up.
    """
    # Threads are enough: each only waits for a simulator process of its own.
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = [pool.submit(read_kept, tile, stimulus, backend, store) for tile, stimulus in requests]
        pending = set(futures)
        try:
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                if any(future.exception() for future in done):
                    break
                if progress:
                    progress(len(futures) - len(pending), len(futures))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    failed = [k for k, future in enumerate(futures) if not future.cancelled() and future.exception()]
    if not failed:
        return [future.result() for future in futures]
    problem = futures[failed[0]].exception()
    if not isinstance(problem, SolveError):
        futures[failed[0]].result()
    raise SolveError(f"{len(failed)} of {len(futures)} decks failed, first {requests[failed[0]][0].name}: {problem}")


def cell_amps(cell: Cell, thresholds: Floats, gate_volts: float, drain_volts: float) -> Floats:
    """`[n]` amperes of single cells with those thresholds `[n]`, by ngspice: one row, wires without loss."""
    tile = Tile(np.atleast_2d(thresholds), cell, Wires(strap_every=1))
    stimulus = Stimulus(np.array([[gate_volts]]), np.full((1, tile.bitlines), drain_volts))
    currents: Floats = read(tile, stimulus, "ngspice").bitline[0]
    return currents


@lru_cache(maxsize=32)
def program(cell: Cell, encoding: Encoding) -> Levels:
    """The thresholds of every weight code of `encoding` on `cell`, found on ngspice reads of that cell."""
    gate, drain = encoding.verify_volts
    return find_levels(cell, encoding.level_amps, lambda c, volts: cell_amps(c, volts, gate, drain))
