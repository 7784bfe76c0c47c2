"""What ngspice says about a cell: whole messages, those that are errors, and the lines of the cell that they are about.

ngspice prints a message over several lines, some of them on stdout and some on stderr, and goes on. Here lines are
joined again: a message begins at a line such as `Warning: ...`, and ends where the next one or ngspice's usual output
begins.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from norsim.array.cell import Cell
from norsim.errors import ConfigurationError, SolveError
from norsim.spice.lines import Card, cards, lines_of

TROUBLE = re.compile(
    r"singular|stepping|fail|\berror\b|no convergence|not converge|abort|unknown|no such|timestep too small|"
    r"can't|cannot|unable|undefined|\bnan\b|syntax|iteration limit|\bfatal\b",
    re.IGNORECASE,
)
# Messages that ngspice steps gmin or the sources, because Newton's method alone failed, and that the steps completed.
STEPPING = re.compile(r"\b(?:gmin|source) step", re.IGNORECASE)
COMPLETED = re.compile(r"\b(?:gmin|source) stepping completed", re.IGNORECASE)
BEGIN = re.compile(r"warning|error|fatal|note\b|netlist line|undefined|doanalyses|checking parameters|trying gmin|"
                   r"supplies reduced|run simulation|unrecognized", re.IGNORECASE)  # fmt: skip
USUAL = re.compile(r"circuit:|doing analysis|no\. of data rows|simulation interrupted|reference value|ngspice-\d|"
                   r"compatibility mode|initial transient|using transient", re.IGNORECASE)  # fmt: skip
WARNING = re.compile(r"warning|unrecognized|ignored", re.IGNORECASE)
UNKNOWN = re.compile(r"unrecognized parameter \(([^()]+)\)|unknown parameter \(([A-Za-z_]\w*)\)", re.IGNORECASE)
# Parts of messages that name a definition of the cell, an element of it, or a word in it.
DEFINITION = re.compile(r"(?:\.(?:model|subckt)|\bmodel)\s+'?([\w.]+)", re.IGNORECASE)
ELEMENT = re.compile(r"\b[a-z]\.(?:\w+\.)*(\w+)|line\s*/\s*(\w+)", re.IGNORECASE)
WORD = re.compile(r"\[(\w+)\]|\((\w+)\)|\|=\|([^|]+)\|")

DECK_LINE = re.compile(r" (?:on line|Check line no) \d+(?= )", re.IGNORECASE)
# Largest number of warnings that are shown with an error.
MOST_BEFORE = 3
# Of a longer line of a message, such as an echoed model card, this many letters at its start and at its end are shown.
HEAD, TAIL = 120, 40

LOG = logging.getLogger(__name__)


class Once(logging.Filter):
    """Passes each text once, until `said` is cleared: every deck of a cell has the same warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether this text is new."""
        text = record.getMessage()
        new = text not in self.said
        self.said.add(text)
        return new


ONCE = Once()
LOG.addFilter(ONCE)


def messages(log: str) -> Iterator[list[str]]:
    """Yield the messages in a log, each as its lines without blanks around them."""
    message: list[str] = []
    for line in (line.strip() for line in re.split(r"[\n\r]+", log)):
        usual = USUAL.match(line) or (line.lower().startswith("note") and USUAL.search(line))
        if (usual or BEGIN.match(line)) and not _goes_on(message, line):
            if message:
                yield message
            message = [] if usual else [line]
        elif line and not usual:
            message.append(line)
    if message:
        yield message


def _goes_on(message: list[str], line: str) -> bool:
    """Return whether a line that could begin a message belongs to the one before: a value check of a model, the reason
    after an echoed line."""
    about = message[0].lower() if message else ""
    if about.startswith("checking parameters"):
        return bool(re.match(r"warning|fatal:", line, re.IGNORECASE))
    if about.startswith("netlist line"):
        return not line.lower().startswith(("netlist", "error")) and len(message) == 1
    return about.startswith("warning: model issue") and line.lower().startswith("unrecognized")


def check_log(log: str) -> None:
    """Raise a SolveError with the first message of a log that reports a problem.

    A solution found by stepping gmin or the sources is accepted if the stepping completed, since its last step is the
    original circuit.
    """
    message = _trouble(log)
    if message:
        raise SolveError(f"ngspice says {joined(message)!r}")


def _trouble(log: str) -> list[str]:
    """Return the first message of a log that reports a problem, no lines without one."""
    found = list(messages(log))
    for place, message in enumerate(found):
        lines = [line for line in message if TROUBLE.search(line)]
        if lines and not (place <= _completed(found) and all(STEPPING.search(line) for line in lines)):
            return message
    return []


def joined(message: list[str]) -> str:
    """Return the lines of a message as one text for people, without the middle of very long ones."""
    return " / ".join(
        line if len(line) <= HEAD + TAIL else f"{line[:HEAD].rstrip()} ... {line[-TAIL:].lstrip()}" for line in message
    )


def _completed(found: list[list[str]]) -> int:
    """Return the number of the last message that a stepping completed, -1 if there is none."""
    return max((place for place, message in enumerate(found) if COMPLETED.search(" ".join(message))), default=-1)


def warnings_in(log: str, cell: Cell) -> list[str]:
    """Return the warnings in a log of a run that is used, each once, with file and line where the cell's files tell.

    The numbers of lines of the deck, which differ between decks of a cell, are left out.
    """
    found = list(messages(log))
    kept = [message for place, message in enumerate(found) if _warns(message, place <= _completed(found))]
    texts = [(DECK_LINE.sub("", joined(message)), DECK_LINE.sub("", " / ".join(message))) for message in kept]
    return list(dict.fromkeys(f"{text}{place_of(cell, whole)}" for text, whole in texts))


def _warns(message: list[str], stepped: bool) -> bool:
    text = " ".join(message)
    if stepped and STEPPING.search(text):
        return bool(COMPLETED.search(text))
    return bool(WARNING.search(text))


def check(log: str, cell: Cell) -> None:
    """Check the log of a run for `cell`, and log its warnings, each once.

    Raises ConfigurationError, with file and line, for parameters that ngspice does not know and that the cell does not
    allow, and SolveError for any other problem.
    """
    unknown = dict.fromkeys((match[1] or match[2]).lower() for match in UNKNOWN.finditer(log))
    refused = [name for name in unknown if name not in cell.allowed_parameters]
    if refused:
        places = ", ".join(f"{name}{place_of(cell, f'({name})')}" for name in refused)
        raise ConfigurationError(
            f"ngspice does not know these parameters of the cell's models or elements: {places}. Correct them. Those "
            "of model cards and calls that it may ignore can be listed under cell.allow_unknown_parameters. ngspice "
            f"says {joined(next(message for message in messages(log) if UNKNOWN.search(' '.join(message))))!r}"
        )
    try:
        check_log(log)
    except SolveError as problem:
        before = [text for text in warnings_in(log, cell) if text[:40] not in str(problem)][:MOST_BEFORE]
        also = f". It warns as well: {'; '.join(before)}" if before else ""
        raise SolveError(f"{problem}{place_of(cell, ' / '.join(_trouble(log)))}{also}") from None
    for text in warnings_in(log, cell):
        LOG.warning("ngspice warns about the cell: %s", text)


def place_of(cell: Cell, text: str) -> str:
    """Return ` (FILE, line N)` for the card of the cell that a message names, or nothing if it names none."""
    found = [card for card in cards(lines_of(f"{cell.models}\n{cell.netlist}", "")) if card.text]
    if "redefinition" in text:
        found.reverse()  # ngspice ignores the later one
    for pattern, matches in ((DEFINITION, _defines), (ELEMENT, _begins_with), (WORD, _contains)):
        for match in pattern.finditer(text):
            name = next(filter(None, match.groups())).lower()
            for card in found:
                if matches(card, name):
                    return _origin(cell, card)
    return ""


def _defines(card: Card, name: str) -> bool:
    words = card.text.lower().split(maxsplit=2)
    return words[0] in (".model", ".subckt") and len(words) > 1 and words[1] == name


def _begins_with(card: Card, name: str) -> bool:
    return card.name == name


def _contains(card: Card, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", card.text, re.IGNORECASE) is not None


def _origin(cell: Cell, card: Card) -> str:
    number = card.lines[0].number
    begun = [origin for origin in cell.origins if origin[0] <= number]
    return f" ({begun[-1][1]}, line {begun[-1][2] + number - begun[-1][0]})" if begun else ""
