"""Read user-supplied cell and model files with their includes, and reject files with which ngspice would do more than
solve a circuit.

ngspice runs the commands of a `.control` block, of any card that begins like it, and of comments that begin with `*#`;
some of these start programs and write files. Code models (A devices), Verilog devices (N) and `file=` parameters load
or read files. So only listed constructs are allowed; anything else raises an error with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from norsim.errors import ConfigurationError, UntrustedCellError
from norsim.spice.lines import FOREIGN, Card, Line, cards, lines_of, readable, text_of, without_remark
from norsim.spice.options import OWN_OPTIONS, is_option, options_of

# Cards that describe a cell. Analyses, options and output belong to the deck that norsim writes around it.
PARAMETERS = {".param", ".params", ".para", ".parameter", ".parameters"}
CIRCUIT = {".subckt", ".ends", ".model", ".func", ".global", ".if", ".elseif", ".else", ".endif"} | PARAMETERS
# A card that only defines a variable of ngspice's command language. It becomes a comment.
IDLE = {".csparam"}
# Marks around text that other simulators must not list; ngspice does not know them.
MARKS = {".prot", ".unprot", ".protect", ".unprotect"}
# Cards that would change or add to the analysis of norsim's deck; trusted files cannot have them either.
ANALYSES = {
    ".temp", ".op", ".dc", ".tran", ".ac", ".tf", ".noise", ".disto", ".pz", ".sens", ".sp", ".pss", ".four", ".save",
    ".print", ".plot", ".probe", ".meas", ".measure", ".width",
}  # fmt: skip
DEVICES = set("bcdefghijklmqrstuvwxz")
FILES = re.compile(r"\bfile\s*=|\b(?:input|process|lib|sim)_(?:file|args)\b", re.IGNORECASE)
# Characters that some programs take for the end of a line; remarks can have any other.
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
LARGEST_BYTES = 1 << 26
DEEPEST = 16


@dataclass(frozen=True)
class Source:
    """The allowed places of SPICE files, and whether files are checked.

    `folders`   files must be in one of these folders, or below; the first is where ngspice would run
    `trusted`   files can be anywhere and have any card that leaves the analysis to norsim
    `mode`      ngspice's compatibility mode, which determines remarks and the meaning of `.lib FILE`
    """

    folders: tuple[Path, ...]
    trusted: bool = False
    mode: str = ""

    def read(self, path: Path, section: str | None = None) -> str:
        """Return the text of a file, or of its section that `.lib SECTION` begins, with `.include` and `.lib` cards
        replaced by the files and library sections that they name, relative to the file or to the first folder.

        Raises ConfigurationError with file and line for a file that cannot be read or is not text, for a file or an
        include outside the folders, and for a card or device that does not describe a circuit.
        """
        return text_of(self.cards(path, section))

    def cards(self, path: Path, section: str | None = None) -> list[Card]:
        """Return the same as cards, each with its file and line; raises the same errors."""
        known: dict[Path, list[Card]] = {}
        found = self._file(path, known) if section is None else self._section(path, section, known)
        return list(self._expanded(found, 0, known))

    def sections(self, path: Path) -> list[str]:
        """Return the names of a file's library sections, in lower case; raises the same errors."""
        return list(_starts(self._file(path, {})))

    def _file(self, path: Path, known: dict[Path, list[Card]]) -> list[Card]:
        """Return the cards of a file with its includes; `.lib` cards are left. `known` has the files read before."""
        if path not in known:
            known[path] = list(cards(self._lines(path, 0), "ps" not in self.mode))
        return known[path]

    def _checked(self, card: Card) -> Card:
        """Return a card that is part of the cell; cards of other sections of a library are not checked."""
        if FOREIGN.search(card.text):
            _invalid(card.lines[0], "it has a letter that is not in UTF-8. Save the file in UTF-8")
        if not self.trusted:
            _check(card)
        elif card.name in ANALYSES or (is_option(card) and OWN_OPTIONS & set(re.split(r"[\s=]+", card.text.lower()))):
            raise ConfigurationError(
                f"{card.where}: {card.text[:80]!r} would change the analysis. Remove it; options belong under "
                "cell.options in the chip file, the temperature under temperature"
            )
        return card

    def _lines(self, path: Path, depth: int) -> Iterator[Line]:
        """Yield the lines of a file and of the files that it includes."""
        for line in lines_of(self._text(path), str(path)):
            if line.text.startswith("@"):
                return  # the end of the file for ngspice
            if self._includes(line.text):
                bare = line._replace(text=without_remark(line.text, "ps" not in self.mode))
                if depth == DEEPEST:
                    _invalid(bare, f"includes nest more than {DEEPEST} deep")
                yield from self._lines(self._found(_quoted(bare), bare), depth + 1)
            else:
                yield line

    def _includes(self, text: str) -> bool:
        # In these modes ngspice takes `.lib FILE` for an include.
        old_style = any(mode in self.mode for mode in ("lt", "ps"))
        return text.lower().startswith((".inc", ".lib") if old_style else ".inc")

    def _expanded(self, found: Iterable[Card], depth: int, known: dict[Path, list[Card]]) -> Iterator[Card]:
        """Yield cards with the library sections that they name."""
        for card in found:
            words = _words(card.text) if card.name.startswith(".lib") else []
            if card.name.startswith(".endl") or len(words) == 1:
                _invalid(
                    card.lines[0],
                    "ngspice takes no section of a library here. Read one section of the file: with `.lib FILE "
                    "SECTION`, or with {file: FILE, section: SECTION} under cell.models in the chip file",
                )
            elif card.name.startswith(".lib"):
                if len(words) < 2:
                    _invalid(card.lines[0], "it names no file")
                if depth == DEEPEST:
                    _invalid(card.lines[0], f"includes nest more than {DEEPEST} deep")
                section = self._section(self._found(words[0], card.lines[0]), words[1], known)
                yield from self._expanded(section, depth + 1, known)
            elif card.name in IDLE:
                yield self._checked(Card("", tuple(line._replace(text=f"* {line.text}") for line in card.lines)))
            elif card.name not in MARKS:
                yield self._checked(card)

    def _section(self, path: Path, section: str, known: dict[Path, list[Card]]) -> list[Card]:
        """Return the cards between `.lib SECTION` and the next `.endl` of a file."""
        found = self._file(path, known)
        starts = _starts(found)
        start = starts.get(section.lower())
        if start is None:
            there = ", ".join(starts) or "none"
            raise ConfigurationError(f"{path} has no library section {section!r}; its sections: {there}")
        for end in range(start + 1, len(found)):
            if found[end].name.startswith(".endl"):
                return found[start + 1 : end]
        _invalid(found[start].lines[0], "the section has no .endl")

    def _found(self, name: str, line: Line) -> Path:
        """Return the path of a file that a card names: beside the card's file, or in the folder where ngspice runs."""
        if CONTROL.search(name):
            _invalid(line, "the name of the file has a control character")
        there = [folder / name for folder in (Path(line.file).parent, self.folders[0])]
        files = [path for path in there if is_file(path)]
        if len(files) > 1 and not files[0].samefile(files[1]) and files[0].read_bytes() != files[1].read_bytes():
            _invalid(line, f"{files[0]} and {files[1]} differ, and simulators choose differently. Remove one of them")
        if not files and all(self._may_be(path) for path in there):
            _invalid(line, f"there is no file {name!r} beside it or in {self.folders[0]}")
        return files[0] if files else there[0]

    def _may_be(self, path: Path) -> bool:
        """Return whether a file may be at `path`."""
        try:
            real = path.resolve()
        except (OSError, RuntimeError):
            return True  # a loop of links: there is no file
        return self.trusted or any(real.is_relative_to(folder.resolve()) for folder in self.folders)

    def _text(self, path: Path) -> str:
        if not self._may_be(path):
            raise UntrustedCellError(
                f"{path} is outside {' and '.join(map(str, self.folders))}. Move it there, or trust the cell's files"
            )
        try:
            if path.stat().st_size > LARGEST_BYTES:
                raise ConfigurationError(f"{path} has {path.stat().st_size} bytes; the limit is {LARGEST_BYTES}")
            return decoded(path.read_bytes())
        except (OSError, ValueError) as problem:
            raise ConfigurationError(f"{path} cannot be read: {problem}") from None


