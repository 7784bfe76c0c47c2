"""The simulator for characterisation, programming and verification: ngspice, VACASK for Verilog-A, or a chosen one.

The environment variable NORSIM_SIMULATOR names it, for systems on which ngspice cannot be installed. It is read once,
so a process does not mix characterisations by different simulators.
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
from norsim.spice.dialects import vacask as vacask_dialect
from norsim.spice.simulators import neospice, neutral, ngspice, vacask

VARIABLE = "NORSIM_SIMULATOR"


@dataclass(frozen=True)
class Simulator:
    """A simulator that can characterise cells and verify reads.

    `name`   also the name of the backend that reads tiles with it
    `identity`   returns its name and version
    `deck`   returns its deck for a tile
    `drain_amps`   returns drain currents of single cells: amperes `[n]` at gate, drain and source volts and
                   thresholds `[n]`
    `lost_amps`   returns the part of them that leaves through gate and bulk, likewise
    `warnings`    returns what it warns of for cells at thresholds `[n]`
    `neutral_volts`   returns the threshold of a cell without stored charge; None if the cell's netlist does not tell
    """

    name: str
    identity: Callable[[], str]
    deck: Callable[[Tile, Stimulus], str]
    drain_amps: Callable[[Cell, Floats, Floats, Floats, Floats], Floats]
    lost_amps: Callable[[Cell, Floats, Floats, Floats, Floats], Floats]
    warnings: Callable[[Cell, Floats], list[str]] = lambda cell, thresholds: []
    neutral_volts: Callable[[Cell], float | None] = lambda cell: None


SIMULATORS = {
    "ngspice": Simulator(
        "ngspice",
        ngspice.identity,
        deck,
        ngspice.drain_amps,
        ngspice.lost_amps,
        ngspice.warnings,
        neutral.neutral_volts,
    ),
    "neospice": Simulator(
        "neospice", neospice.find_neospice, neospice_dialect.deck, neospice.drain_amps, neospice.lost_amps
    ),
    "vacask": Simulator("vacask", vacask.identity, vacask_dialect.deck, vacask.drain_amps, vacask.lost_amps),
}


@lru_cache
def named_simulator() -> Simulator | None:
    """Return the simulator that NORSIM_SIMULATOR names, None without it.

    Raises ConfigurationError for an unknown name.
    """
    name = os.environ.get(VARIABLE)
    if name and name not in SIMULATORS:
        raise ConfigurationError(f"no simulator {name!r} ({VARIABLE}={name}); choose one of {', '.join(SIMULATORS)}")
    return SIMULATORS[name] if name else None


def chosen_simulator(cell: Cell | None = None) -> Simulator:
    """Return the simulator for `cell`: the named one, else VACASK for a cell in Verilog-A, else ngspice.

    It depends on the cell alone, not on what is installed. Raises the errors of `named_simulator`.
    """
    return named_simulator() or SIMULATORS["vacask" if cell is not None and cell.verilog_a else "ngspice"]
