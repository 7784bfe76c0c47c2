"""ngspice's deck for neospice: the same, except for constructs that neospice silently ignores.

neospice 0.2.0 reads ngspice's syntax, but of the instance parameters of a BSIM4 transistor it uses only w and l, and it
implements BSIM4 version 4.7 whatever the card says. So each transistor's threshold shift is written into its own model
card, and other constructs that it would ignore raise an error. Both forms are equivalent in BSIM4: delvto adds to vth0,
and to the flat-band voltage that follows from it.
"""

from __future__ import annotations

from collections.abc import Iterator

from norsim.array.cell import Cell
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.spice.deck import INDEX, OPTIONS, celsius, line_of, source_of
from norsim.spice.dialects.grammar import Grammar, Level
from norsim.spice.dialects.translate import cell_text
from norsim.spice.elements import Comment, elements
from norsim.spice.single_cells import single_cells
from norsim.spice.statements import Statement


def _version(card: Statement, level: int, given: str) -> str:
    if given and given[:3] not in ("4.7", "4.8"):
        card.refuse(f"neospice has only BSIM4 version 4.7; 4.8 has been found to agree with it, but not {given}")
    return ""


_BSIM4 = Level(14, frozenset({"w", "l", "delvto"}))
GRAMMAR = Grammar("neospice", ("{", "}"), "", {14: _BSIM4, 54: _BSIM4}, _version, own_cards=True)


def deck(tile: Tile, stimulus: Stimulus) -> str:
    """Return the deck of a tile; the reads are the points of one sweep of `v(idx)`.

    Raises ConfigurationError for a cell that neospice is not known to support.
    """
    lines = [f"* {tile.name!r}", *cell_text(tile.cell, GRAMMAR), line_of(INDEX)]
    lines += [line_of(source_of(item)) for item in elements(tile, stimulus) if not isinstance(item, Comment)]
    return "\n".join([*lines, *_analysis(tile.cell, stimulus.vectors)])


def sweep_deck(cell: Cell, points: Floats) -> str:
    """Return norsim.spice.single_cells's deck of single cells, for points `[n, 4]`."""
    lines = ["* single cells at given volts", *cell_text(cell, GRAMMAR), *single_cells(cell, points)]
    return "\n".join([*lines, *_analysis(cell, 1)])


def _analysis(cell: Cell, points: int) -> Iterator[str]:
    yield from (f".options {OPTIONS} temp={celsius(cell)}", f".dc Vidx 0 {points - 1} 1", ".end", "")
