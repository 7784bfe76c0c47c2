"""Which simulator cells are characterised, programmed and proved by: ngspice, or by choice another.

The environment variable NORSIM_SIMULATOR names it, for where ngspice cannot be installed. It is read once: what a
process has characterised by one simulator is not mixed with another's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from norsim.array.cell import Cell
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.errors import ConfigurationError
from norsim.spice.deck import deck
from norsim.spice.dialects import neospice as neospice_dialect
from norsim.spice.simulators import neospice, ngspice

VARIABLE = "NORSIM_SIMULATOR"


@dataclass(frozen=True)
class Simulator:
    """`name`   also that of the backend that reads tiles by it
    `identity`   tells its version
    `deck`   what it solves for a tile
    `drain_amps`   what single cells conduct: amperes `[n]` at gate, drain and source volts and thresholds `[n]`
    `lost_amps`   what of it leaves them by gate and bulk, likewise
    """

    name: str
    identity: Callable[[], str]
    deck: Callable[[Tile, Stimulus], str]
    drain_amps: Callable[[Cell, Floats, Floats, Floats, Floats], Floats]
    lost_amps: Callable[[Cell, Floats, Floats, Floats, Floats], Floats]


SIMULATORS = {
    "ngspice": Simulator("ngspice", ngspice.identity, deck, ngspice.drain_amps, ngspice.lost_amps),
    "neospice": Simulator(
        "neospice", neospice.find_neospice, neospice_dialect.deck, neospice.drain_amps, neospice.lost_amps
    ),
}


@lru_cache
def chosen_simulator() -> Simulator:
    """The simulator of this process. Raises ConfigurationError where NORSIM_SIMULATOR names none."""
    name = os.environ.get(VARIABLE) or "ngspice"
    if name not in SIMULATORS:
        raise ConfigurationError(f"{VARIABLE}={name}: there are {', '.join(SIMULATORS)}")
    return SIMULATORS[name]
