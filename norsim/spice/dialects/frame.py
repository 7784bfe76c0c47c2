"""The common part of the dialects' decks: reads are a table with one column per line that steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from norsim.array.tile import Stimulus, Tile
from norsim.spice.deck import header, line_of
from norsim.spice.dialects.grammar import Grammar
from norsim.spice.dialects.translate import cell_text
from norsim.spice.elements import Comment, Drive, Element, elements, number


def circuit(
    tile: Tile, stimulus: Stimulus, grammar: Grammar, run: list[str], source: Callable[[Drive], str]
) -> Iterator[str]:
    """Yield the lines of header, cell and elements; `source` writes a drive that steps."""
    yield from header(tile, stimulus, run, "row of the table")
    yield from cell_text(tile.cell, grammar)
    for item in elements(tile, stimulus):
        if isinstance(item, Comment):
            yield f"* {item.text}"
        elif isinstance(item, Drive):
            volts = source(item) if item.steps else number(item.volts[0])
            yield f"V{item.node} {item.node} 0 {volts}"
        else:
            yield line_of(_call(item, grammar) if item.kind == "X" else item)


def _call(item: Element, grammar: Grammar) -> Element:
    """Translate the element of a cell, which calls its subcircuit with the state parameter."""
    subcircuit, state = item.value.split(" ", 1)
    name, value = state.split("=", 1)
    words = [subcircuit, *([grammar.parameters] if grammar.parameters else []), f"{grammar.parameter(name)}={value}"]
    return item._replace(value=" ".join(words))


def stepped(tile: Tile, stimulus: Stimulus) -> list[Drive]:
    """Return the drives that step, in the order of the circuit."""
    return [item for item in elements(tile, stimulus) if isinstance(item, Drive) and item.steps]


def rows(drives: list[Drive], reads: int) -> Iterator[list[str]]:
    """Yield for each read the volts of every drive that steps."""
    for k in range(reads):
        yield [number(drive.volts[k]) for drive in drives]
