"""Reader of measured curves in CSV: a heading, then one point a line, each sweep in one piece."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from norsim.array.measured import ZERO_CELSIUS
from norsim.cell_fit.columns import lines_of, number, places, require
from norsim.cell_fit.measured import ALL_STATES, Curve, checked
from norsim.errors import DataError

TERMINALS = ("gate", "drain", "source", "bulk")


@dataclass(frozen=True)
class _Point:
    volts: tuple[float, float, float, float]
    amps: float
    state: str
    kelvin: float
    line: int


def read_csv(path: Path, kelvin: float) -> list[Curve]:
    """Return the curves of a CSV file; `kelvin` is the temperature if no column states it.

    A curve goes on as long as the same one of gate and drain voltage changes in the same direction, and nothing else.
    Raises DataError, with file and line, for a missing column, a ragged row, and a value that is no finite number.
    """
    curves = [checked(_curve(path, points)) for points in _sweeps(list(_points(path, kelvin)))]
    if not curves:
        raise DataError(f"{path} has no points; expected a heading and a point on each line below")
    return curves


def _points(path: Path, kelvin: float) -> Iterator[_Point]:
    names: list[str] = []
    found: dict[str, int] = {}
    rows = csv.reader(lines_of(path))
    while True:
        try:
            row = next(rows, None)
        except csv.Error as problem:
            raise DataError(f"{path}, line {rows.line_num}: not CSV: {problem}") from None
        if row is None:
            return
        where = f"{path}, line {rows.line_num}"
        if not any(word.strip() for word in row) or row[0].lstrip().startswith("#"):
            continue
        if not names:
            names, found = row, places(row, where)
            require(found, ("gate", "drain", "amps"), where, names)
            continue
        if len(row) != len(names):
            raise DataError(f"{where}: {len(row)} values; expected {len(names)}, one for each column of the heading")
        yield _point(row, names, found, where, kelvin, rows.line_num)


def _point(row: list[str], names: list[str], found: Mapping[str, int], where: str, kelvin: float, line: int) -> _Point:
    def value(quantity: str, otherwise: float) -> float:
        place = found.get(quantity)
        return otherwise if place is None else number(row[place], names[place], where)

    volts = tuple(value(terminal, 0.0) for terminal in TERMINALS)
    warm = value("celsius", kelvin - ZERO_CELSIUS) + ZERO_CELSIUS
    state = row[found["state"]].strip() if "state" in found else ALL_STATES
    return _Point((volts[0], volts[1], volts[2], volts[3]), value("amps", 0.0), state, value("kelvin", warm), line)


def _sweeps(points: list[_Point]) -> Iterator[list[_Point]]:
    """Yield the points of each sweep."""
    sweep: list[_Point] = []
    for point in points:
        step = _step(sweep[-1], point) if sweep else None
        if sweep and (step is None or (len(sweep) > 1 and step != _step(*sweep[-2:]))):
            yield sweep
            sweep = []
        sweep.append(point)
    if sweep:
        yield sweep


def _step(first: _Point, second: _Point) -> tuple[int, bool] | None:
    """Return which of gate and drain changes alone, and whether it rises; None if it is not one of them alone."""
    if (first.state, first.kelvin) != (second.state, second.kelvin):
        return None
    changed = [place for place in range(len(TERMINALS)) if first.volts[place] != second.volts[place]]
    if len(changed) != 1 or changed[0] > 1:
        return None
    return changed[0], second.volts[changed[0]] > first.volts[changed[0]]


def _curve(path: Path, points: list[_Point]) -> Curve:
    step = _step(*points[:2]) if len(points) > 1 else None
    swept = TERMINALS[step[0]] if step else "gate"
    gate, drain, source, bulk = np.array([point.volts for point in points]).T
    amps, first = np.array([point.amps for point in points]), points[0]
    return Curve(swept, gate, drain, source, bulk, amps, first.state, first.kelvin, f"{path}, line {first.line}")
