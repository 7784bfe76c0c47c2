"""The lines of SPICE files as ngspice reads them: remarks removed, and continuation lines joined to cards.

The rules are those of ngspice (frontend/inpcom.c). A remark begins with `;` or `//` anywhere, or with `$` after a
blank, a tab or a comma. Blank lines and comments between the lines of a card are no end of the card. Two backslashes at
the end of a line continue it. A micro sign in a card is a `u`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

REMARK = re.compile(r"(?<=.);|(?<=[ ,\t])\$(?!;)|//")
# In its PSPICE mode, ngspice takes a dollar sign as part of the text.
REMARK_WITHOUT_DOLLAR = re.compile(r"(?<=.);|//")
# A card that begins with one of these is a comment for ngspice, with a warning. So are its continuation lines.
IGNORED = tuple('=[]?()&%"!:,;')
COMMENT = ("*", "$")
# Lines that ngspice takes for comments in an included file, also between the lines of a card.
IDLE = re.compile(r"\.title|\.end(?!\S)", re.IGNORECASE)
# Blanks of other languages are letters for ngspice.
WORD = re.compile(r"[^ \t\n\v\f\r]+")
# The micro sign in UTF-8, and the byte of Latin-1 as text that was decoded with `surrogateescape` has it.
MICRO = re.compile("[\xb5\udcb5]")
FOREIGN = re.compile("[\udc80-\udcff]")
JOINED = "\\\\"


class Line(NamedTuple):
    """A line without its indentation, the name of its file, its number there, from 1, and its indentation."""

    text: str
    file: str
    number: int
    indent: str = ""


class Card(NamedTuple):
    """A card or an element with its continuation lines, or one comment or blank line.

    `text` is the joined text, empty for a comment. `lines` are its lines in order, with the comments between them; to
    read them again gives the same card.
    """

    text: str
    lines: tuple[Line, ...]

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.lines[0].file}, line {self.lines[0].number}"

    @property
    def name(self) -> str:
        """The first word, in lower case; empty for a comment."""
        match = WORD.search(self.text)
        return match[0].lower() if match else ""


def lines_of(text: str, file: str) -> list[Line]:
    """Return the lines of a file's text, remarks included. A line that continues the one before begins with `+`."""
    found: list[Line] = []
    continued = False
    for number, line in enumerate(text.replace("\r", "").split("\n"), start=1):
        bare = line.strip(" \t")
        if continued and bare:
            bare = f"+{bare}"
        if bare:
            continued = bare.endswith(JOINED) and not bare.startswith(COMMENT)
        whole = bare.removesuffix(JOINED).rstrip(" \t") if continued and bare else bare
        found.append(Line(whole, file, number, line[: len(line) - len(line.lstrip(" \t"))] if bare else ""))
    return found


def without_remark(text: str, dollar: bool = True) -> str:
    """Return a line without the remark at its end, or `*` and the text if all of it is a remark.

    `dollar` tells whether a dollar sign begins a remark.
    """
    if text.startswith("*"):
        return text
    match = (REMARK if dollar else REMARK_WITHOUT_DOLLAR).search(text)
    bare = text[: match.start()].rstrip(" \t") if match else text
    return bare if bare or not text else f"* {text}"


def cards(lines: Iterable[Line], dollar: bool = True) -> Iterator[Card]:
    """Yield the cards and comments of `lines` in order; `dollar` as in `without_remark`.

    Lines of control blocks are yielded unchanged, as comments, since ngspice has other rules there.
    """
    current: list[Line] = []
    between: list[Line] = []
    in_control = False
    for line in lines:
        text = line.text.lower()
        in_control = (in_control or text.startswith(".control")) and not text.startswith(".endc")
        block = in_control or text.startswith(".endc")
        bare = line if block else line._replace(text=_bare(line.text, dollar))
        if block:
            yield from _finished(current, between, dollar)
            current, between = [], []
            yield Card("", (bare._replace(text=readable(bare.text)),))
        elif bare.text.startswith("+") and current:
            current += [*between, bare]
            between = []
        elif not bare.text or bare.text.startswith(COMMENT):
            between.append(bare._replace(text=f"* {bare.text}") if bare.text.startswith("$") else bare)
        else:
            yield from _finished(current, between, dollar)
            current, between = [bare], []
    yield from _finished(current, between, dollar)


def _bare(text: str, dollar: bool) -> str:
    """Return a line without its remark. A comment is readable; a card keeps bytes that are not UTF-8 as surrogates."""
    bare = without_remark(text, dollar)
    if IDLE.match(bare):
        return readable(f"* {bare}")
    if bare.startswith((*COMMENT, *IGNORED)):
        return readable(bare)
    return MICRO.sub("u", bare)


def readable(text: str) -> str:
    """Return text with surrogates for single bytes as Latin-1 with Windows' additions."""
    return text.encode("utf-8", "surrogateescape").decode("cp1252", "replace") if FOREIGN.search(text) else text


def _finished(current: list[Line], between: list[Line], dollar: bool) -> Iterator[Card]:
    if current and current[0].text.startswith(IGNORED):
        yield from (Card("", (line._replace(text=f"* {line.text}" if line.text else ""),)) for line in current)
    elif current:
        first, *rest = (line.text for line in current if line.text and not line.text.startswith("*"))
        text = " ".join([first, *(text[1:].strip(" \t") for text in rest)])
        # ngspice looks for remarks again after joining, except where it reads a library.
        again = text if text[:4].lower() == ".lib" else without_remark(text, dollar)
        yield Card(again, tuple(current) if again == text else (current[0]._replace(text=again),))
    yield from (Card("", (line,)) for line in between)


def text_of(cards: Iterable[Card]) -> str:
    """Return the lines of `cards` as text that ends with a line break.

    A remark ends lines of cards with two backslashes at their end, which would continue in the next line.
    """
    lines = [
        line.indent + line.text + (" ;" if card.text and line.text.endswith(JOINED) else "")
        for card in cards for line in card.lines
    ]  # fmt: skip
    return "\n".join(lines).rstrip("\n") + "\n"
