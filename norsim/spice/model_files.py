"""Read user-supplied cell and model files with their includes, and reject files with which ngspice would do more than
solve a circuit.

ngspice runs the commands of a `.control` block, of any card that begins like it, and of comments that begin with `*#`;
some of these start programs and write files. Code models (A devices), Verilog devices (N) and `file=` parameters load
or read files. So only listed constructs are allowed; anything else raises an error with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from norsim.errors import ConfigurationError, UntrustedCellError

# Cards that describe a cell. Analyses, options and output belong to the deck that norsim writes around it.
CIRCUIT = {".subckt", ".ends", ".model", ".param", ".params", ".func", ".global", ".if", ".elseif", ".else", ".endif"}
INCLUDES = {".include", ".inc", ".lib"}
# Marks around text that other simulators must not list; ngspice does not know them.
MARKS = {".prot", ".unprot", ".protect", ".unprotect"}
OPTIONS = {".option", ".options", ".opt"}
DEVICES = set("bcdefghijklmqrstuvwxz")
COMMENTS = ("*", "$", ";", "//")
FILES = re.compile(r"\bfile\s*=|\b(?:input|process|lib|sim)_(?:file|args)\b", re.IGNORECASE)
SECTION = re.compile(r"^\s*\.lib\s+(\w+)\s*$", re.IGNORECASE | re.MULTILINE)
# Functions that return a new random number in each process. A cell must be the same in all processes; norsim draws its
# own random numbers by seed.
DRAWN = re.compile(r"\b(a?gauss|a?unif|limit)\s*\(", re.IGNORECASE)
LARGEST_BYTES = 1 << 26
DEEPEST = 16


@dataclass(frozen=True)
class Source:
    """The allowed places of SPICE files, and whether files are checked.

    `folders`   files must be in one of these folders, or below
    `trusted`   files can be anywhere and have any card
    """

    folders: tuple[Path, ...]
    trusted: bool = False

    def read(self, path: Path, section: str | None = None) -> str:
        """Return the text of a file, or of its section that `.lib SECTION` begins, with `.include` and `.lib` cards
        replaced by the files and library sections that they name, relative to the file.

        Raises ConfigurationError with file and line for a file that cannot be read or is not text, for a file or an
        include outside the folders, and for a card or device that does not describe a circuit.
        """
        lines = self._lines(path, section.lower() if section else None, 0)
        return "\n".join(lines).rstrip("\n") + "\n"

    def _lines(self, path: Path, section: str | None, depth: int) -> Iterator[str]:
        """Yield the lines of one library section of a file, or the lines outside any section."""
        inside, found = None, section is None
        for number, line in enumerate(self._text(path).split("\n"), start=1):
            words, where = line.split(), f"{path}, line {number}"
            card = words[0].lower() if words else ""
            if not self.trusted:
                _check(line, card, where)
            if DRAWN.search(line) and not card.startswith(COMMENTS):
                drawn = DRAWN.findall(line)[0]
                raise ConfigurationError(
                    f"{where}: {line.strip()[:80]!r} is not allowed: {drawn}() returns another number in each run of "
                    "the simulator. Use its mean, and set the spread of cells under silicon in the chip file"
                )
            if card == ".lib" and len(words) == 2:
                inside = words[1].lower()
                found = found or inside == section
            elif card == ".endl":
                inside = None
            elif inside == section and card in INCLUDES:
                if depth == DEEPEST:
                    _refuse(where, line, f"includes nest more than {DEEPEST} deep")
                yield from self._lines(*_included(path, line, where), depth + 1)
            elif inside == section and card not in MARKS:
                yield line
        if not found:
            there = ", ".join(dict.fromkeys(SECTION.findall(self._text(path)))) or "none"
            raise ConfigurationError(f"{path} has no library section {section!r}; its sections: {there}")

    def _text(self, path: Path) -> str:
        real = path.resolve()
        if not self.trusted and not any(real.is_relative_to(folder.resolve()) for folder in self.folders):
            raise UntrustedCellError(
                f"{path} is outside {' and '.join(map(str, self.folders))}. Move it there, or trust the cell's files"
            )
        try:
            if real.stat().st_size > LARGEST_BYTES:
                raise ConfigurationError(f"{path} has {real.stat().st_size} bytes; the limit is {LARGEST_BYTES}")
            return real.read_text()
        except (OSError, UnicodeDecodeError) as problem:
            raise ConfigurationError(f"{path} cannot be read: {problem}") from None


def _included(path: Path, line: str, where: str) -> tuple[Path, str | None]:
    """Return the file that an `.include` or `.lib` card names, and its section."""
    card, *rest = line.split(maxsplit=1)
    if not rest:
        _refuse(where, line, "it names no file")
    name, section = (rest[0], None) if card.lower() != ".lib" else rest[0].rsplit(maxsplit=1)
    return path.parent / name.strip().strip("\"'"), section.lower() if section else None


def _check(line: str, card: str, where: str) -> None:
    if any(not (letter.isprintable() or letter == "\t") for letter in line):
        _refuse(where, line, "it has a control character")
    if card.startswith("*#"):
        _refuse(where, line, "ngspice runs the text after *# as a command")
    if not card or card.startswith(COMMENTS):
        return
    if card.startswith("."):
        if card in OPTIONS:
            _refuse(where, line, "options belong under cell.options in the chip file")
        if card not in CIRCUIT | INCLUDES | MARKS | {".endl"}:
            _refuse(where, line, f"{card} does not describe a circuit")
    elif card[0] not in DEVICES | {"+"}:
        _refuse(where, line, f"devices with the letter {card[0]!r} are not allowed")
    if FILES.search(line):
        _refuse(where, line, "it names a file")


def _refuse(where: str, line: str, why: str) -> NoReturn:
    raise UntrustedCellError(
        f"{where}: {line.strip()[:80]!r} is not allowed: {why}. Remove it, or trust the cell's files if you know them"
    )
