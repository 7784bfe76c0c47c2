"""`nodal`: Kirchhoff's laws for the whole tile, solved to convergence, with the cell characterised by the simulator."""

from __future__ import annotations

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.backend import Backend


class Nodal(Backend):
    """The reference for large tiles."""

    name = "nodal"
    claimed_error = 1e-5

    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """Return the currents of all lines. Raises SolveError if a read does not converge."""
        from norsim.backends.characterised import read_nodal

        return read_nodal(tile, stimulus)
