"""The common part of all text formats: a results file as lines, and checks of its columns."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from norsim.array.tile import Floats
from norsim.errors import SolveError

LARGEST_BYTES = 1 << 28
# HSPICE's scale factors, which it can print instead of powers of ten.
SCALES = {
    "t": 1e12, "g": 1e9, "meg": 1e6, "x": 1e6, "k": 1e3, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12,
    "f": 1e-15, "a": 1e-18,
}  # fmt: skip
NUMBER = re.compile(
    r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)|([+-]?(?:\d+\.?\d*|\.\d+))(meg|[tgxkmunpfa])", re.IGNORECASE | re.ASCII
)


class Text(NamedTuple):
    """The lines of a file, and whether the last one is terminated."""

    path: Path
    lines: list[str]
    ended: bool

    def refuse(self, place: int, why: str) -> NoReturn:
        """Raise a SolveError that names the line with index `place`."""
        raise SolveError(f"{self.path}, line {place + 1}: {self.lines[place].strip()[:80]!r}: {why}")

    def once(self, place: int, names: list[str]) -> None:
        """Raise SolveError for a name that occurs twice."""
        for name, times in Counter(names).items():
            if times > 1:
                self.refuse(place, f"{name} occurs {times} times")

    def number(self, place: int, word: str) -> float:
        """Parse a number with a power of ten, a scale factor or neither. Raises SolveError for any other word."""
        match = NUMBER.fullmatch(word)
        if match is None:
            self.refuse(place, f"{word[:40]!r} is not a number")
        plain, scaled, scale = match.groups()
        return float(plain) if plain else float(scaled) * SCALES[scale.lower()]


def read_text(path: Path) -> Text:
    """Read a file's lines. Raises SolveError for a file that is empty, too large or not text."""
    try:
        size = path.stat().st_size
        if not 0 < size <= LARGEST_BYTES:
            raise SolveError(f"{path} has {size} bytes; expected 1 to {LARGEST_BYTES}")
        content = path.read_bytes()
    except OSError as problem:
        raise SolveError(f"{path} cannot be read: {problem.strerror}") from None
    if b"\0" in content:
        raise SolveError(f"{path} is binary, but not an ngspice raw file: set the simulator to write text")
    text = content.decode("utf-8", errors="replace").replace("\r\n", "\n")
    return Text(path, text.split("\n"), text.endswith("\n"))


def named(name: str) -> str:
    """Return a vector's name in ngspice's form: `I(VBL0)`, or `i(vbl0` as cut in some HSPICE files, is `i(vbl0)`."""
    small = re.sub(r"\s", "", name.lower())
    return f"{small})" if "(" in small and not small.endswith(")") else small


def gathered(text: Text, columns: dict[str, list[float]], names: list[str], points: int) -> Floats:
    """Return `[points, names]`, in the order of `names`. Raises SolveError for missing, short or not finite columns."""
    missing = [name for name in names if name not in columns]
    if missing:
        raise SolveError(f"{text.path} lacks {len(missing)} of the requested vectors, the first is {missing[0]}")
    for name in names:
        if len(columns[name]) != points:
            raise SolveError(f"{text.path} has {len(columns[name])} points of {name}; expected {points}")
    table: Floats = np.array([columns[name] for name in names], dtype=np.float64).T
    bad = np.argwhere(~np.isfinite(table))
    if len(bad):
        point, column = bad[0]
        raise SolveError(
            f"{text.path}: {names[column]} is {table[point, column]} at point {point}, not a finite current"
        )
    return table
