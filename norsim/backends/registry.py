"""The solvers by name with what is known of each, and `read`, the one way to a tile's currents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.characterised import read_macro, read_nodal
from norsim.errors import ConfigurationError
from norsim.spice.simulators import libngspice, neospice, ngspice
from norsim.spice.simulators.choice import SIMULATORS, Simulator, chosen_simulator

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
    "ngspice-shared": Backend(libngspice.read, "ngspice", DECK, None, PROBED),
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
