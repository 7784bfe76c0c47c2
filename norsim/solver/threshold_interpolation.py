"""A cell's characterisation at any threshold, interpolated between thresholds that the simulator has swept.

Each programmed cell of a real chip has its own threshold, too many to sweep. A cell's current is smooth in the
threshold, too: the coefficients of `CellTable` are interpolated, piece by piece, by Chebyshev polynomials in the
threshold (Trefethen, Approximation Theory and Approximation Practice, 2013, chapters 2 to 5). Pieces lie on a fixed
grid, so that tiles with the same cell share them. Each piece is checked at thresholds between its nodes and rejected
if the error is too large.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from norsim.array.tile import Floats
from norsim.errors import SolveError
from norsim.solver.characterize import CellTable

PIECE_VOLTS = 0.25
NODES = (12, 16, 22)
# Relative to the largest current; the tolerance of the fit in volts is ten times smaller.
TOLERANCE = 1e-7
# The same for a cell with kinks, whose pieces are halved down to LEAST_VOLTS.
KINKED_TOLERANCE = 1e-6
LEAST_VOLTS = PIECE_VOLTS / 64
CHECKS = np.array([-0.97, -0.31, 0.35, 0.99])

# A function that returns the table of thresholds `[states]`, with the box cut into at least the given number of parts.
TableOf = Callable[[Floats, int], CellTable]


def between(thresholds: Floats, erased: float, table: TableOf) -> CellTable:
    """Interpolate the table of `thresholds` `[states]`, sorted, between the thresholds that `table` is called with.

    Every call of `table` has the `erased` threshold among its states, because tolerances are relative to the largest
    current, which must not be that of a cell that is off. Raises SolveError if 22 nodes in 4 mV are not enough.
    """
    number = np.floor(thresholds / PIECE_VOLTS).astype(int)
    parts, pieces = 1, _all_pieces(thresholds, number, erased, table, 1)
    while (finest := max(piece.parts for piece in pieces)) > parts:
        # All pieces need one grid of volts: the finest that any of them needs.
        parts, pieces = finest, _all_pieces(thresholds, number, erased, table, finest)
    shape = np.max([piece.coefficients.shape for piece in pieces], axis=0)
    coefficients = np.zeros((*shape[:3], len(thresholds), *shape[4:]))
    at = 0
    for piece in pieces:
        across, source = piece.coefficients.shape[4:]
        coefficients[..., at : at + len(piece.thresholds), :across, :source] = piece.coefficients
        at += len(piece.thresholds)
    first = pieces[0]
    error, top = (max(getattr(piece, name) for piece in pieces) for name in ("error_amps", "top_amps"))
    return replace(first, thresholds=thresholds, coefficients=coefficients, error_amps=error, top_amps=top)


def _all_pieces(
    thresholds: Floats, number: NDArray[np.int64], erased: float, table: TableOf, parts: int
) -> list[CellTable]:
    """Return the tables of all thresholds, in order; `number` `[states]` is the piece of each threshold."""
    found = []
    for k in np.unique(number):
        found += _pieces(thresholds[number == k], k * PIECE_VOLTS, PIECE_VOLTS, erased, table, parts)
    return found


def _pieces(thresholds: Floats, low: float, width: float, erased: float, table: TableOf, parts: int) -> list[CellTable]:
    """Return the tables of thresholds from `low` to `low + width`: one, or those of both halves if one fails."""
    tried = []
    for count in NODES:
        nodes: Floats = chebyshev.chebpts1(count).astype(np.float64)
        volts = low + width * (1 + np.concatenate([nodes, CHECKS])) / 2
        states = np.unique(np.append(volts, erased))
        swept = table(states, parts)
        at_nodes, at_checks = np.split(swept.coefficients[:, :, :, np.searchsorted(states, volts)], [count], axis=3)
        inverse: Floats = np.linalg.inv(chebyshev.chebvander(nodes, count - 1)).astype(np.float64)
        # The sum of the coefficients' errors bounds the current's error.
        off = np.abs(_interpolated(at_nodes, inverse, CHECKS) - at_checks).sum(axis=(4, 5)).max()
        kinked = swept.parts > 1 or width < PIECE_VOLTS
        if off <= (KINKED_TOLERANCE if kinked else TOLERANCE) * swept.top_amps:
            x = 2 * (thresholds - low) / width - 1
            coefficients = _interpolated(at_nodes, inverse, x)
            error = swept.error_amps + float(off)
            return [replace(swept, thresholds=thresholds, coefficients=coefficients, error_amps=error)]
        tried.append(f"{off / swept.top_amps:.1e}")
    half = width / 2
    if half < LEAST_VOLTS:
        raise SolveError(
            f"the cell cannot be interpolated between thresholds of {low:g} V and {low + width:g} V: "
            f"{', '.join(map(str, NODES))} nodes have errors of {', '.join(tried)} of its largest current; the "
            f"tolerance is {KINKED_TOLERANCE:g}. Check the model for a step in its threshold, or use the ngspice "
            "backend, which needs no fit"
        )
    found = []
    for start, inside in ((low, thresholds < low + half), (low + half, thresholds >= low + half)):
        if inside.any():
            found += _pieces(thresholds[inside], start, half, erased, table, parts)
    return found


def _interpolated(at_nodes: Floats, inverse: Floats, x: Floats) -> Floats:
    """Interpolate `[.., gates, nodes, p, q]` on nodes to `[.., gates, len(x), p, q]` at x in [-1, 1]."""
    weights = chebyshev.chebvander(x, len(inverse) - 1) @ inverse
    moved: Floats = np.einsum("xn,...gnpq->...gxpq", weights, at_nodes, optimize=True)
    return moved
