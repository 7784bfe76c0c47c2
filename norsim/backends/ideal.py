"""`ideal`: what the quantized network computes in integers; no array is read."""

from __future__ import annotations

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.backend import Backend
from norsim.errors import ConfigurationError


class Ideal(Backend):
    """Integer arithmetic."""

    name = "ideal"
    gives_integers = True
    all_lines = False

    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        """There are no currents to solve for: raises ConfigurationError."""
        raise ConfigurationError("the backend ideal computes integers and has no currents; choose another one")

    @property
    def witness(self) -> None:
        """Integers need no proof."""
        return None
