"""`ngspice-shared`: the same deck, solved in this process by the ngspice library, through PySpice."""

from __future__ import annotations

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.simulated import Simulated
from norsim.spice.simulators import libngspice
from norsim.spice.simulators.choice import SIMULATORS, Simulator


class NgspiceShared(Simulated):
    """The same simulator as a library, without files."""

    name = "ngspice-shared"

    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """Return the currents of all lines, checked. Raises SimulatorError or SolveError."""
        return libngspice.read(tile, stimulus)

    @property
    def simulator(self) -> Simulator:
        """The simulator ngspice."""
        return SIMULATORS["ngspice"]
