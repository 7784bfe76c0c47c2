"""`ngspice-shared`: the same deck, solved by ngspice's library in this process, through PySpice."""

from __future__ import annotations

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.simulated import Simulated
from norsim.spice.simulators import libngspice
from norsim.spice.simulators.choice import SIMULATORS, Simulator


class NgspiceShared(Simulated):
    """A second way to the same simulator, without files."""

    name = "ngspice-shared"

    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """The currents of all lines, checked; raises SimulatorError or SolveError."""
        return libngspice.read(tile, stimulus)

    @property
    def simulator(self) -> Simulator:
        """ngspice."""
        return SIMULATORS["ngspice"]
