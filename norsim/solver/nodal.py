"""`nodal`: Kirchhoff's laws for a whole tile, solved to convergence, for many vectors at once.

The unknowns are the drop of every bitline node below its drive and the rise of every source-line node above
ground. Cell currents come from the `CellTable` of the tile's cell. One sweep solves all bitlines with the
cells linearised in their drain volts, evaluates the cells, and solves all source lines with the cells
linearised in their source volts. The linearisation is taken once per tile, with every wordline up,
so lines are factored once (norsim.solver.factored_line). Sweeps repeat until the cell currents agree with those that
the lines were solved with, to 1e-8 of the total current.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.errors import SolveError
from norsim.solver import factored_line, nodal_kernels
from norsim.solver.characterize import Box, CellTable

TOLERANCE = 1e-8
MOST_SWEEPS = 400
# Residuals are relative to the read's current, but at least to this share of the tile's largest possible current.
FLOOR = 0.01
NEGLIGIBLE = 1e-12
ALL = slice(None)
# One call of the kernel solves this number of blocks of reads, fewer on large tiles, because a call ends before it is
# interrupted.
BLOCKS_AT_ONCE, CELLS_AT_ONCE = 64, 2**23


@dataclass(frozen=True, eq=False)
class Prepared:
    """A tile prepared for solving: its cell's table, states by index, and factored lines.

    `states` `[wordlines, bitlines]` are indices into `table.thresholds`; `orders` `[gates, states, 2]` are the numbers
    of powers of across and source volts to evaluate: those that can add more than 1e-12 of the largest current.
    """

    tile: Tile
    table: CellTable
    states: np.ndarray
    orders: np.ndarray
    coefficients: Floats
    bitline_conductances: Floats
    source_conductances: Floats
    bitlines: factored_line.Chain
    source_lines: factored_line.Chain

    def arguments(self) -> tuple[Any, ...]:
        """Return the kernels' arguments that describe the tile, in their order."""
        cells = (self.states, self.orders, self.coefficients, self.table.across_edges, self.table.source_edges)
        lines = [(line.ohms, line.cell, line.share, line.last) for line in (self.bitlines, self.source_lines)]
        rows = self.tile.wires.rows_per_source_line
        return cells, rows, self.bitline_conductances, lines[0], self.source_conductances, lines[1]


def prepare(tile: Tile, table: CellTable) -> Prepared:
    """Factor the lines of `tile` for cells characterised in `table`, which must have all thresholds of the tile."""
    table, states = _states(table, tile)
    drain, source = _conductances(table)
    at_cells = source[states]
    per_line = tile.wires.rows_per_source_line
    padded = np.pad(at_cells, ((0, -len(states) % per_line), (0, 0)))
    on_lines = padded.reshape(-1, per_line, tile.bitlines).sum(axis=1)
    return Prepared(
        tile, table, states, _orders(table), table.monomials().reshape(-1, *table.coefficients.shape[2:]),
        drain[states], on_lines, factored_line.bitlines(tile.wires, drain[states]),
        factored_line.source_lines(tile.wires, on_lines),
    )  # fmt: skip


def _states(table: CellTable, tile: Tile) -> tuple[CellTable, NDArray[np.int64]]:
    """Return a table with one state per threshold and gain of the tile, and the state `[wordlines, bitlines]` of each
    cell."""
    states = np.searchsorted(table.thresholds, tile.thresholds)
    if tile.gains is None:
        return table, states
    # Neither array has a value that is not finite, so equal pairs are found exactly.
    pairs = np.stack([states.ravel().astype(np.float64), tile.gains.ravel()])
    (of_threshold, gains), where = np.unique(pairs, axis=1, return_inverse=True)
    index, most = of_threshold.astype(np.int64), float(gains.max())
    scaled = replace(
        table, thresholds=table.thresholds[index],
        coefficients=table.coefficients[:, :, :, index] * gains[:, None, None],
        error_amps=most * table.error_amps, top_amps=most * table.top_amps,
    )  # fmt: skip
    return scaled, where.reshape(states.shape)


