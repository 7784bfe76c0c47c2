"""Differences between a dialect of SPICE and ngspice's that matter for writing a cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from norsim.spice.statements import Statement

GEOMETRY = frozenset({"w", "l", "m", "ad", "as", "pd", "ps", "nrd", "nrs"})
STRESS = frozenset({"nf", "sa", "sb", "sd"})


@dataclass(frozen=True)
class Level:
    """A transistor model's level in the dialect, and the instance parameters that mean the same there."""

    level: int
    instance: frozenset[str]


def as_ngspice(name: str, nodes: str, quantity: str, quoted: str) -> str:
    """Write a behavioural source as ngspice does."""
    return f"{name} {nodes} {quantity}={quoted}"


@dataclass(frozen=True)
class Grammar:
    """A dialect of SPICE.

    `quotes`      the characters around an expression
    `parameters`  the keyword before the parameters of a subcircuit and of its calls
    `levels`      the transistor models by ngspice's level
    `version`     returns a card's version in the dialect's form, or raises an error for one that it does not have
    `source`      writes a behavioural source: name, nodes, `v` or `i`, quoted expression -> line
    `functions`   the dialect's names of functions that ngspice names differently
    `reserved`    names that cannot be parameters in the dialect
    `options`     the cell's options that the dialect has under the same name
    `own_cards`   whether the threshold shift of a transistor is written into a separate model card
    """

    name: str
    quotes: tuple[str, str]
    parameters: str
    levels: Mapping[int, Level]
    version: Callable[[Statement, int, str], str]
    source: Callable[[str, str, str, str], str] = as_ngspice
    functions: Mapping[str, str] = field(default_factory=dict)
    reserved: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()
    own_cards: bool = False

    def quoted(self, expression: str) -> str:
        """Return an expression as a value."""
        return expression.join(self.quotes)

    def parameter(self, name: str) -> str:
        """Return a parameter's name, changed if it is reserved in the dialect."""
        return f"{name}_" if name.lower() in self.reserved else name
