"""A cell's characterisation at any threshold, interpolated between thresholds that ngspice has swept.

Programmed cells of a real chip have a threshold each, too many to sweep. A threshold is one more coordinate in which a
cell's current is smooth: the coefficients of `CellTable` are interpolated, piece by piece, by Chebyshev polynomials in
the threshold (Trefethen, Approximation Theory and Approximation Practice, 2013, chapters 2 to 5). Pieces lie on a fixed
grid, so that tiles of one kind share them; each is measured at thresholds off its nodes too, and refused where it errs.
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
# Of the largest current; that of the fit in volts is ten times less.
TOLERANCE = 1e-7
# The same of a cell with kinks, whose pieces are halved down to this width.
KINKED_TOLERANCE = 1e-6
LEAST_VOLTS = PIECE_VOLTS / 64
CHECKS = np.array([-0.97, -0.31, 0.35, 0.99])

# A table of thresholds `[states]`, with the box cut in no fewer than so many parts.
TableOf = Callable[[Floats, int], CellTable]


def between(thresholds: Floats, erased: float, table: TableOf) -> CellTable:
    """The table of `thresholds` `[states]`, sorted, from what `table` gives for others.

    Every call of `table` has the `erased` threshold among its states, since what an error is judged by, the largest
    current, would else be that of a cell which is off. Raises SolveError where 22 nodes in 4 mV are not enough.
    """
    number = np.floor(thresholds / PIECE_VOLTS).astype(int)
    parts, pieces = 1, _all_pieces(thresholds, number, erased, table, 1)
    while (finest := max(piece.parts for piece in pieces)) > parts:
        # All pieces need one grid of volts: the finest that any of them asks for.
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
    """The tables of all thresholds, in their order; `number` `[states]` says in which piece each lies."""
    found = []
    for k in np.unique(number):
        found += _pieces(thresholds[number == k], k * PIECE_VOLTS, PIECE_VOLTS, erased, table, parts)
    return found


def _pieces(thresholds: Floats, low: float, width: float, erased: float, table: TableOf, parts: int) -> list[CellTable]:
    """The tables of thresholds within `width` from `low` on: one, or those of both halves where one will not do."""
    tried = []
    for count in NODES:
        nodes: Floats = chebyshev.chebpts1(count).astype(np.float64)
        volts = low + width * (1 + np.concatenate([nodes, CHECKS])) / 2
        states = np.unique(np.append(volts, erased))
        swept = table(states, parts)
        at_nodes, at_checks = np.split(swept.coefficients[:, :, :, np.searchsorted(states, volts)], [count], axis=3)
        inverse: Floats = np.linalg.inv(chebyshev.chebvander(nodes, count - 1)).astype(np.float64)
        # The sum of what coefficients are off is the most that a current can be.
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
            f"{', '.join(map(str, NODES))} of them err by {', '.join(tried)} of its current, {KINKED_TOLERANCE:g} was "
            "expected. Does the model step in its threshold? The ngspice backend needs no fit"
        )
    found = []
    for start, inside in ((low, thresholds < low + half), (low + half, thresholds >= low + half)):
        if inside.any():
            found += _pieces(thresholds[inside], start, half, erased, table, parts)
    return found


def _interpolated(at_nodes: Floats, inverse: Floats, x: Floats) -> Floats:
    """`[.., gates, nodes, p, q]` on nodes -> `[.., gates, len(x), p, q]` at x in [-1, 1]."""
    weights = chebyshev.chebvander(x, len(inverse) - 1) @ inverse
    moved: Floats = np.einsum("xn,...gnpq->...gxpq", weights, at_nodes, optimize=True)
    return moved
