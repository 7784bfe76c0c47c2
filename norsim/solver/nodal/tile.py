"""A tile prepared for `nodal`: its cell's polynomials, and its lines factored for the steepest slopes of its cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Floats, Tile
from norsim.solver import factored_line
from norsim.solver.characterize import CellTable
from norsim.solver.nodal import kernels
from norsim.solver.strap_metal import StrapMetal, strap_metal

# Powers of the polynomials count that can add this share of the largest current, in float64 and in float32.
NEGLIGIBLE, ROUGH = 1e-12, 1e-9
# A gate level at which no cell has more than this share of the largest slope counts as down.
DOWN = 1e-6
# Steps of the power iteration that finds the rise of straps that sweeps settle last.
POWERS = 3
# Residuals are relative to the read's current, but at least to this share of the tile's largest possible current.
FLOOR = 0.01
ALL = slice(None)
Kind = type[np.float32] | type[np.float64]


class TileArrays(NamedTuple):
    """A tile as the kernels take it; floats are all float32 or all float64.

    `coefficients`      `[pieces, gates, states, powers, source powers]`, flat: amperes, of scaled volts
    `orders`            `[gates, 2]`: powers of across volts, and fours of powers of source volts, that count
    `sizes`             gates, states, powers, source powers, and the lanes of a vector
    `across_pieces`, `source_pieces`   `[pieces, 4]`: the ends of each piece, its middle, and 1 over half its width
    `states`            `[wordlines, bitlines]`, indices of thresholds
    `per_line`          rows per source line
    `conductances`, `ohms`, `lost`, `ends`   of bitlines: the slopes of cells `[wordlines, bitlines]`, and Chain's r,
                        1 - a `[wordlines, bitlines]` and 1 / Y_0
    `source_conductances`, `source_ohms`, `source_lost`, `source_ends`, `cell`   the same of source lines, and Chain's
                        `cell`; `cell_slopes` `[wordlines, bitlines]` of cells in their source volts
    `strap`, `before`, `after`, `contacts`, `shares`, `first`, `metal_ohms`, `contact_ohms`   of StrapMetal
    `slowest`, `left`   `[source lines, straps]`, the rise of straps that sweeps settle last, of norm 1, and
                        `[wordlines]`, the share of its error that each wordline leaves if it is down
    """

    coefficients: NDArray[np.floating]
    orders: NDArray[np.int64]
    sizes: tuple[int, int, int, int, int]
    across_pieces: NDArray[np.floating]
    source_pieces: NDArray[np.floating]
    states: NDArray[np.int64]
    per_line: int
    conductances: NDArray[np.floating]
    ohms: np.floating
    lost: NDArray[np.floating]
    ends: NDArray[np.floating]
    source_conductances: NDArray[np.floating]
    source_ohms: np.floating
    source_lost: NDArray[np.floating]
    source_ends: NDArray[np.floating]
    cell: NDArray[np.int64]
    cell_slopes: NDArray[np.floating]
    strap: NDArray[np.int64]
    before: NDArray[np.floating]
    after: NDArray[np.floating]
    contacts: NDArray[np.floating]
    shares: NDArray[np.floating]
    first: NDArray[np.floating]
    metal_ohms: np.floating
    contact_ohms: np.floating
    slowest: NDArray[np.floating]
    left: NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A tile prepared for solving: its cell's table, states by index, and factored lines.

    `conducting` `[gates]` are the levels at which wordlines are up. The kernels take the tile as `single`, in float32,
    or as `double`, in float64.
    """

    tile: Tile
    table: CellTable
    conducting: NDArray[np.bool_]
    bitlines: factored_line.Chain
    source_lines: factored_line.Chain
    straps: StrapMetal
    single: TileArrays
    double: TileArrays

    @property
    def floor_amps(self) -> float:
        """The least current, amperes, that residuals are relative to."""
        return FLOOR * self.table.top_amps * self.tile.thresholds.size


