"""`ngspice-shared`: the same deck, solved in this process by the ngspice library, through PySpice."""

from __future__ import annotations

from dataclasses import replace

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.simulators.simulated import Simulated
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
        """The simulator ngspice, identified by the library's version, which may differ from the program's."""
        return replace(SIMULATORS["ngspice"], name="ngspice-shared", identity=libngspice.identity)
