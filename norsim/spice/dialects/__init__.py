"""The deck of a tile for other simulators: one description, written in each simulator's dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from norsim.array.tile import Stimulus, Tile
from norsim.errors import ConfigurationError
from norsim.spice import deck as ngspice
from norsim.spice.dialects import hspice, vacask, xyce

DIALECTS: Mapping[str, Callable[[Tile, Stimulus], str]] = {
    "ngspice": ngspice.deck,
    "hspice": hspice.deck,
    "xyce": xyce.deck,
    "vacask": vacask.deck,
}


def deck(tile: Tile, stimulus: Stimulus, dialect: str = "ngspice") -> str:
    """Return the deck in that dialect.

    Raises ConfigurationError for a dialect that norsim cannot write, and for a cell with a construct that is not known
    to mean the same in it.
    """
    if dialect not in DIALECTS:
        raise ConfigurationError(f"no dialect {dialect!r}; choose one of {', '.join(DIALECTS)}")
    return DIALECTS[dialect](tile, stimulus)
