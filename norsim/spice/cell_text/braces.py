"""Parentheses inside the braces and quotes of behavioural sources, for ngspice 39.

It pastes the text between braces, or quotes, into the equation of a source as it is: `x/{2*ut}` becomes `x/2*ut`, where
every other simulator, and every other element of ngspice, divides by the product. With parentheses inside, all agree.
"""

from __future__ import annotations

import re

from norsim.spice.lines import cards, lines_of

GROUP = re.compile(r"(\{)([^{}]*)(\})|(')([^'{}]*)(')")
# A probe makes the value of a controlled source an equation.
PROBE = re.compile(r"\b[vi]\s*\(", re.IGNORECASE)
ATOM = re.compile(r"\s*(?:\w+|[\d.]+\w*)\s*")


def with_parentheses(text: str) -> str:
    """Return a cell's text with parentheses around what is between braces or quotes in the equations of its sources.

    The number of lines stays the same. A single name or number needs none.
    """
    lines = text.split("\n")
    for card in cards(lines_of(text, "")):
        if card.name[:1] == "b" or (card.name[:1] in ("e", "g") and PROBE.search(card.text)):
            for line in card.lines:
                lines[line.number - 1] = GROUP.sub(_wrapped, lines[line.number - 1])
    return "\n".join(lines)


def _wrapped(match: re.Match[str]) -> str:
    opening, inner, closing = (part for part in match.groups() if part is not None)
    return match[0] if ATOM.fullmatch(inner) else f"{opening}({inner}){closing}"
