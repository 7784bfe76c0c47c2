"""Translation of ngspice expressions to another dialect, limited to what is known to mean the same there."""

from __future__ import annotations

import re

from norsim.spice.dialects.grammar import Grammar
from norsim.spice.statements import UNSIGNED, Statement, number_of

# ngspice's log is ln. Powers are excluded, because simulators differ for negative bases.
FUNCTIONS = {"abs", "sqrt", "exp", "ln", "log", "log10", "min", "max"} | {"sin", "cos", "tan", "sinh", "cosh", "tanh"}
PART = re.compile(
    rf"(?P<blank>\s+)|(?P<probe>[vi]\s*\([^()]*\))|(?P<number>{UNSIGNED}[a-z]*)"
    r"|(?P<name>[a-z_]\w*)|(?P<sign>\*\*|[-+*/(),?:<>{}]|==|!=|&&|\|\|)",
    re.IGNORECASE,
)


def expression(text: str, grammar: Grammar, statement: Statement, names: frozenset[str], probes: bool = False) -> str:
    """Translate `text`; `names` are the known parameters, and `probes` allows v() and i().

    Raises ConfigurationError with the line for anything that is not known to mean the same.
    """
    place, found = 0, []
    while place < len(text):
        match = PART.match(text, place)
        if match is None:
            statement.refuse(f"{text[place : place + 10]!r} in an expression")
        place = match.end()
        found.append(_part(match, grammar, statement, names, probes))
    return "".join(found)


def _part(match: re.Match[str], grammar: Grammar, statement: Statement, names: frozenset[str], probes: bool) -> str:
    part, kind = match.group(0), match.lastgroup
    if kind == "probe" and not probes:
        statement.refuse(f"{part} outside a behavioural source")
    if kind == "number":
        return number_of(part)
    if kind == "name":
        return _name(part, grammar, statement, names)
    if part == "**":
        statement.refuse("powers differ between simulators")
    return {"{": "(", "}": ")"}.get(part, part)


def _name(part: str, grammar: Grammar, statement: Statement, names: frozenset[str]) -> str:
    name = part.lower()
    if name in names:
        return grammar.parameter(part)
    if name not in FUNCTIONS:
        statement.refuse(f"{part!r} is neither a parameter of the cell nor a function that both simulators have")
    return grammar.functions.get(name, part)
