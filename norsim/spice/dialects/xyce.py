"""Decks for Xyce, written from its Reference Guide; the authors of norsim have not run them.

Expressions are in braces as in ngspice, parameters of subcircuits follow `PARAMS:`; BSIM4 is level 14, in versions
4.61, 4.7 and 4.82, and BSIM3 level 9, which has no delvto. VT, TEMP and similar names are reserved in Xyce, so a
parameter with such a name is renamed. Reads are rows of a `.data` table whose columns are sources, read by `.dc data=`.
Xyce's log is to base 10.
"""

from __future__ import annotations

from collections.abc import Iterator

from norsim.array.tile import Stimulus, Tile
from norsim.spice.deck import celsius, wrapped
from norsim.spice.dialects.frame import circuit, rows, stepped
from norsim.spice.dialects.grammar import GEOMETRY, STRESS, Grammar, Level
from norsim.spice.elements import Drive, ammeters, number
from norsim.spice.statements import Statement

TABLE = "reads"
RESULTS = "currents.csv"
RUN = [
    f"Xyce tile.cir writes {RESULTS}: i(vblJ) flows into bitline J, i(vret) or i(vslK) out of the",
    "source lines. norsim import-results reads it.",
    "This deck is written for Xyce. The authors of norsim have not run it on Xyce.",
]
VERSIONS = {"4.6": "4.61", "4.7": "4.7", "4.8": "4.82"}


def _version(card: Statement, level: int, given: str) -> str:
    """Return Xyce's version of BSIM4 by its first two digits; for BSIM3, which Xyce has only as 3.2.2, return none."""
    if level in (14, 54):
        found = VERSIONS.get(given[:3], "4.82" if not given else None)
        return found or card.refuse(f"Xyce has BSIM4 versions 4.6, 4.7 and 4.8, not {given}")
    if given and not (level in (8, 49) and given.startswith("3.2")):
        card.refuse(f"Xyce has only BSIM3 version 3.2.2, not {given}")
    return ""


_BSIM3 = Level(9, GEOMETRY)
_BSIM4 = Level(14, GEOMETRY | STRESS | {"delvto"})
GRAMMAR = Grammar(
    "Xyce", ("{", "}"), "PARAMS:", {1: Level(1, GEOMETRY), 8: _BSIM3, 49: _BSIM3, 14: _BSIM4, 54: _BSIM4}, _version,
    functions={"log": "ln"}, reserved=frozenset({"time", "freq", "hertz", "vt", "temp", "temper", "gmin", "pi"}),
)  # fmt: skip


def deck(tile: Tile, stimulus: Stimulus) -> str:
    """Return the deck in Xyce's dialect. Raises ConfigurationError for a cell that cannot be written in it."""
    return "\n".join([*circuit(tile, stimulus, GRAMMAR, RUN, _drive), *_analysis(tile, stimulus), ".end", ""])


def _drive(drive: Drive) -> str:
    return number(drive.volts[0])


def _analysis(tile: Tile, stimulus: Stimulus) -> Iterator[str]:
    # If no line steps, all reads are the same; an ammeter, a source of 0 V, then is the column of the table.
    drives = stepped(tile, stimulus)
    columns = [f"V{drive.node}" for drive in drives] or ["Vbl0"]
    yield from (f".data {TABLE}", " ".join(["+", *columns]))
    # A row must be on one line, whatever its length.
    for row in rows(drives, stimulus.vectors):
        yield " ".join(["+", *(row or ["0.0"])])
    yield ".enddata"
    yield f".options device temp={celsius(tile.cell)} tnom=27 gmin=1e-15"
    yield ".options nonlin reltol=1e-6 abstol=1e-9 rhstol=1e-15"
    yield f".dc data={TABLE}"
    yield wrapped(" ".join([f".print dc format=csv file={RESULTS} precision=15", *ammeters(tile)]))
