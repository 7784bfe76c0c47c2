"""`vacask`: the deck of a tile, solved by VACASK, a simulator with a solver of its own, in its own process."""

from __future__ import annotations

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.simulators.simulated import Simulated
from norsim.spice.simulators import vacask
from norsim.spice.simulators.choice import SIMULATORS, Simulator


class Vacask(Simulated):
    """A second SPICE simulator: it shares the equations of BSIM with ngspice, but not the solver."""

    name = "vacask"
    own_process = True

    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """Return the currents of all lines, checked. Raises SimulatorError or SolveError."""
        return vacask.read(tile, stimulus)

    def solve_within(self, tile: Tile, stimulus: Stimulus, seconds: float) -> Currents:
        """Return the same within `seconds`, or raise SolveTimeoutError."""
        return vacask.read(tile, stimulus, seconds)

    @property
    def simulator(self) -> Simulator:
        """The simulator VACASK."""
        return SIMULATORS["vacask"]
