"""A cell's characterisation at any threshold, interpolated between thresholds that ngspice has swept.

Programmed cells of a real chip have a threshold each, too many to sweep. A threshold is one more coordinate in which a
cell's current is smooth: the coefficients of `CellTable` are interpolated, piece by piece, by Chebyshev polynomials in
the threshold (Trefethen, Approximation Theory and Approximation Practice, 2013, chapters 2 to 5). Pieces lie on a fixed
grid, so that tiles of one kind share them; each is measured at thresholds off its nodes too, and refused where it errs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.polynomial import chebyshev

from norsim.array.tile import Floats
from norsim.errors import SolveError
from norsim.solver.characterize import CellTable

PIECE_VOLTS = 0.25
NODES = (12, 16, 22)
# Of the largest current; that of the fit in volts is ten times less.
TOLERANCE = 1e-7
CHECKS = np.array([-0.97, -0.31, 0.35, 0.99])


def between(thresholds: Floats, erased: float, table: Callable[[Floats], CellTable]) -> CellTable:
    """The table of `thresholds` `[states]`, sorted, from what `table` gives for others.

    Every call of `table` has the `erased` threshold among its states, since what an error is judged by, the largest
    current, would else be that of a cell which is off. Raises SolveError where 22 nodes in 0.25 V are not enough.
    """
    number = np.floor(thresholds / PIECE_VOLTS).astype(int)
    pieces = [_piece(thresholds[number == k], k * PIECE_VOLTS, erased, table) for k in np.unique(number)]
    shape = np.max([piece.coefficients.shape for piece in pieces], axis=0)
    coefficients = np.zeros((*shape[:2], len(thresholds), *shape[3:]))
    for k, piece in zip(np.unique(number), pieces, strict=True):
        across, source = piece.coefficients.shape[3:]
        coefficients[:, :, number == k, :across, :source] = piece.coefficients
    first = pieces[0]
    error, top = (max(getattr(piece, name) for piece in pieces) for name in ("error_amps", "top_amps"))
    return CellTable(first.gates, thresholds, first.box, coefficients, error, top)


def _piece(thresholds: Floats, low: float, erased: float, table: Callable[[Floats], CellTable]) -> CellTable:
    """The table of thresholds within PIECE_VOLTS from `low` on."""
    tried = []
    for count in NODES:
        nodes: Floats = chebyshev.chebpts1(count).astype(np.float64)
        volts = low + PIECE_VOLTS * (1 + np.concatenate([nodes, CHECKS])) / 2
        states = np.unique(np.append(volts, erased))
        swept = table(states)
        at_nodes, at_checks = np.split(swept.coefficients[:, :, np.searchsorted(states, volts)], [count], axis=2)
        inverse: Floats = np.linalg.inv(chebyshev.chebvander(nodes, count - 1)).astype(np.float64)
        # The sum of what coefficients are off is the most that a current can be.
        off = np.abs(_interpolated(at_nodes, inverse, CHECKS) - at_checks).sum(axis=(3, 4)).max()
        if off <= TOLERANCE * swept.top_amps:
            x = 2 * (thresholds - low) / PIECE_VOLTS - 1
            coefficients = _interpolated(at_nodes, inverse, x)
            error = swept.error_amps + float(off)
            return CellTable(swept.gates, thresholds, swept.box, coefficients, error, swept.top_amps)
        tried.append(f"{off / swept.top_amps:.1e}")
    raise SolveError(
        f"the cell cannot be interpolated between thresholds of {low:g} V and {low + PIECE_VOLTS:g} V: "
        f"{', '.join(map(str, NODES))} of them err by {', '.join(tried)} of its current, {TOLERANCE:g} was expected. "
        "Is the model smooth in its threshold? The ngspice backend needs no fit"
    )


def _interpolated(at_nodes: Floats, inverse: Floats, x: Floats) -> Floats:
    """`[pieces, gates, nodes, p, q]` on nodes -> `[pieces, gates, len(x), p, q]` at x in [-1, 1]."""
    weights = chebyshev.chebvander(x, len(inverse) - 1) @ inverse
    moved: Floats = np.einsum("xn,agnpq->agxpq", weights, at_nodes, optimize=True)
    return moved
