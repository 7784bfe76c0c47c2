"""`neospice`: the deck of a tile, solved by neospice, an independent simulator, in its own process."""

from __future__ import annotations

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.simulators.simulated import Simulated
from norsim.spice.simulators import neospice
from norsim.spice.simulators.choice import SIMULATORS, Simulator


class Neospice(Simulated):
    """A second SPICE simulator, independent of ngspice."""

    name = "neospice"
    own_process = True

    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """Return the currents of all lines, checked. Raises SimulatorError or SolveError."""
        return neospice.read(tile, stimulus)

    def solve_within(self, tile: Tile, stimulus: Stimulus, seconds: float) -> Currents:
        """Return the same within `seconds`, or raise SolveTimeoutError."""
        return neospice.read(tile, stimulus, seconds)

    @property
    def simulator(self) -> Simulator:
        """The simulator neospice."""
        return SIMULATORS["neospice"]