def prepare(tile: Tile, table: CellTable) -> Prepared:
    """Factor the lines of `tile` for cells characterised in `table`, which must have all thresholds of the tile."""
    table, states = _states(table, tile)
    drain, source = _conductances(table)
    steepest, per_line = drain.max(axis=0), tile.wires.rows_per_source_line
    at_cells = source.max(axis=0)[states]
    whole = np.pad(at_cells, ((0, -len(states) % per_line), (0, 0)))
    on_lines = whole.reshape(-1, per_line, tile.bitlines).sum(axis=1)
    bitlines = factored_line.bitlines(tile.wires, steepest[states])
    source_lines, straps = factored_line.source_lines(tile.wires, on_lines), strap_metal(tile.wires, on_lines)
    slowest, share = _slowest(straps, on_lines)
    of_rows = at_cells.sum(axis=1)
    left = share * of_rows / of_rows.sum()
    pieces = [_pieces(edges) for edges in (table.across_edges, table.source_edges)]
    monomials = table.monomials()
    # Powers of the source volts are evaluated by four.
    padded = np.pad(monomials, (*[(0, 0)] * 5, (0, -monomials.shape[5] % 4)))

    def arrays(kind: Kind, lanes: int, negligible: float) -> TileArrays:
        def line(slopes: Floats, of: factored_line.Chain, shares: Floats) -> tuple[Any, Any, Any, Any]:
            return slopes.astype(kind), kind(of.ohms), of_kind(1 - shares), of.last.astype(kind)

        def of_kind(values: Floats) -> NDArray[Any]:
            return np.ascontiguousarray(values, kind)

        _, _, gates, of_states, powers, source_powers = padded.shape
        return TileArrays(
            padded.ravel().astype(kind), _orders(monomials, negligible * table.top_amps),
            (gates, of_states, powers, source_powers, lanes), pieces[0].astype(kind), pieces[1].astype(kind), states,
            per_line, *line(steepest[states], bitlines, bitlines.share.T),
            *line(on_lines, source_lines, source_lines.share), source_lines.cell, at_cells.astype(kind),
            straps.strap, of_kind(straps.before), of_kind(straps.after), of_kind(straps.contacts),
            of_kind(straps.shares), of_kind(straps.first), kind(straps.ohms), kind(straps.contact_ohms),
            of_kind(slowest), of_kind(left),
        )  # fmt: skip

    slopes = np.maximum(drain, source).max(axis=1)
    return Prepared(
        tile, table, slopes > DOWN * slopes.max(), bitlines, source_lines, straps,
        arrays(np.float32, kernels.LANES, ROUGH), arrays(np.float64, kernels.HALF, NEGLIGIBLE),
    )  # fmt: skip


def _slowest(straps: StrapMetal, on_lines: Floats) -> tuple[Floats, float]:
    """Return the rise of straps `[source lines, straps]`, of norm 1, that currents through cells of slopes `on_lines`
    `[source lines, bitlines]` reproduce best, and the share that they reproduce: with all cells down, this share of an
    error of that form is left by a sweep, which takes them for conducting."""
    found, share = np.ones(straps.contacts.shape[:2]), 0.0
    found, ports = found / max(np.sqrt(found.size), 1.0), straps.at_ports()
    for _ in range(POWERS if found.size else 0):
        at_cells = straps.before * found[:, straps.strap] + straps.after * found[:, straps.strap + 1]
        again = straps.volts(ports @ (on_lines * at_cells)[:, :, None])[:, :, 0]
        share, size = float((found * again).sum()), float(np.linalg.norm(again))
        if not size:
            break
        found = again / size
    return found, share


def _pieces(edges: Floats) -> Floats:
    """Return `[pieces, 4]`: the ends of each piece, its middle, and 1 over half its width. Volts beyond the edges
    belong to the pieces at the ends."""
    low, high = edges[:-1], edges[1:]
    ends = np.r_[-np.inf, low[1:]], np.r_[high[:-1], np.inf]
    return np.stack([*ends, (low + high) / 2, 2 / (high - low)], axis=1)


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


def _orders(monomials: Floats, negligible: float) -> NDArray[np.int64]:
    """Return `[gates, 2]`, how many powers of across volts, and fours of powers of source volts, can add more than
    `negligible` amperes; 0 fours if it is only the first power."""
    # Scaled volts are at most 1 in magnitude, so a coefficient bounds the contribution of its power.
    size = np.abs(monomials).max(axis=(0, 1))
    beyond_p = np.cumsum(size.sum(axis=3)[:, :, ::-1], axis=2)[:, :, ::-1].max(axis=1)
    beyond_q = np.cumsum(size.sum(axis=2)[:, :, ::-1], axis=2)[:, :, ::-1].max(axis=1)
    powers, source_powers = (beyond_p > negligible).sum(axis=1), (beyond_q > negligible).sum(axis=1)
    return np.stack([powers, np.where(source_powers > 1, -(-source_powers // 4), 0)], axis=1).astype(np.int64)


def _conductances(table: CellTable) -> tuple[Floats, Floats]:
    """Return the largest slopes dI/dv_d and -dI/dv_s `[gates, states]`, at least 0, over the corners of the box."""
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
    drains, sources = np.zeros((2, len(table.gates), len(table.thresholds)))
    for gate in range(len(table.gates)):
        here = table.amps(gate, ALL, across, source)
        beyond = table.amps(gate, ALL, np.minimum(across + step, high), source)
        lifted = table.amps(gate, ALL, np.maximum(across - rise, table.box.across_low), source + rise)
        drains[gate] = np.maximum(0.0, ((beyond - here) / step).max(axis=1))
        sources[gate] = np.maximum(0.0, ((here - lifted) / rise).max(axis=1))
    return drains, sources