def _starts(found: list[Card]) -> dict[str, int]:
    """Return the place of the card that begins each library section, by its name in lower case; the first counts."""
    starts: dict[str, int] = {}
    for place, card in enumerate(found):
        words = _words(card.text) if card.name.startswith(".lib") else []
        if len(words) == 1:
            starts.setdefault(words[0].lower(), place)
    return starts


def is_file(path: Path) -> bool:
    """Return whether there is a file, also for names that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def decoded(content: bytes) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark. Bytes that are not UTF-8 are surrogates.

    Raises ValueError for UTF-16, which no simulator reads.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("it is in UTF-16; save it in UTF-8")
    return content.decode("utf-8-sig", "surrogateescape")


def _words(text: str) -> list[str]:
    """Return the words after the name of a `.lib` card, as ngspice splits them: at blanks and quotes."""
    return re.findall(r"[^\s'\"]+", text, re.ASCII)[1:]


def _quoted(line: Line) -> str:
    """Return the file that an `.include` card names: a text in quotes, or a word."""
    match = re.match(r"""\S+\s+(?:'([^']+)'|"([^"]+)"|([^\s'"]\S*))""", line.text, re.ASCII)
    if match is None:
        _invalid(line, "it names no file")
    return match[match.lastindex or 0]


def _check(card: Card) -> None:
    for line in card.lines:
        if CONTROL.search(line.text):
            _refuse(line, "it has a control character")
        if line.text.startswith("*#"):
            _refuse(line, "ngspice runs the text after *# as a command")
        if not card.text and line.text.startswith("."):
            _refuse(line, "ngspice runs the commands of a control block")
    name, first = card.name, card.lines[0]
    if not name:
        return
    if name.startswith("."):
        if is_option(card) and not options_of(card):
            _refuse(first, "a file can only have options that models need, with a number each; see cell.options")
        if not is_option(card) and name not in CIRCUIT:
            _refuse(first, f"{name} does not describe a circuit")
    elif name[0] == "+":
        _refuse(first, "it continues no card")
    elif name[0] == "n":
        _refuse(
            first,
            "an N device is a compiled Verilog-A model, whose file belongs under cell.osdi, or its source under "
            "cell.verilog_a, in the chip file; with cell.module no netlist is needed",
        )
    elif name[0] not in DEVICES:
        _refuse(first, f"devices with the letter {name[0]!r} are not allowed")
    if not card.text.replace("\t", " ").isprintable():
        _refuse(first, "it has a blank or a mark that is no visible letter")
    if FILES.search(card.text):
        _refuse(first, "it names a file")


def _invalid(line: Line, why: str) -> NoReturn:
    raise ConfigurationError(f"{line.file}, line {line.number}: {readable(line.text)[:80]!r} cannot be read: {why}")


def _refuse(line: Line, why: str) -> NoReturn:
    raise UntrustedCellError(
        f"{line.file}, line {line.number}: {line.text.strip()[:80]!r} is not allowed: {why}. Remove it, or trust the "
        "cell's files if you know them"
    )
