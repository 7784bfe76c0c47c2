"""`neospice`: the deck of a tile, solved by neospice, an independent simulator, in a process of its own."""

from __future__ import annotations

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.simulated import Simulated
from norsim.spice.simulators import neospice
from norsim.spice.simulators.choice import SIMULATORS, Simulator


class Neospice(Simulated):
    """A second witness."""

    name = "neospice"
    own_process = True

    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """The currents of all lines, checked; raises SimulatorError or SolveError."""
        return neospice.read(tile, stimulus)

    def solve_within(self, tile: Tile, stimulus: Stimulus, seconds: float) -> Currents:
        """The same within `seconds`, or SolveTimeoutError."""
        return neospice.read(tile, stimulus, seconds)

    @property
    def simulator(self) -> Simulator:
        """neospice."""
        return SIMULATORS["neospice"]
