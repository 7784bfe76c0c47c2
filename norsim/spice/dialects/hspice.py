"""Decks for HSPICE, written from its public command and model references; the authors of norsim have not run them.

Expressions are in single quotes, BSIM4 is level 54 and Berkeley's BSIM3 level 53, a behavioural source is a G element
with cur='...' or an E element with vol='...'. Reads are rows of a `.data` table whose columns are parameters, read by
`.dc data=`. A statement prints at most 32 variables in older releases, and a model's default nominal temperature is
25 degrees Celsius, not 27 as in ngspice. Level 1 is not supported, because HSPICE treats a card without kp differently.
"""

from __future__ import annotations

from collections.abc import Iterator

from norsim.array.tile import Stimulus, Tile
from norsim.spice.deck import celsius, wrapped
from norsim.spice.dialects.frame import circuit, rows, stepped
from norsim.spice.dialects.grammar import GEOMETRY, STRESS, Grammar, Level
from norsim.spice.elements import Drive, ammeters
from norsim.spice.statements import Statement

PRINTED_AT_ONCE = 32
TABLE = "reads"
RUN = [
    "hspice -i tile.cir -o tile writes tile.lis and tile.sw0: i(vblJ) flows into bitline J,",
    "i(vret) or i(vslK) out of the source lines. norsim import-results reads either file.",
    "This deck is written for HSPICE. The authors of norsim have not run it on HSPICE.",
]
# The options of ngspice's deck under HSPICE's names, and results as text with the most digits.
OPTIONS = (
    "gmin=1e-15 gmindc=1e-15 absi=1e-15 absmos=1e-15 absvdc=1e-9 reli=1e-6 relmos=1e-6 relvdc=1e-6 "
    "tnom=27 parhier=local post=csdf probe ingold=2 numdgt=10"
)


def _version(card: Statement, level: int, given: str) -> str:
    return given


def _source(name: str, nodes: str, quantity: str, quoted: str) -> str:
    kind, key = ("E", "vol") if quantity == "v" else ("G", "cur")
    return f"{kind}{name} {nodes} {key}={quoted}"


_BSIM3 = Level(53, GEOMETRY | {"delvto"})
_BSIM4 = Level(54, GEOMETRY | STRESS | {"delvto"})
GRAMMAR = Grammar(
    "HSPICE", ("'", "'"), "", {8: _BSIM3, 49: _BSIM3, 14: _BSIM4, 54: _BSIM4}, _version, _source,
    {"ln": "log"}, frozenset({"time", "hertz", "temper"}), frozenset({"scale"}),
)  # fmt: skip


def deck(tile: Tile, stimulus: Stimulus) -> str:
    """Return the deck in HSPICE's dialect. Raises ConfigurationError for a cell that cannot be written in it."""
    return "\n".join([*circuit(tile, stimulus, GRAMMAR, RUN, _drive), *_analysis(tile, stimulus), ".end", ""])


def _drive(drive: Drive) -> str:
    return f"'{_column(drive)}'"


def _column(drive: Drive) -> str:
    return f"v_{drive.node}"


def _analysis(tile: Tile, stimulus: Stimulus) -> Iterator[str]:
    drives = stepped(tile, stimulus)
    columns = ["idx", *(_column(drive) for drive in drives)]
    yield wrapped(" ".join([".param", *(f"{name}=0" for name in columns)]))
    yield wrapped(" ".join([f".data {TABLE}", *columns]))
    for k, row in enumerate(rows(drives, stimulus.vectors)):
        yield wrapped(" ".join(["+", str(k), *row]))
    yield ".enddata"
    yield wrapped(" ".join([f".option {OPTIONS}", *(f"{name}={value}" for name, value in tile.cell.options)]))
    yield f".temp {celsius(tile.cell)}"
    yield f".dc data={TABLE}"
    names = ammeters(tile)
    for start in range(0, len(names), PRINTED_AT_ONCE):
        yield wrapped(" ".join([".print dc", *names[start : start + PRINTED_AT_ONCE]]))
