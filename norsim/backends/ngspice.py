"""`ngspice`: the deck of a tile, solved by ngspice in a process of its own; the reference."""

from __future__ import annotations

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.simulated import Simulated
from norsim.spice.simulators import ngspice
from norsim.spice.simulators.choice import SIMULATORS, Simulator


class Ngspice(Simulated):
    """The reference."""

    name = "ngspice"
    own_process = True

    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """The currents of all lines, checked; raises SimulatorError or SolveError."""
        return ngspice.read(tile, stimulus)

    def solve_within(self, tile: Tile, stimulus: Stimulus, seconds: float) -> Currents:
        """The same within `seconds`, or SolveTimeoutError."""
        return ngspice.read(tile, stimulus, seconds)

    @property
    def simulator(self) -> Simulator:
        """ngspice."""
        return SIMULATORS["ngspice"]
