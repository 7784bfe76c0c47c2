"""A file of results as lines, and its columns checked: what all formats have in common."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from norsim.array.tile import Floats
from norsim.errors import SolveError

LARGEST_BYTES = 1 << 28
# HSPICE's scale factors, where it does not print powers of ten.
SCALES = {
    "t": 1e12, "g": 1e9, "meg": 1e6, "x": 1e6, "k": 1e3, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12,
    "f": 1e-15, "a": 1e-18,
}  # fmt: skip
NUMBER = re.compile(
    r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)|([+-]?(?:\d+\.?\d*|\.\d+))(meg|[tgxkmunpfa])", re.IGNORECASE | re.ASCII
)


class Text(NamedTuple):
    """The lines of a file, and whether the last of them ended."""

    path: Path
    lines: list[str]
    ended: bool

    def refuse(self, place: int, why: str) -> NoReturn:
        """Raises SolveError that names a line by its index."""
        raise SolveError(f"{self.path}, line {place + 1}: {self.lines[place].strip()[:80]!r}: {why}")

    def once(self, place: int, names: list[str]) -> None:
        """Raises SolveError for a name that is there twice."""
        for name, times in Counter(names).items():
            if times > 1:
                self.refuse(place, f"{name} is there {times} times")

    def number(self, place: int, word: str) -> float:
        """A number, with a power of ten, a scale factor or neither. Raises SolveError for any other word."""
        match = NUMBER.fullmatch(word)
        if match is None:
            self.refuse(place, f"{word[:40]!r} is not a number")
        plain, scaled, scale = match.groups()
        return float(plain) if plain else float(scaled) * SCALES[scale.lower()]


def read_text(path: Path) -> Text:
    """The file's lines. Raises SolveError for one that is empty, too large or no text."""
    try:
        size = path.stat().st_size
        if not 0 < size <= LARGEST_BYTES:
            raise SolveError(f"{path} has {size} bytes; 1 to {LARGEST_BYTES} were expected")
        content = path.read_bytes()
    except OSError as problem:
        raise SolveError(f"{path} cannot be read: {problem.strerror}") from None
    if b"\0" in content:
        raise SolveError(f"{path} is binary, and no raw file of ngspice's: have the simulator write text")
    text = content.decode("utf-8", errors="replace").replace("\r\n", "\n")
    return Text(path, text.split("\n"), text.endswith("\n"))


def named(name: str) -> str:
    """A vector's name as ngspice has it: `I(VBL0)`, or `i(vbl0` as some of HSPICE's files cut it, is `i(vbl0)`."""
    small = re.sub(r"\s", "", name.lower())
    return f"{small})" if "(" in small and not small.endswith(")") else small


def gathered(text: Text, columns: dict[str, list[float]], names: list[str], points: int) -> Floats:
    """`[points, names]`, in the order asked for. Raises SolveError for what is missing, too short or not finite."""
    missing = [name for name in names if name not in columns]
    if missing:
        raise SolveError(f"{text.path} lacks {len(missing)} of the vectors asked for, the first is {missing[0]}")
    for name in names:
        if len(columns[name]) != points:
            raise SolveError(f"{text.path} has {len(columns[name])} points of {name}; {points} were expected")
    table: Floats = np.array([columns[name] for name in names], dtype=np.float64).T
    bad = np.argwhere(~np.isfinite(table))
    if len(bad):
        point, column = bad[0]
        raise SolveError(
            f"{text.path}: {names[column]} is {table[point, column]} at point {point}, not a finite current"
        )
    return table
