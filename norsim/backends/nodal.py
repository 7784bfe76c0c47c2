"""`nodal`: Kirchhoff's laws for the whole tile, solved to convergence, with the cell characterised by the simulator."""

from __future__ import annotations

from dataclasses import dataclass

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.backend import Backend


@dataclass(unsafe_hash=True)
class Nodal(Backend):
    """The reference for large tiles.

    `device`   the torch device that it computes on; None for the kernels on the CPU
    """

    device: str | None = None

    name = "nodal"
    claimed_error = 1e-5
    on_cards = True

    def on(self, device: str) -> Nodal:
        """Return the backend on a device; its kernels on a CPU."""
        return Nodal(None if device == "cpu" else device)

    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """Return the currents of all lines. Raises SolveError if a read does not converge, ConfigurationError if the
        memory of its device is full."""
        from norsim.backends.characterised import read_nodal

        return read_nodal(tile, stimulus, self.device)
