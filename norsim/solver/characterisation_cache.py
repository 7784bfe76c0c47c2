"""Which volts a tile's cells can see, and the characterisations already made of them, kept on disk."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.files import replace_file
from norsim.solver import characterize
from norsim.solver.characterize import Box, CellTable, Sweep
from norsim.solver.threshold_interpolation import between

FORMAT = 3
# Beyond what a solve reaches, as a share of the width: room to take slopes at the very edge.
MARGIN = 0.05
STEPS = (1, 1.5, 2, 3, 5, 7, 10)
# More thresholds than these are interpolated between others; and they are told apart by so many volts only for bounds.
MOST_STATES = 64
COARSE_VOLTS = 0.01


def bounds(tile: Tile, stimulus: Stimulus, sweep: Sweep) -> Box:
    """A box that holds the volts of every cell of `tile` under `stimulus`.

    Wires only lower currents, so the drops under the currents of a tile without wires are never exceeded;
    and no node of a resistive network lies outside the volts that drive it. Widths are rounded up to few
    values a decade, so that like tiles share a characterisation.
    """
    gate, high = float(stimulus.wordline_volts.max()), float(stimulus.bitline_volts.max())
    low, ground = float(stimulus.bitline_volts.min()), stimulus.source_volts
    states, where = np.unique(tile.thresholds, return_inverse=True)
    if len(states) > MOST_STATES:
        # A lower threshold draws more.
        states, where = np.unique(np.floor(tile.thresholds / COARSE_VOLTS) * COARSE_VOLTS, return_inverse=True)
    amps = _amps(tile.cell, gate, high, ground, tuple(states.tolist()), sweep)[where.reshape(tile.thresholds.shape)]
    drop, rise = min(_drop(tile, amps), high - ground), min(_rise(tile, amps), high - ground)
    # No current flows back into a bitline but from neighbours' rise.
    across_low = max(low - drop - rise - ground, 0.0 if low == high else -rise)
    width = _rounded(1.02 * (high - ground - across_low) + 1e-4)
    lift = _rounded(1.02 * rise + 1e-4)
    top = high - ground + MARGIN * width
    least = -lift if across_low < 0 else max(top - (1 + MARGIN) * width, 0.0)
    return Box(least, top, ground - MARGIN * lift, ground + lift)


@lru_cache(maxsize=256)
def _amps(cell: Cell, gate: float, drain: float, source: float, thresholds: tuple[float, ...], sweep: Sweep) -> Floats:
    """`[n]`: currents of single cells at those volts. Tiles with the same levels ask for the same."""
    one = np.ones(len(thresholds))
    amps = sweep(cell, gate * one, drain * one, source * one, np.array(thresholds))
    amps.setflags(write=False)
    return amps


def _drop(tile: Tile, amps: Floats) -> float:
    """Largest fall along a bitline with cells drawing `amps` `[wordlines, bitlines]`."""
    beyond = np.cumsum(amps[::-1], axis=0)[::-1]
    return float((tile.wires.bitline_end_ohms * beyond[0] + tile.wires.bitline_ohms * beyond[1:].sum(axis=0)).max())


def _rise(tile: Tile, amps: Floats) -> float:
    """Largest rise along a source line."""
    wires, per_line = tile.wires, tile.wires.rows_per_source_line
    padded = np.pad(amps, ((0, -len(amps) % per_line), (0, 0)))
    lines = padded.reshape(-1, per_line, tile.bitlines).sum(axis=1)
    if wires.strap_every is None:
        beyond = np.cumsum(lines[:, ::-1], axis=1)[:, ::-1]
        return float((wires.source_end_ohms * beyond[:, 0] + wires.source_ohms * beyond[:, 1:].sum(axis=1)).max())
    # All of a segment's current at its middle, and all of a line's through one strap: more than can be.
    groups = np.add.reduceat(lines, np.arange(0, tile.bitlines, wires.strap_every), axis=1)
    middle = wires.source_ohms * (min(wires.strap_every, tile.bitlines) + 1) / 4
    return float((middle * groups.max(axis=1) + wires.source_end_ohms * lines.sum(axis=1)).max())


def _rounded(volts: float) -> float:
    """The next of STEPS times a power of ten, above 0.1 mV."""
    decade = 10.0 ** np.floor(np.log10(max(volts, 1e-4)))
    return float(next(step * decade for step in STEPS if volts <= step * decade * (1 + 1e-9)))


def table(cell: Cell, gates: Floats, thresholds: Floats, box: Box, sweep: Sweep, simulator: str) -> CellTable:
    """The characterisation of `cell` at gate volts `[gates]` and thresholds `[thresholds]`.

    It comes from memory, from disk, or is made now by `sweep`.

    Where there are more than 64 thresholds it is interpolated (norsim.solver.threshold_interpolation). `simulator` is
    the version of what answers the sweeps; it is part of the key.
    """

    def swept(states: Floats, least_parts: int = 1) -> CellTable:
        return _table(cell, tuple(gates.tolist()), tuple(states.tolist()), box, least_parts, simulator, _Call(sweep))

    return swept(thresholds) if len(thresholds) <= MOST_STATES else between(thresholds, cell.erased_volts, swept)


class _Call:
    """A sweep that does not count in a cache's key: all sweeps of one simulator give the same."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Call)


@lru_cache(maxsize=64)
def _table(
    cell: Cell, gates: tuple[float, ...], thresholds: tuple[float, ...], box: Box, least_parts: int, simulator: str,
    call: _Call,
) -> CellTable:  # fmt: skip
    path = _path(cell, gates, thresholds, box, least_parts, simulator)
    at, states = np.array(gates), np.array(thresholds)
    kept = _load(path, at, states, box)
    if kept is not None:
        return kept
    made = characterize.characterize(cell, at, states, box, call.sweep, least_parts)
    _save(path, made)
    return made


def _path(
    cell: Cell, gates: tuple[float, ...], thresholds: tuple[float, ...], box: Box, least_parts: int, simulator: str
) -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "norsim" / "cells"
    smooth = (characterize.TOLERANCE, characterize.NODES)
    kinked = (characterize.KINKED_TOLERANCE, characterize.PARTS, characterize.KINKED_NODES)
    key = repr((cell.digest, gates, thresholds, box, least_parts, simulator, FORMAT, smooth, kinked))
    return root / f"{hashlib.sha256(key.encode()).hexdigest()}.npz"


def _load(path: Path, gates: Floats, thresholds: Floats, box: Box) -> CellTable | None:
    """A table from disk, or None where there is none or it is damaged: then it is made again."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as kept:
            coefficients, errors, digest = kept["coefficients"], kept["errors"], str(kept["digest"])
            parts = int(kept["parts"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    found = CellTable(gates, thresholds, box, parts, coefficients, float(errors[0]), float(errors[1]))
    shape = (len(found.across_edges) - 1, len(found.source_edges) - 1, len(gates), len(thresholds))
    return found if digest == _digest(coefficients, errors) and coefficients.shape[:4] == shape else None


def _save(path: Path, made: CellTable) -> None:
    """Writes a table; a cache that cannot be written costs time and nothing else."""
    errors = np.array([made.error_amps, made.top_amps])
    content = {
        "coefficients": made.coefficients, "errors": errors, "digest": np.array(_digest(made.coefficients, errors)),
        "parts": np.array(made.parts),
    }  # fmt: skip
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda file: np.savez(file, allow_pickle=False, **content))


def _digest(coefficients: Floats, errors: Floats) -> str:
    return hashlib.sha256(coefficients.tobytes() + errors.tobytes()).hexdigest()