def _orders(table: CellTable) -> NDArray[np.int64]:
    """Return `[gates, states, 2]`, how many powers of both volts can add more than 1e-12 of the largest current."""
    # Scaled volts are at most 1 in magnitude, so a coefficient bounds the contribution of its power.
    size = np.abs(table.monomials()).max(axis=(0, 1))
    beyond_p = np.cumsum(size.sum(axis=3)[:, :, ::-1], axis=2)[:, :, ::-1]
    beyond_q = np.cumsum(size.sum(axis=2)[:, :, ::-1], axis=2)[:, :, ::-1]
    least = NEGLIGIBLE * table.top_amps
    return np.stack([(beyond_p > least).sum(axis=2), (beyond_q > least).sum(axis=2)], axis=2).astype(np.int64)


def _conductances(table: CellTable) -> tuple[Floats, Floats]:
    """Return the largest slopes dI/dv_d and -dI/dv_s `[states]`, at least 0, over gates and corners of the box."""
    low, high = max(table.box.across_low, 0.0), table.box.across_high
    step = 1e-3 * (high - low)
    rise = 1e-3 * (table.box.source_high - table.box.source_low)
    # A conductance above a cell's own slows the sweeps, but one below it can make them diverge. A cell conducts best
    # with its source near ground.
    across, source = (
        grid.ravel()
        for grid in np.meshgrid(
            [low, (low + high) / 2, high - step],
            [table.box.source_low, (table.box.source_low + table.box.source_high) / 2, table.box.source_high - rise],
        )
    )
    drains, sources = np.zeros(len(table.thresholds)), np.zeros(len(table.thresholds))
    for gate in range(len(table.gates)):
        here = table.amps(gate, ALL, across, source)
        beyond = table.amps(gate, ALL, np.minimum(across + step, high), source)
        lifted = table.amps(gate, ALL, np.maximum(across - rise, table.box.across_low), source + rise)
        drains = np.maximum(drains, ((beyond - here) / step).max(axis=1))
        sources = np.maximum(sources, ((here - lifted) / rise).max(axis=1))
    return drains, sources


