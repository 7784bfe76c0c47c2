"""The backends by name. Names are looked up here, once, at the edge: a command's options, a Python call, a run's
folder."""

from __future__ import annotations

from collections.abc import Iterable

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.backend import Backend
from norsim.backends.ideal import Ideal
from norsim.backends.macro import Macro
from norsim.backends.neospice import Neospice
from norsim.backends.ngspice import Ngspice
from norsim.backends.ngspice_shared import NgspiceShared
from norsim.backends.nodal import Nodal
from norsim.errors import ConfigurationError
from norsim.spice.simulators.choice import Simulator, chosen_simulator


def by_name(backends: Iterable[Backend]) -> dict[str, Backend]:
    """Each under its name."""
    return {backend.name: backend for backend in backends}


BACKENDS = by_name([
    Ideal(),
    Ngspice(),
    NgspiceShared(),
    Neospice(),
    Nodal(),
    Macro(),
])  # fmt: skip


def backend_named(name: str) -> Backend:
    """The backend of that name. Raises ConfigurationError, with the names there are, for another."""
    if not isinstance(name, str) or name not in BACKENDS:
        raise ConfigurationError(f"no backend {name!r}; there are {', '.join(BACKENDS)}")
    return BACKENDS[name]


def gives_integers(name: str) -> bool:
    """Whether a backend that a run's record names computes integers; one that is not installed here reads arrays."""
    return name in BACKENDS and BACKENDS[name].gives_integers


def array_backends() -> list[str]:
    """The names of the backends that read arrays."""
    return [name for name, backend in BACKENDS.items() if not backend.gives_integers]


def backend_of(simulator: Simulator) -> Backend:
    """The backend that has `simulator` solve its decks, each in a process of its own."""
    return next(one for one in BACKENDS.values() if one.simulator == simulator and one.own_process)


def reference() -> Backend:
    """The backend of the simulator that NORSIM_SIMULATOR chooses: it reads single cells and checks what others read."""
    return backend_of(chosen_simulator())


def read(tile: Tile, stimulus: Stimulus, backend: str = "ngspice") -> Currents:
    """The currents of `tile` under `stimulus`, read by the backend of that name.

    Raises ConfigurationError for an unknown backend or volts that do not fit the tile's lines, and whatever the backend
    raises: there is no fallback from one to another.
    """
    return backend_named(backend).read(tile, stimulus)
