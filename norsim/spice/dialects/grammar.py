"""What tells a dialect of SPICE from ngspice's, as far as a cell is written in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from norsim.spice.statements import Statement

GEOMETRY = frozenset({"w", "l", "m", "ad", "as", "pd", "ps", "nrd", "nrs"})
STRESS = frozenset({"nf", "sa", "sb", "sd"})


@dataclass(frozen=True)
class Level:
    """A transistor model: its level in the dialect, and the instance parameters that mean the same there."""

    level: int
    instance: frozenset[str]


def as_ngspice(name: str, nodes: str, quantity: str, quoted: str) -> str:
    """A behavioural source as ngspice writes it."""
    return f"{name} {nodes} {quantity}={quoted}"


@dataclass(frozen=True)
class Grammar:
    """`quotes`      what stands around an expression
    `parameters`  what stands before the parameters of a subcircuit and of its calls
    `levels`      the transistor models by ngspice's level
    `version`     a card's version of ngspice's level as the dialect writes it; refuses one that it does not have
    `source`      a behavioural source: name, nodes, `v` or `i`, quoted expression -> line
    `functions`   own names of functions that ngspice calls otherwise
    `reserved`    names that mean something else there than a parameter
    `own_cards`   whether a transistor's shift of the threshold goes into a card of its own
    """

    name: str
    quotes: tuple[str, str]
    parameters: str
    levels: Mapping[int, Level]
    version: Callable[[Statement, int, str], str]
    source: Callable[[str, str, str, str], str] = as_ngspice
    functions: Mapping[str, str] = field(default_factory=dict)
    reserved: frozenset[str] = frozenset()
    own_cards: bool = False

    def quoted(self, expression: str) -> str:
        """An expression as a value."""
        return expression.join(self.quotes)

    def parameter(self, name: str) -> str:
        """A parameter's name, changed where the dialect has another use for it."""
        return f"{name}_" if name.lower() in self.reserved else name
