"""Reader of Keysight IC-CAP measured data files, `.mdm`.

A file has a header, which names inputs and outputs, and blocks BEGIN_DB ... END_DB, one a curve. Lines ICCAP_VAR of a
block hold the constant inputs, the line that begins with `#` names the columns, the swept input first (IC-CAP User's
Guide, "Data Manager file format"). Inputs with the sweep type CON are in the header only in some files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from norsim.array.measured import ZERO_CELSIUS
from norsim.cell_fit.columns import lines_of, meaning, number, places, quantity_of, require
from norsim.cell_fit.measured import ALL_STATES, Curve, checked
from norsim.errors import DataError


@dataclass
class _Block:
    """A block while it is read: its constants by quantity, its columns, and its rows."""

    line: int
    constants: dict[str, float]
    state: str = ALL_STATES
    names: list[str] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)


def read_mdm(path: Path, kelvin: float) -> list[Curve]:
    """Return the curves of a `.mdm` file; `kelvin` is the temperature of a curve that states none.

    Raises DataError, with file and line, for a file that is damaged or lacks a voltage, the current or the sweep.
    """
    lines = lines_of(path)
    curves = [checked(_curve(path, block, kelvin)) for block in _blocks(path, lines)]
    if not curves:
        raise DataError(f"{path} has no block BEGIN_DB ... END_DB; expected the text of an IC-CAP .mdm file")
    return curves


def _blocks(path: Path, lines: list[str]) -> Iterator[_Block]:
    constants: dict[str, float] = {}
    block: _Block | None = None
    for place, line in enumerate(lines, 1):
        where, words = f"{path}, line {place}", line.split()
        if not words or words[0] == "!":
            continue
        if words[0] == "BEGIN_DB":
            if block is not None:
                raise DataError(f"{where}: BEGIN_DB inside the block of line {block.line}, which has no END_DB")
            block = _Block(place, dict(constants))
        elif words[0] == "END_DB":
            if block is None:
                raise DataError(f"{where}: END_DB without BEGIN_DB")
            yield block
            block = None
        elif block is None:
            _constant_input(words, constants)
        elif words[0] == "ICCAP_VAR":
            _variable(words, block, where)
        elif words[0].startswith("#"):
            block.names = [name for name in (words[0][1:], *words[1:]) if name]
        else:
            block.rows.append(_row(words, block, where))
    if block is not None:
        raise DataError(f"{path}: the block of line {block.line} has no END_DB; the file ends at line {len(lines)}")


def _constant_input(words: list[str], constants: dict[str, float]) -> None:
    """Keep an input of the header that is constant: NAME V node node unit compliance CON VALUE."""
    if len(words) >= 4 and words[1] == "V" and words[-2] == "CON":
        quantity = quantity_of(words[0])
        if quantity is not None:
            constants[quantity] = number(words[-1], words[0], "the header")


def _variable(words: list[str], block: _Block, where: str) -> None:
    if len(words) < 3:
        raise DataError(f"{where}: {' '.join(words)!r} has no value; expected ICCAP_VAR NAME VALUE")
    quantity = quantity_of(words[1])
    if quantity == "state":
        block.state = " ".join(words[2:])
    elif quantity is not None:
        block.constants[quantity] = number(words[2], words[1], where)


def _row(words: list[str], block: _Block, where: str) -> list[float]:
    if not block.names:
        raise DataError(f"{where}: numbers before the line '#...' that names the swept voltage and the columns")
    if len(words) != len(block.names):
        raise DataError(f"{where}: {len(words)} numbers; expected {len(block.names)}, {' '.join(block.names)}")
    used = [quantity_of(name) for name in block.names]
    pairs = zip(words, block.names, used, strict=True)
    return [number(text, name, where) if quantity else 0.0 for text, name, quantity in pairs]


def _curve(path: Path, block: _Block, kelvin: float) -> Curve:
    where = f"{path}, line {block.line}"
    if not block.names:
        raise DataError(f"{where}: the block has no line '#...' that names the swept voltage and the columns")
    found = places(block.names, where)
    swept = quantity_of(block.names[0])
    if swept not in ("gate", "drain"):
        what = f"the {meaning(swept)}" if swept else "no voltage that is known"
        raise DataError(f"{where}: the sweep, {block.names[0]}, is {what}; expected that of the gate or the drain")
    require({*found, *block.constants}, ("gate", "drain", "amps"), where, [*block.names, *block.constants])
    rows = np.array(block.rows).reshape(len(block.rows), len(block.names))

    def column(quantity: str) -> np.ndarray:
        if quantity in found:
            return rows[:, found[quantity]]
        return np.full(len(rows), block.constants.get(quantity, 0.0))

    gate, drain, source, bulk = (column(quantity) for quantity in ("gate", "drain", "source", "bulk"))
    warm = _kelvin(block.constants, kelvin)
    return Curve(swept, gate, drain, source, bulk, column("amps"), block.state, warm, where)


def _kelvin(constants: Mapping[str, float], otherwise: float) -> float:
    if "kelvin" in constants:
        return constants["kelvin"]
    return constants["celsius"] + ZERO_CELSIUS if "celsius" in constants else otherwise
