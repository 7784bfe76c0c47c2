"""`ideal`: the integers of the quantized network; no array is read."""

from __future__ import annotations

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.backend import Backend
from norsim.errors import ConfigurationError


class Ideal(Backend):
    """Integer arithmetic."""

    name = "ideal"
    gives_integers = True
    on_cards = True
    all_lines = False

    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """Raise ConfigurationError: there are no currents to solve for."""
        raise ConfigurationError("the backend ideal computes integers and has no currents; choose another one")

    def witness(self, cell: Cell | None = None) -> None:
        """None: integers need no verification."""
        return None
