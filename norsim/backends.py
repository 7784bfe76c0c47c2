"""The solvers by name with what is known of each, and `read`, the one way to a tile's currents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.errors import ConfigurationError
from norsim.fast import read_macro, read_nodal
from norsim.periphery.encoding import Encoding
from norsim.periphery.programming import Levels, find_levels, threshold_curve
from norsim.spice import neospice, ngspice, shared
from norsim.spice.simulator import SIMULATORS, Simulator, chosen_simulator
from norsim.units import UnitStore, currents_of, currents_table, unit_key
from norsim.workers import HERE, Unit, Workers

Solver = Callable[[Tile, Stimulus], Currents]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Backend:
    """A solver, and what is known of it.

    `read`       a tile's currents under a stimulus
    `simulator`  the name of the simulator whose decks its reads are; None for a backend that solves by itself
    `together`   the most reads in one piece of work, or None for all of a tile's. A number must not depend on who does
                 the work, where a solve starts from the one before it
    `limited`    the same read within so many seconds, of a simulator that is a process of its own
    `probed`     reads by which its rate is measured
    `all_lines`  whether it gives the currents of bitlines and source lines, not only of those that are summed
    """

    read: Solver
    simulator: str | None = None
    together: int | None = None
    limited: Callable[[Tile, Stimulus, float], Currents] | None = None
    probed: int = 64
    all_lines: bool = True


# A deck is long enough that reading it costs little beside solving it, short enough to share out.
DECK, PROBED = 128, 6
# The one place that knows a backend: commands, estimates and runs take them from here.
BACKENDS: dict[str, Backend] = {
    "ngspice": Backend(ngspice.read, "ngspice", DECK, ngspice.read, PROBED),
    "ngspice-shared": Backend(shared.read, "ngspice", DECK, None, PROBED),
    "neospice": Backend(neospice.read, "neospice", DECK, neospice.read, PROBED),
    "nodal": Backend(read_nodal),
    "macro": Backend(read_macro, all_lines=False),
}


def simulator_of(backend: str) -> Simulator | None:
    """The simulator whose decks a backend's reads are; None for `ideal` and where a backend solves by itself."""
    name = BACKENDS[backend].simulator if backend in BACKENDS else None
    return None if name is None else SIMULATORS[name]


def together(backend: str, reads: int) -> int:
    """How many of a tile's `reads` are one piece of work."""
    most = BACKENDS[backend].together if backend in BACKENDS else None
    return reads if most is None else most


def simulators(backend: str) -> dict[str, str]:
    """The versions, by name, of the simulators that a backend's currents rest on: what reads, and what programs.

    Raises SimulatorError where one of them is missing.
    """
    if backend == "ideal":
        return {}
    return {one.name: one.identity() for one in (chosen_simulator(), simulator_of(backend)) if one is not None}


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
    return BACKENDS[backend].read(tile, stimulus)


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
