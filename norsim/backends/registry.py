"""The backends by name. Names are looked up only at the interfaces: the options of a command, a Python call, the folder
of a run."""

from __future__ import annotations

from collections.abc import Iterable

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.backend import Backend
from norsim.backends.ideal import Ideal
from norsim.backends.macro import Macro
from norsim.backends.nodal import Nodal
from norsim.backends.simulators.neospice import Neospice
from norsim.backends.simulators.ngspice import Ngspice
from norsim.backends.simulators.ngspice_shared import NgspiceShared
from norsim.backends.simulators.vacask import Vacask
from norsim.errors import ConfigurationError
from norsim.spice.simulators.choice import Simulator, chosen_simulator


def by_name(backends: Iterable[Backend]) -> dict[str, Backend]:
    """Return the backends by their names."""
    return {backend.name: backend for backend in backends}


BACKENDS = by_name([
    Ideal(),
    Ngspice(),
    NgspiceShared(),
    Neospice(),
    Vacask(),
    Nodal(),
    Macro(),
])  # fmt: skip


def backend_named(name: str) -> Backend:
    """Return the backend `name`. Raises ConfigurationError, with the known names, for another."""
    if not isinstance(name, str) or name not in BACKENDS:
        raise ConfigurationError(f"no backend {name!r}; choose one of {', '.join(BACKENDS)}")
    return BACKENDS[name]


def gives_integers(name: str) -> bool:
    """Return whether the backend named in a run's record computes integers; False for one that is not installed."""
    return name in BACKENDS and BACKENDS[name].gives_integers


def array_backends() -> list[str]:
    """Return the names of the backends that read arrays."""
    return [name for name, backend in BACKENDS.items() if not backend.gives_integers]


def backend_of(simulator: Simulator) -> Backend:
    """Return the backend whose decks `simulator` solves, each in its own process."""
    return next(one for one in BACKENDS.values() if one.simulator == simulator and one.own_process)


def reference(cell: Cell | None = None) -> Backend:
    """Return the backend of the simulator for `cell` (norsim.spice.simulators.choice): it reads single cells and
    verifies reads."""
    return backend_of(chosen_simulator(cell))


def read(tile: Tile, stimulus: Stimulus, backend: str = "ngspice") -> Currents:
    """Return the currents of `tile` under `stimulus`, read by the backend of that name.

    Raises ConfigurationError for an unknown backend or volts that do not match the tile's lines, and the errors of the
    backend: there is no fallback from one to another.
    """
    return backend_named(backend).read(tile, stimulus)