def solve(prepared: Prepared, stimulus: Stimulus) -> Currents:
    """Return the currents of every read; `converged` and `residual` are the state after the last sweep.

    `residual` is the violation of Kirchhoff's current law, over all cells, relative to the current (see FLOOR). Raises
    SolveError if the volts of a cell are outside the box that it was characterised for.
    """
    parts = []
    cells = prepared.tile.thresholds.size * nodal_kernels.LANES
    blocks = min(max(CELLS_AT_ONCE // cells, numba.get_num_threads()), BLOCKS_AT_ONCE)
    size = blocks * nodal_kernels.LANES
    for start in range(0, stimulus.vectors, size):
        parts.append(_solve_some(prepared, stimulus.take(slice(start, start + size))))
    bitline, source, residual = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if prepared.tile.wires.strap_every is not None:
        source = source.sum(axis=1, keepdims=True)
    return Currents(bitline, source, residual <= TOLERANCE, residual, "nodal")


def relax(
    prepared: Prepared,
    gates: NDArray[np.int64],
    bitline_volts: Floats,
    drop: Floats | None,
    rise: Floats | None,
    free: Literal["both", "bitlines", "source lines", "none"],
    tolerance: float = TOLERANCE,
) -> tuple[Floats, Floats, Floats]:
    """Solve a few vectors; return cell currents, drops and rises, each `[wordlines, bitlines, lanes]`.

    Rises are by source line. `gates` `[wordlines, lanes]` are indices of the table's gate levels, `bitline_volts` is
    `[bitlines, lanes]`. The sweeps start from `drop` and `rise`; None is 0 V everywhere. Lines that are not `free` keep
    these volts, so one kind of line can be solved while the other is held. It takes this thread only, so that several
    tiles can be solved at a time. Raises SolveError if the sweeps do not converge to `tolerance`.
    """
    tile, lanes = prepared.tile, gates.shape[1]
    drop = np.zeros((tile.wordlines, tile.bitlines, lanes)) if drop is None else drop.copy()
    rise = np.zeros((tile.source_lines, tile.bitlines, lanes)) if rise is None else rise.copy()
    residual = np.empty(lanes)
    relax_block: Any = nodal_kernels.relax
    amps = relax_block(
        np.ascontiguousarray(gates), np.ascontiguousarray(bitline_volts), 0.0, *prepared.arguments(),
        free in ("both", "bitlines"), free in ("both", "source lines"),
        FLOOR * prepared.table.top_amps * tile.thresholds.size, tolerance, MOST_SWEEPS, drop, rise, residual,
    )  # fmt: skip
    if free != "none" and not residual.max() <= tolerance:
        raise SolveError(
            f"the lines of {tile.name} do not converge: Kirchhoff's current law is violated by "
            f"{residual.max():.1e} of the total current; use the ngspice backend"
        )
    return amps, drop, rise


@dataclass(frozen=True, eq=False)
class Nodes:
    """One read, cell by cell.

    `amps`   `[wordlines, bitlines]`, amperes through each cell
    `drop`   `[wordlines, bitlines]`, volts by which a bitline's node lies below the bitline's drive
    `rise`   `[source lines, bitlines]`, volts by which a source line's node lies above ground
    """

    amps: Floats
    drop: Floats
    rise: Floats


def nodes(prepared: Prepared, stimulus: Stimulus, free: Literal["both", "none"] = "both") -> Nodes:
    """Solve the first read of `stimulus` node by node; with `free` "none", as if wires were lossless.

    Raises SolveError if the sweeps do not converge, or if they leave the volts that the cell was characterised for.
    """
    gates, volts = np.searchsorted(prepared.table.gates, stimulus.wordline_volts[:1]).T, stimulus.bitline_volts[:1].T
    amps, drop, rise = relax(prepared, gates, volts, None, None, free)
    check_volts(prepared, volts, drop, rise)
    return Nodes(amps[:, :, 0], drop[:, :, 0], rise[:, :, 0])


def check_volts(prepared: Prepared, bitline_volts: Floats, drop: Floats, rise: Floats) -> None:
    """Raise OutsideBox if a cell's volts, as `relax` takes `[bitlines, lanes]` and returns drops and rises, are outside
    those that it was characterised for."""
    extremes, rows = np.empty((1, 4)), prepared.tile.wires.rows_per_source_line
    reach: Any = nodal_kernels.reach
    reach(np.ascontiguousarray(bitline_volts), 0.0, drop, rise, rows, 0, extremes)
    _check_box(prepared.table.box, extremes)


def _solve_some(prepared: Prepared, stimulus: Stimulus) -> tuple[Floats, Floats, Floats]:
    vectors, lanes = stimulus.vectors, nodal_kernels.LANES
    blocks = -(-vectors // lanes)
    # The last block is padded with its last vector.
    order = np.minimum(np.arange(blocks * lanes), vectors - 1)
    gates = np.searchsorted(prepared.table.gates, stimulus.wordline_volts)[order]
    gates = np.ascontiguousarray(gates.reshape(blocks, lanes, -1).transpose(0, 2, 1))
    volts = np.ascontiguousarray(stimulus.bitline_volts[order].reshape(blocks, lanes, -1).transpose(0, 2, 1))
    bitline = np.empty((blocks, prepared.tile.bitlines, lanes))
    source = np.empty((blocks, prepared.tile.source_lines, lanes))
    residual, extremes = np.empty((blocks, lanes)), np.empty((blocks, 4))
    solver: Any = nodal_kernels.solve
    solver(
        gates, volts, stimulus.source_volts, *prepared.arguments(),
        FLOOR * prepared.table.top_amps * prepared.tile.thresholds.size, TOLERANCE, MOST_SWEEPS,
        bitline, source, residual, extremes,
    )  # fmt: skip
    _check_box(prepared.table.box, extremes)
    flat = [values.transpose(0, 2, 1).reshape(blocks * lanes, -1)[:vectors] for values in (bitline, source)]
    return flat[0], flat[1], residual.ravel()[:vectors]


def _check_box(box: Box, extremes: Floats) -> None:
    low, high = extremes.min(axis=0), extremes.max(axis=0)
    found = Box(float(low[0]), float(high[1]), float(low[2]), float(high[3]))
    margin = 1e-9
    inside = (
        box.across_low - margin <= found.across_low and found.across_high <= box.across_high + margin
        and box.source_low - margin <= found.source_low and found.source_high <= box.source_high + margin
    )  # fmt: skip
    if not inside:
        raise OutsideBox(
            f"cells reach {found}, outside the {box} that they were characterised for: no current is extrapolated"
        )


class OutsideBox(SolveError):
    """A solution is outside the volts that its cell was characterised for."""
