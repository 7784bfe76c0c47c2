"""Parser of a cell's SPICE text into statements: it splits cards into words, and separates comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from norsim.errors import ConfigurationError
from norsim.spice.lines import Card, cards, lines_of

UNSIGNED = r"(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
NUMBER = re.compile(rf"[+-]?{UNSIGNED}", re.IGNORECASE)
SCALES = {"t": 12, "g": 9, "meg": 6, "k": 3, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18}
QUOTES = {"{": "}", "'": "'"}


class Statement(NamedTuple):
    """A card or an element.

    `parts` are its words; `name=value` is one word, and so is text in braces or quotes. `text` is the line, `where` its
    place for messages. A comment has no parts.
    """

    text: str
    parts: tuple[str, ...]
    where: str

    @property
    def card(self) -> str:
        """The first word, in lower case."""
        return self.parts[0].lower() if self.parts else ""

    def refuse(self, why: str) -> NoReturn:
        """Raise a ConfigurationError that names the line."""
        raise ConfigurationError(f"{self.where}: {self.text[:80]!r} cannot be written in another dialect: {why}")


def statements(text: str, name: str) -> Iterator[Statement]:
    """Yield the statements of `text` in order; `name` is its name in messages, e.g. `the cell's netlist`."""
    for card in cards(lines_of(text, name)):
        if card.text:
            yield statement(card)
        remarks = (line.text for line in card.lines[bool(card.text) :] if line.text.startswith("*"))
        yield from (Statement(remark, (), "") for remark in remarks)


def statement(card: Card, strict: bool = True) -> Statement:
    """Split a card into words. Raises ConfigurationError for a brace that is not closed, and if `strict` for a quote,
    which ngspice accepts in places."""
    return Statement(card.text, tuple(_parts(card.text, card.where, strict)), card.where)


def _parts(text: str, where: str, strict: bool) -> Iterator[str]:
    """Split at blanks, but not around `=` and not in braces or quotes. The keyword `params:` is no word."""
    text = re.sub(r"(?<=\s)params:\s*", "", text, flags=re.IGNORECASE)
    text = re.sub(r"\s*(?<![=<>!])=(?!=)\s*", "=", text)
    word, closing, depth = "", "", 0
    for letter in text:
        if closing:
            depth += (letter == "{" and closing == "}") - (letter == closing)
            closing = closing if depth else ""
        elif letter in QUOTES:
            closing, depth = QUOTES[letter], 1
        elif letter.isspace():
            if word:
                yield word
            word = ""
            continue
        word += letter
    if closing == "}" or (closing and strict):
        raise ConfigurationError(f"{where}: {text[:80]!r} has no closing {closing}")
    if word:
        yield word


def value_of(statement: Statement, word: str, bare: bool = False) -> str:
    """Return a value as a plain number, with ngspice's scale factors and units applied, or as an expression without
    its braces or quotes; `bare` allows an expression without them. Raises ConfigurationError for anything else."""
    if word[:1] in QUOTES and word.endswith(QUOTES[word[0]]) and len(word) > 2:
        return word[1:-1]
    match = NUMBER.match(word)
    if match and re.fullmatch(r"[a-z]*", word[match.end() :], re.IGNORECASE):
        return number_of(word)
    if bare:
        return word
    statement.refuse(f"{word!r} is neither a number nor an expression in braces")


def number_of(word: str) -> str:
    """Convert a number with ngspice's scale factor and unit, e.g. `70nm`, to a plain number, `70e-9`."""
    match = NUMBER.match(word)
    assert match is not None
    number, letters = match.group(0), word[match.end() :].lower()
    if letters.startswith("mil"):
        return repr(float(number) * 25.4e-6)
    scale = SCALES.get(letters[:3] if letters.startswith("meg") else letters[:1])
    if not scale:
        return number
    if "e" in number.lower():
        mantissa, exponent = re.split("e", number, flags=re.IGNORECASE)
        return f"{mantissa}e{int(exponent) + scale}"
    return f"{number}e{scale}"
