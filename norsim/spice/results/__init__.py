"""Readers of other simulators' results. The format is detected from a file's content, not its name, and the content is
checked as that of ngspice's files is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from norsim.array.tile import Floats
from norsim.errors import SolveError
from norsim.spice.rawfile import read_raw
from norsim.spice.results import csdf, hspice, xyce
from norsim.spice.results.text import Text, gathered, read_text

READERS: tuple[tuple[str, Callable[[Text], bool], Callable[[Text], dict[str, list[float]]]], ...] = (
    ("CSDF", csdf.is_one, csdf.columns),
    ("HSPICE listing", hspice.is_one, hspice.columns),
    ("Xyce table", xyce.is_one, xyce.columns),
)


# In the names of currents in VACASK's raw files, and how much of a file has the first of them.
BRANCH, HEADER_BYTES = b"flow(br)", 4096


class Results(NamedTuple):
    """The requested vectors, `table` `[points, names]`, the format of the file, and the simulator's warnings."""

    table: Floats
    format: str
    warnings: tuple[str, ...] = ()


def read_results(path: Path, names: list[str], points: int) -> Results:
    """Read the named vectors of a file of results: an HSPICE listing or CSDF, a Xyce table, or a raw file of ngspice or
    VACASK.

    Raises SolveError with the line if the file has no such format, reports an error, is truncated, lacks a vector or a
    point, has one twice, or has a value that is not a finite number.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(HEADER_BYTES)
    except OSError as problem:
        raise SolveError(f"{path} cannot be read: {problem.strerror}") from None
    if start.startswith(b"Title:") and BRANCH in start:
        found = read_raw(path, [f"{name[2:-1]}:{BRANCH.decode()}" for name in names], points, "VACASK")
        return Results(found, "VACASK raw file")
    if start.startswith(b"Title:"):
        return Results(read_raw(path, names, points), "ngspice raw file")
    text = read_text(path)
    for kind, is_one, columns in READERS:
        if is_one(text):
            return Results(gathered(text, columns(text), names, points), kind, tuple(hspice.warnings(text)))
    raise SolveError(
        f"{path} has no known format: expected an HSPICE listing or CSDF, a Xyce .prn or .csv, or a raw file of "
        "ngspice or VACASK"
    )
