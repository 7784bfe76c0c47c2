"""Reads what the site's simulator wrote: told apart by what is in a file, not by its name, and believed as little as
ngspice's own."""

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


class Results(NamedTuple):
    """`table` `[points, names]`, in the order asked for; which format it was in; what the simulator warned of."""

    table: Floats
    format: str
    warnings: tuple[str, ...] = ()


def read_results(path: Path, names: list[str], points: int) -> Results:
    """The named vectors of a file of results: HSPICE's listing or CSDF, a table of Xyce's, a raw file of ngspice's.

    Raises SolveError with the line where the file is in no such format, speaks of an error, is cut short, or lacks a
    vector or a point, has one twice, or holds what is not a finite number.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(6)
    except OSError as problem:
        raise SolveError(f"{path} cannot be read: {problem.strerror}") from None
    if start == b"Title:":
        return Results(read_raw(path, names, points), "ngspice raw file")
    text = read_text(path)
    for kind, is_one, columns in READERS:
        if is_one(text):
            return Results(gathered(text, columns(text), names, points), kind, tuple(hspice.warnings(text)))
    raise SolveError(
        f"{path} is in no format that is known: HSPICE's listing or CSDF, Xyce's .prn or .csv, ngspice's raw file"
    )
