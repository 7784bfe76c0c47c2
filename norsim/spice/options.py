"""Options of ngspice's decks: those that norsim sets, and those that the models of a cell may need.

ngspice silently treats an unknown option as a variable, so a misspelt one would have no effect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from norsim.errors import ConfigurationError
from norsim.spice.lines import Card
from norsim.spice.statements import number_of

# Options that norsim's decks set.
OWN_OPTIONS = {"gmin", "abstol", "reltol", "vntol", "temp", "method", "klu", "sparse"}
# Options that change how models and circuits are solved (ngspice's cktsopt.c, and variables that its devices read).
KNOWN_OPTIONS = {
    "scale", "wnflag", "tnom", "defl", "defw", "defad", "defas", "defm", "badmos3", "oldlimit", "epsmin", "xmu",
    "rshunt", "cshunt", "gshunt", "rseries", "itl1", "itl2", "itl4", "itl6", "srcsteps", "gminsteps", "gminfactor",
    "dyngmin", "noopiter", "nodedamping", "absdv", "reldv", "convlimit", "convstep", "convabsstep", "ramptime",
    "chgtol", "trtol", "xtrtol", "pivtol", "pivrel", "maxord", "minbreak", "bypass", "trytocompact", "maxwarns", "warn",
}  # fmt: skip
# A number in SPICE notation, as it is or in quotes.
VALUE = re.compile(
    r"(?P<quote>['\"]?)(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?[a-z]{0,8})(?P=quote)", re.IGNORECASE
)


def is_option(card: Card) -> bool:
    """Return whether a card sets options."""
    return card.name.startswith(".opt")


def options_of(card: Card) -> dict[str, str]:
    """Return the options of an `.option` card, in lower case with their numbers as text.

    They are empty if any is not one that models need, or has no number.
    """
    words = re.sub(r"\s*=\s*", "=", card.text.lower()).split()[1:]
    found: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        match = VALUE.fullmatch(value)
        if name not in KNOWN_OPTIONS or match is None:
            return {}
        found[name] = match["number"]
    return found


def taken_options(found: Iterable[Card], given: dict[str, str]) -> tuple[list[Card], dict[str, str]]:
    """Return the cards of a cell without the options that models need, and these options with those `given`.

    Raises ConfigurationError, with file and line, for an option that is set to another value there.
    """
    kept: list[Card] = []
    options = {name.lower(): value for name, value in given.items()}
    for card in found:
        own = options_of(card) if is_option(card) else {}
        for name, value in own.items():
            if float(number_of(options.setdefault(name, value))) != float(number_of(value)):
                raise ConfigurationError(
                    f"{card.where}: {card.text[:80]!r} sets the option {name} to {value}, but cell.options or another "
                    f"file sets it to {options[name]}. Remove one of them"
                )
        comment = tuple(line._replace(text=f"* {line.text}") for line in card.lines)
        kept.append(Card("", comment) if own else card)
    return kept, options
