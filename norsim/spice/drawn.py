"""Numbers that a simulator would draw at random, replaced by their mean.

Foundries describe mismatch and process spread by functions such as `agauss(0, 1, 3)`, often times a switch that is 0.
They return a new number in each process, but a cell must be the same in all of them, and norsim draws the differences
between cells by seed. The mean of each function is its first argument, in HSPICE as in ngspice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from norsim.errors import ConfigurationError
from norsim.spice.lines import Card
from norsim.spice.simulators.messages import LOG

DRAWN = re.compile(r"\b(a?gauss|a?unif|limit)\s*\(", re.IGNORECASE)
# Numbers of arguments: `limit` of three is no random number in PSPICE.
ARGUMENTS = {"agauss": (2, 3, 4), "gauss": (2, 3, 4), "aunif": (2, 3), "unif": (2, 3), "limit": (2,)}
OPENING, CLOSING = "({[", ")}]"


def at_mean(card: Card) -> tuple[Card, tuple[str, ...]]:
    """Return a card with the mean in place of each drawn number, and the calls that were replaced.

    Raises ConfigurationError, with file and line, for a call without its closing parenthesis or with another number of
    arguments.
    """
    if not DRAWN.search(card.text):
        return card, ()
    calls: list[str] = []
    text = _mean_of(card.text, card, calls)
    return Card(text, (card.lines[0]._replace(text=text),)), tuple(calls)


def _mean_of(text: str, card: Card, calls: list[str]) -> str:
    """Return `text` with its calls replaced, those in arguments too, and add them to `calls`."""
    match = DRAWN.search(text)
    if match is None:
        return text
    end, arguments = _arguments(text, match.end(), card)
    call = text[match.start() : end]
    if len(arguments) not in ARGUMENTS[match[1].lower()]:
        raise ConfigurationError(
            f"{card.where}: {call[:80]!r} is not known: {match[1]} with {len(arguments)} arguments. Replace it by a "
            "number"
        )
    calls.append(call)
    mean = _mean_of(arguments[0].strip(), card, calls)
    return f"{text[: match.start()]}({mean}){_mean_of(text[end:], card, calls)}"


def _arguments(text: str, start: int, card: Card) -> tuple[int, list[str]]:
    """Return the end of the call whose arguments begin at `start`, and its arguments."""
    found, depth = [""], 1
    for place in range(start, len(text)):
        letter = text[place]
        depth += (letter in OPENING) - (letter in CLOSING)
        if not depth:
            return place + 1, found
        if letter == "," and depth == 1:
            found.append("")
        else:
            found[-1] += letter
    raise ConfigurationError(f"{card.where}: {text[max(start - 20, 0) :][:80]!r} has no closing parenthesis")


def _with_depth(found: list[Card]) -> Iterator[tuple[Card, bool]]:
    """Yield each card, and whether it is in a subcircuit."""
    depth = 0
    for card in found:
        depth += (card.name == ".subckt") - (card.name == ".ends")
        yield card, depth > 0 and card.name != ".subckt"


def at_means(read: list[list[Card]], drawn: bool) -> tuple[list[list[Card]], tuple[str, ...]]:
    """Return the cards of each file with drawn numbers at their means, but with `drawn` not in subcircuits, and a note
    that says so, which is logged too."""
    calls: list[tuple[str, str]] = []
    result: list[list[Card]] = []
    for found in read:
        taken = [(card, ()) if inside and drawn else at_mean(card) for card, inside in _with_depth(found)]
        result.append([card for card, _ in taken])
        calls += [(card.where, call) for card, replaced in taken for call in replaced]
    if not calls:
        return result, ()
    where, call = calls[0]
    note = (
        f"random numbers of the cell's files are taken at their mean, {len(calls)} in all, the first {call[:60]!r} in "
        f"{where}. Cells and chips differ only by the section silicon of the chip file"
    )
    LOG.warning("%s", note)
    return result, (note,)
