"""`ngspice`: the deck of a tile, solved by ngspice in its own process; the reference."""

from __future__ import annotations

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.simulators.simulated import Simulated
from norsim.spice.simulators import ngspice
from norsim.spice.simulators.choice import SIMULATORS, Simulator


class Ngspice(Simulated):
    """The reference backend."""

    name = "ngspice"
    own_process = True

    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """Return the currents of all lines, checked. Raises SimulatorError or SolveError."""
        return ngspice.read(tile, stimulus)

    def solve_within(self, tile: Tile, stimulus: Stimulus, seconds: float) -> Currents:
        """Return the same within `seconds`, or raise SolveTimeoutError."""
        return ngspice.read(tile, stimulus, seconds)

    @property
    def simulator(self) -> Simulator:
        """The simulator ngspice."""
        return SIMULATORS["ngspice"]
