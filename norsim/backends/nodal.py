"""`nodal`: Kirchhoff's laws for the whole tile, solved to convergence, with the cell as the simulator has it."""

from __future__ import annotations

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.backend import Backend


class Nodal(Backend):
    """The reference at scale."""

    name = "nodal"
    claimed_error = 1e-5

    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """The currents of all lines; raises SolveError where a read does not converge."""
        from norsim.backends.characterised import read_nodal

        return read_nodal(tile, stimulus)
