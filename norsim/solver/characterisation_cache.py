"""The range of volts that a tile's cells can see, and a cache on disk of cell characterisations."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version

import numpy as np

from norsim.array.cell import Cell
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.caches.arrays import CELLS, key_of
from norsim.paths import sources_digest
from norsim.solver import characterize
from norsim.solver.characterize import Box, CellTable, Sweep
from norsim.solver.strap_metal import metal_rise
from norsim.solver.threshold_interpolation import between

# Part of every key: whatever makes a table, as imported. After a change, tables are made again.
MADE_BY = (sources_digest("array", "solver", "spice"), np.__version__, version("scipy"))
# Margin beyond the volts that a solve reaches, as a share of the width, so that slopes can be taken at the very edge.
MARGIN = 0.05
STEPS = (1, 1.5, 2, 3, 5, 7, 10)
# With more thresholds than this, the table is interpolated, and bounds are found on thresholds rounded to COARSE_VOLTS.
MOST_STATES = 64
COARSE_VOLTS = 0.01


def bounds(tile: Tile, stimulus: Stimulus, sweep: Sweep) -> Box:
    """Return a box that contains the volts of every cell of `tile` under `stimulus`.

    Wires only lower currents, so the drops under the currents of a tile with lossless wires are upper bounds;
    and no node of a resistive network lies outside the volts that drive it. Widths are rounded up to a few
    values per decade, so that similar tiles share a characterisation.
    """
    (low, high), ground = _applied(tile, stimulus), stimulus.source_volts
    drop, rise = (min(volts, high - ground) for volts in lossless_drops(tile, stimulus, sweep))
    # Current flows back into a bitline only from a rise caused by its neighbours.
    across_low = max(low - drop - rise - ground, 0.0 if low == high else -rise)
    width = _rounded(1.02 * (high - ground - across_low) + 1e-4)
    lift = min(_rounded(1.02 * rise + 1e-4), 1.02 * (high - ground) + 1e-4)
    top = high - ground + MARGIN * width
    least = -lift if across_low < 0 else max(top - (1 + MARGIN) * width, 0.0)
    return Box(least, top, ground - MARGIN * lift, ground + lift)


def _applied(tile: Tile, stimulus: Stimulus) -> tuple[float, float]:
    """Return bounds of the volts that bitlines are held at; offsets and what leaks drop are rounded up, so that tiles
    share their cells."""
    low, high = float(stimulus.bitline_volts.min()), float(stimulus.bitline_volts.max())
    if tile.offsets is None and tile.leaks is None:
        return low, high
    moved = tile.applied(np.zeros(tile.bitlines))
    return low - _rounded(-float(moved.min())), high + _rounded(float(moved.max()))


def lossless_drops(tile: Tile, stimulus: Stimulus, sweep: Sweep) -> tuple[float, float]:
    """Return the largest drop along a bitline and the largest rise along a source line, volts, if every cell conducted
    its current at the largest drive of `stimulus` without any drop: upper bounds."""
    gate, (_, high) = float(stimulus.wordline_volts.max()), _applied(tile, stimulus)
    states, where = np.unique(tile.thresholds, return_inverse=True)
    if len(states) > MOST_STATES:
        # Rounded down, because a lower threshold draws more.
        states, where = np.unique(np.floor(tile.thresholds / COARSE_VOLTS) * COARSE_VOLTS, return_inverse=True)
    amps = _amps(tile.cell, gate, high, stimulus.source_volts, tuple(states.tolist()), sweep)[
        where.reshape(tile.thresholds.shape)
    ]
    amps = amps if tile.gains is None else amps * tile.gains
    return _drop(tile, amps), _rise(tile, amps)


@lru_cache(maxsize=256)
def _amps(cell: Cell, gate: float, drain: float, source: float, thresholds: tuple[float, ...], sweep: Sweep) -> Floats:
    """Return currents `[n]` of single cells at those volts; cached, because tiles share their levels."""
    one = np.ones(len(thresholds))
    amps = sweep(cell, gate * one, drain * one, source * one, np.array(thresholds))
    amps.setflags(write=False)
    return amps


def _drop(tile: Tile, amps: Floats) -> float:
    """Return the largest drop along a bitline with cells drawing `amps` `[wordlines, bitlines]`."""
    beyond = np.cumsum(amps[::-1], axis=0)[::-1]
    return float((tile.wires.bitline_end_ohms * beyond[0] + tile.wires.bitline_ohms * beyond[1:].sum(axis=0)).max())


def _rise(tile: Tile, amps: Floats) -> float:
    """Return the largest rise along a source line with cells drawing `amps` `[wordlines, bitlines]`."""
    wires, per_line = tile.wires, tile.wires.rows_per_source_line
    padded = np.pad(amps, ((0, -len(amps) % per_line), (0, 0)))
    lines = padded.reshape(-1, per_line, tile.bitlines).sum(axis=1)
    if wires.strap_every is None:
        beyond = np.cumsum(lines[:, ::-1], axis=1)[:, ::-1]
        return float((wires.source_end_ohms * beyond[:, 0] + wires.source_ohms * beyond[:, 1:].sum(axis=1)).max())
    # An upper bound: all current of a segment enters at its middle, and all current of a line leaves by one strap.
    groups = np.add.reduceat(lines, np.arange(0, tile.bitlines, wires.strap_every), axis=1)
    middle = wires.source_ohms * (min(wires.strap_every, tile.bitlines) + 1) / 4
    of_lines = float((middle * groups.max(axis=1) + wires.source_end_ohms * lines.sum(axis=1)).max())
    return of_lines + metal_rise(wires, lines)


def _rounded(volts: float) -> float:
    """Round up to the next of STEPS times a power of ten, at least 0.1 mV."""
    decade = 10.0 ** np.floor(np.log10(max(volts, 1e-4)))
    return float(next(step * decade for step in STEPS if volts <= step * decade * (1 + 1e-9)))


def table(cell: Cell, gates: Floats, thresholds: Floats, box: Box, sweep: Sweep, simulator: str) -> CellTable:
    """Return the characterisation of `cell` at gate volts `[gates]` and thresholds `[thresholds]`.

    It comes from memory or from disk, or is made now with `sweep`.

    With more than 64 thresholds it is interpolated (norsim.solver.threshold_interpolation). `simulator` is the name and
    version of the simulator behind `sweep`; it is part of the key.
    """

    def swept(states: Floats, least_parts: int = 1) -> CellTable:
        return _table(cell, tuple(gates.tolist()), tuple(states.tolist()), box, least_parts, simulator, _Call(sweep))

    return swept(thresholds) if len(thresholds) <= MOST_STATES else between(thresholds, cell.erased_volts, swept)


class _Call:
    """A sweep that is ignored in a cache's key, because all sweeps of one simulator return the same."""

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
    smooth = (characterize.TOLERANCE, characterize.NODES)
    kinked = (characterize.KINKED_TOLERANCE, characterize.PARTS, characterize.KINKED_NODES)
    key = key_of(cell.digest, gates, thresholds, box, least_parts, simulator, MADE_BY, smooth, kinked)
    at, states = np.array(gates), np.array(thresholds)
    kept = _kept(key, at, states, box)
    if kept is not None:
        return kept
    made = characterize.characterize(cell, at, states, box, call.sweep, least_parts)
    CELLS.put(key, {
        "coefficients": made.coefficients, "errors": np.array([made.error_amps, made.top_amps]),
        "parts": np.array(made.parts),
    })  # fmt: skip
    return made


def _kept(key: str, gates: Floats, thresholds: Floats, box: Box) -> CellTable | None:
    """Return the table that is kept on disk. None if it is missing or damaged, so that it is made again."""
    kept = CELLS.get(key)
    if kept is None:
        return None
    coefficients, errors = kept["coefficients"], kept["errors"].tolist()
    return CellTable(gates, thresholds, box, int(kept["parts"]), coefficients, *errors)
