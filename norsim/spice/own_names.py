"""The names that norsim's decks use, and a check that a cell's files do not use them too.

ngspice has one space of names for a deck and all its files: a parameter of a calling subcircuit hides a global one in
all subcircuits that it calls, a global node is the same node everywhere, and a function of the files replaces ngspice's
own in every expression. So names that norsim adds begin with `norsim_`, which no file may use, and the names of lines
and of their elements, which are for reading decks and results, may not occur outside subcircuits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from norsim.errors import ConfigurationError
from norsim.spice.lines import Card

PREFIX = "norsim_"
OURS = re.compile(rf"\b{PREFIX}\w*", re.IGNORECASE)
# Nodes of tiles, of single cells and of transients (norsim.spice.elements, single_cells, transient).
NODE = re.compile(
    r"(?:wl|bl|sl|st|gm)\d+(?:_\d+)?|(?:drive|end|sense|drv|off)\d+|(?:virt|amp|gbl|mux|end)s?\d+|[dgps]\d+(?:_\d+)?|ret|idx|d|x\d+(?:_\d+)?\..*",
    re.IGNORECASE,
)
# Their elements, after the letter of the kind.
ELEMENT = re.compile(
    r"(?:wl|bl|sl|st|gm)\d+(?:_\d+)?w?|gnd\d+f?|(?:drive|end|sense|drv|off)\d+|(?:virt|amp|gbl|mux|end)s?\d+|[mdgps]?\d+(?:_\d+)?|ret|idx|d",
    re.IGNORECASE,
)
KINDS = set("bcfrvx")
LEAK = re.compile(r"ileak\d+", re.IGNORECASE)
# Functions in the expressions and in the list of saved currents of norsim's decks.
FUNCTIONS = {"v", "i", "pwl"}
# Number of nodes by the letter of an element; of all others, any word but the last can be a node.
NODES = {"r": 2, "c": 2, "l": 2, "v": 2, "i": 2, "d": 2, "b": 2, "f": 2, "h": 2, "w": 2, "s": 4, "e": 4, "g": 4, "t": 4}


def check_names(found: Iterable[Card]) -> None:
    """Raise ConfigurationError, with file and line, for the first name in a cell's files that norsim's decks use."""
    depth = 0
    for card in found:
        match = OURS.search(card.text)
        if match:
            _refuse(card, f"names that begin with {PREFIX} belong to norsim's decks. Rename {match[0]}")
        if card.name == ".ends":
            depth -= 1
        for node in _nodes(card, depth):
            if NODE.fullmatch(node):
                _refuse(card, f"{node} is a node of norsim's decks, and the two would be one. Rename it")
        if not depth:
            _check_element(card)
        if card.name == ".subckt":
            depth += 1


def _nodes(card: Card, depth: int) -> Iterator[str]:
    """Yield the nodes of a card that are not local to a subcircuit."""
    words = re.split(r"[\s,()]+", card.text.strip())[1:]
    if card.name == ".global":
        yield from words
    elif not depth and card.name[:1].isalpha():
        bare = [word for word in words if "=" not in word]
        yield from bare[: NODES.get(card.name[0], len(bare) - 1)]


def _check_element(card: Card) -> None:
    if (card.name[:1] in KINDS and ELEMENT.fullmatch(card.name[1:])) or LEAK.fullmatch(card.name):
        _refuse(card, "it has the name of an element of norsim's decks. Rename it, or put it into a subcircuit")
    match = re.match(r"\.func\s+(\w+)", card.text, re.IGNORECASE)
    if match and match[1].lower() in FUNCTIONS:
        _refuse(card, f"norsim's decks use ngspice's own function {match[1].lower()}. Rename it")


def _refuse(card: Card, why: str) -> None:
    raise ConfigurationError(f"{card.where}: {card.text[:80]!r} cannot be part of a cell: {why}")
