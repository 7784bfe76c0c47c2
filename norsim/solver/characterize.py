"""A cell's current as polynomials of its volts, fitted to ngspice sweeps of that cell.

In the coordinates w = v_d - v_s and s = v_s, for each gate level g and each threshold t of an array,

    I(w, s) = sum_pq  c[g, t, p, q]  T_p((w - w0)/hw)  T_q((s - s0)/hs)

with Chebyshev polynomials T, interpolated at Chebyshev nodes (Trefethen, Approximation Theory and
Approximation Practice, 2013, chapters 2 to 4). Transistor models swap drain and source at w = 0 and are
not smooth there, so a box that contains w = 0 is fitted in two pieces, below and above. Degrees whose
coefficients are negligible are dropped, and the error is measured against further sweeps off the nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial import chebyshev

from norsim.array.cell import Cell
from norsim.array.tile import Floats
from norsim.errors import SolveError

Sweep = Callable[[Cell, Floats, Floats, Floats, Floats], Floats]

TOLERANCE = 1e-8
NODES = (5, 8, 12, 18, 26)


@dataclass(frozen=True)
class Box:
    """The volts that a characterisation covers, ends included: drain over source, and source over bulk."""

    across_low: float
    across_high: float
    source_low: float
    source_high: float

    def pieces(self) -> list[tuple[float, float]]:
        """The ranges of drain over source that are fitted apart: below 0 V and above."""
        if self.across_low < 0 < self.across_high:
            return [(self.across_low, 0.0), (0.0, self.across_high)]
        return [(self.across_low, self.across_high)]


@dataclass(frozen=True, eq=False)
class CellTable:
    """A characterised cell.

    `gates` `[gates]` and `thresholds` `[states]`, volts, sorted; `box` as above
    `coefficients`   `[pieces, gates, states, across degree + 1, source degree + 1]`, amperes, Chebyshev
    `error_amps`     largest deviation from ngspice off the nodes
    `top_amps`       largest current in the box: the unit of `error_amps` when it is judged
    """

    gates: Floats
    thresholds: Floats
    box: Box
    coefficients: Floats
    error_amps: float
    top_amps: float

    def amps(self, gate: int, state: int | slice, across: Floats, source: Floats) -> Floats:
        """Currents of one gate level and state (by index) at volts `across` and `source` of one shape.

        A slice of states comes first in the shape of the result.
        """
        chosen = self.coefficients[:, gate, state]
        result = np.empty((*chosen.shape[1:-2], *np.shape(across)))
        for piece, (low, high) in enumerate(self.box.pieces()):
            inside = (across >= low) & (across <= high)
            d = scaled(across[inside], low, high)
            s = scaled(source[inside], self.box.source_low, self.box.source_high)
            result[..., inside] = chebyshev.chebval2d(d, s, np.moveaxis(chosen[piece], (-2, -1), (0, 1)))
        return result

    def monomials(self) -> Floats:
        """The same polynomials in powers of the scaled volts, same shape: cheaper to evaluate."""
        degrees = self.coefficients.shape[3:]
        across, source = (np.zeros((count, count)) for count in degrees)
        for basis in (across, source):
            for degree in range(len(basis)):
                basis[degree, : degree + 1] = chebyshev.cheb2poly([0.0] * degree + [1.0])
        result: Floats = np.einsum("ngtpq,pa,qb->ngtab", self.coefficients, across, source)
        return result


def scaled(volts: Floats, low: float, high: float) -> Floats:
    """Volts in [low, high] -> [-1, 1]."""
    return (volts - (low + high) / 2) / ((high - low) / 2)


def characterize(cell: Cell, gates: Floats, thresholds: Floats, box: Box, sweep: Sweep) -> CellTable:
    """Fit `cell` at these gate levels and thresholds over `box`; `sweep` measures single cells.

    Raises SolveError when the error off the nodes is above 1e-8 of the largest current for every degree.
    """
    tried = []
    for nodes in NODES:
        table = _fit(cell, gates, thresholds, box, sweep, nodes)
        if table.error_amps <= TOLERANCE * table.top_amps:
            return table
        tried.append(f"{table.error_amps / table.top_amps:.1e}")
    raise SolveError(
        f"the cell {cell.subcircuit} cannot be characterised over drain-source {box.across_low:g} to "
        f"{box.across_high:g} V, source {box.source_low:g} to {box.source_high:g} V: polynomials through "
        f"{', '.join(map(str, NODES))} nodes err by {', '.join(tried)} of its current, {TOLERANCE:g} was expected. "
        "Is the model smooth there? The ngspice backend needs no fit"
    )


def _fit(cell: Cell, gates: Floats, thresholds: Floats, box: Box, sweep: Sweep, nodes: int) -> CellTable:
    points = chebyshev.chebpts1(nodes)
    inverse = np.linalg.inv(chebyshev.chebvander(points, nodes - 1))
    on_nodes = _measure(cell, gates, thresholds, box, points, sweep)
    full = np.einsum("pd,ngtds,qs->ngtpq", inverse, on_nodes, inverse)
    top = float(np.abs(on_nodes).max())
    table = CellTable(gates, thresholds, box, _joined(_shortened(full, 0.1 * TOLERANCE * top)), 0.0, top)
    between = np.linspace(-1, 1, 6)
    measured = _measure(cell, gates, thresholds, box, between, sweep)
    fitted = chebyshev.chebgrid2d(between, between, np.moveaxis(table.coefficients, (3, 4), (0, 1)))
    return replace(table, error_amps=float(np.abs(fitted - measured).max()))


def _measure(cell: Cell, gates: Floats, thresholds: Floats, box: Box, points: Floats, sweep: Sweep) -> Floats:
    """`[pieces, gates, states, points, points]` amperes on the grid of scaled `points` in across and source."""
    source = (box.source_low + box.source_high) / 2 + (box.source_high - box.source_low) / 2 * points
    across = np.array([(low + high) / 2 + (high - low) / 2 * points for low, high in box.pieces()])
    shape = (len(across), len(gates), len(thresholds), len(points), len(points))
    sources = np.broadcast_to(source, shape)
    drains = across[:, None, None, :, None] + sources
    volts = (np.broadcast_to(gates[:, None, None, None], shape), drains, sources)
    states = np.broadcast_to(thresholds[:, None, None], shape)
    return sweep(cell, *(values.ravel() for values in (*volts, states))).reshape(shape)


def _joined(coefficients: Floats) -> Floats:
    """Two pieces moved to meet at w = 0: a step there, however small, keeps a solver from settling."""
    if len(coefficients) == 1:
        return coefficients
    signs = (-1.0) ** np.arange(coefficients.shape[3])
    below, above = coefficients[0].sum(axis=2), np.einsum("gtpq,p->gtq", coefficients[1], signs)
    result = coefficients.copy()
    result[0, :, :, 0] += (above - below) / 2
    result[1, :, :, 0] += (below - above) / 2
    return result


def _shortened(full: Floats, negligible: float) -> Floats:
    """Coefficients without the highest degrees whose coefficients are all negligible."""
    large = np.abs(full).max(axis=(0, 1, 2)) > negligible
    across, source = np.flatnonzero(large.any(axis=1)), np.flatnonzero(large.any(axis=0))
    return full[..., : across.max(initial=0) + 1, : source.max(initial=0) + 1].copy()
