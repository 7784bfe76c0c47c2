"""A cell's current as polynomials in its volts, fitted to simulator sweeps of that cell.

In the coordinates w = v_d - v_s and s = v_s, for each gate level g and each threshold t of an array,

    I(w, s) = sum_pq  c[g, t, p, q]  T_p((w - w0)/hw)  T_q((s - s0)/hs)

with Chebyshev polynomials T, interpolated at Chebyshev points that include the ends (Trefethen, Approximation Theory
and Approximation Practice, 2013, chapters 2 to 4). Transistor models swap drain and source at w = 0 and are not smooth
there, so a box that contains w = 0 is fitted in two pieces, below and above. A model with kinks elsewhere, such as
between the linear and the saturated region of the square law, is fitted in many small pieces of low degree. Pieces
share the points at their edges, so the fit is continuous. The error is measured against further sweeps between the
points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from norsim.array.cell import Cell
from norsim.array.tile import Floats
from norsim.errors import SolveError

Sweep = Callable[[Cell, Floats, Floats, Floats, Floats], Floats]

TOLERANCE = 1e-8
NODES = (5, 8, 12, 18, 26)
# More nodes lower a smooth cell's error at least by this factor; if they do not, no more nodes are tried.
SMOOTH_GAIN = 3.0
# With a larger gain, attempts are skipped whose expected error is more than SURE_MARGIN times the tolerance.
SURE_GAIN, SURE_MARGIN = 6.0, 100.0
# A cell with kinks is fitted with these numbers of parts, in this order, and with this number of nodes per piece.
KINKED_TOLERANCE = 1e-6
PARTS = (8, 16, 32, 64)
KINKED_NODES = 5
# Where fits are checked, between the nodes of a piece from -1 to 1.
BETWEEN = np.linspace(-1, 1, 8)[1:-1]
# Points of a fit, each a cell that is simulated: a cell with kinks over a wide box would need millions.
MOST_POINTS = 300_000
# Pieces of a kinked cell lower its error at best as this power of their number along a side.
KINKED_ORDER = 3


@dataclass(frozen=True)
class Box:
    """The volts that a characterisation covers, ends included: drain over source, and source over bulk."""

    across_low: float
    across_high: float
    source_low: float
    source_high: float

    def edges(self, parts: int = 1) -> tuple[Floats, Floats]:
        """Return the edges of the pieces: `[n + 1]` drain-source volts and `[m + 1]` source volts.

        There is an edge at 0 V between drain and source. Further edges cut the wider of the two ranges into about
        `parts` pieces of equal width, and the other range into pieces that are no wider.
        """
        lengths = self.across_high - self.across_low, self.source_high - self.source_low
        width = max(lengths) / parts
        ends = [self.across_low, self.across_high]
        if self.across_low < 0 < self.across_high:
            ends.insert(1, 0.0)
        across = [_cut(low, high, width) for low, high in pairwise(ends)]
        return np.unique(np.concatenate(across)), _cut(self.source_low, self.source_high, width)


def _cut(low: float, high: float, width: float) -> Floats:
    """Return the edges of pieces of equal width, at most `width`, from `low` to `high`."""
    count = max(int(np.ceil((high - low) / width * (1 - 1e-9))), 1)
    return np.linspace(low, high, count + 1)


@dataclass(frozen=True, eq=False)
class CellTable:
    """A characterised cell.

    `gates` `[gates]` and `thresholds` `[states]`, volts, sorted; `box` as above
    `parts`          number of parts of the box: 1 for a smooth cell
    `coefficients`   `[across pieces, source pieces, gates, states, across degree + 1, source degree + 1]`, amperes,
                     Chebyshev; pieces lie between `across_edges` and `source_edges`, volts
    `error_amps`     largest deviation from the simulator between the nodes
    `top_amps`       largest current in the box; tolerances on `error_amps` are relative to it
    """

    gates: Floats
    thresholds: Floats
    box: Box
    parts: int
    coefficients: Floats
    error_amps: float
    top_amps: float

    @cached_property
    def across_edges(self) -> Floats:
        """See `Box.edges`."""
        return self.box.edges(self.parts)[0]

    @cached_property
    def source_edges(self) -> Floats:
        """See `Box.edges`."""
        return self.box.edges(self.parts)[1]

    def amps(self, gate: int, state: int | slice, across: Floats, source: Floats) -> Floats:
        """Return the currents of one gate level and state (by index) at volts `across` and `source` of any shape.

        With a slice of states, the result has these as its first axis.
        """
        chosen = self.coefficients[:, :, gate, state]
        result = np.empty((*chosen.shape[2:-2], *np.shape(across)))
        for (a, b), inside, d, s in self._by_piece(across, source):
            result[..., inside] = chebyshev.chebval2d(d, s, np.moveaxis(chosen[a, b], (-2, -1), (0, 1)))
        return result

    def amps_each(self, gate: int, states: np.ndarray, across: Floats, source: Floats) -> Floats:
        """Return the currents `[n]` of cells, each in its own state (by index) and at its own volts."""
        result = np.empty(len(states))
        for (a, b), inside, d, s in self._by_piece(across, source):
            coefficients = self.coefficients[a, b, gate][states[inside]]
            powers = [chebyshev.chebvander(x, n - 1) for x, n in zip((d, s), coefficients.shape[1:], strict=True)]
            result[inside] = np.einsum("npq,np,nq->n", coefficients, *powers, optimize=True)
        return result

    def _by_piece(
        self, across: Floats, source: Floats
    ) -> Iterator[tuple[tuple[int, int], NDArray[np.bool_], Floats, Floats]]:
        """Yield for each piece with any volts in it: its indices, a mask of these volts, and their scaled values."""
        a, b = _piece_of(across, self.across_edges), _piece_of(source, self.source_edges)
        for piece in np.unique(np.stack([a.ravel(), b.ravel()]), axis=1).T:
            inside = (a == piece[0]) & (b == piece[1])
            d = scaled(across[inside], *self.across_edges[piece[0] : piece[0] + 2])
            s = scaled(source[inside], *self.source_edges[piece[1] : piece[1] + 2])
            yield (int(piece[0]), int(piece[1])), inside, d, s

    def monomials(self) -> Floats:
        """Return the coefficients of the same polynomials in powers of the scaled volts, which are cheaper to evaluate.

        The shape is that of `coefficients`.
        """
        degrees = self.coefficients.shape[4:]
        across, source = (np.zeros((count, count)) for count in degrees)
        for basis in (across, source):
            for degree in range(len(basis)):
                basis[degree, : degree + 1] = chebyshev.cheb2poly([0.0] * degree + [1.0])
        result: Floats = np.einsum("mngtpq,pa,qb->mngtab", self.coefficients, across, source)
        return result


def scaled(volts: Floats, low: float, high: float) -> Floats:
    """Map volts from [low, high] to [-1, 1]; any shape."""
    return (volts - (low + high) / 2) / ((high - low) / 2)


def _piece_of(volts: Floats, edges: Floats) -> np.ndarray:
    """Return the piece in which each of the volts lies; volts outside belong to the piece at that end."""
    return np.searchsorted(edges[1:-1], volts, side="right")


def characterize(
    cell: Cell, gates: Floats, thresholds: Floats, box: Box, sweep: Sweep, least_parts: int = 1
) -> CellTable:
    """Fit `cell` at gate levels `[gates]` and thresholds `[thresholds]` over `box`; `sweep` measures single cells.

    The box is cut into at least `least_parts` parts. A single polynomial is refined to 1e-8 of the largest current, and
    pieces are tried only if it is not within their own tolerance, 1e-6. Raises SolveError if the error between the
    nodes is larger for every number of pieces, or if more pieces need more than MOST_POINTS simulated points.
    """
    tried: list[float] = []
    if least_parts == 1:
        smooth = _one_piece(cell, gates, thresholds, box, sweep, tried)
        if smooth is not None:
            return smooth
    for parts in (parts for parts in PARTS if parts >= least_parts):
        table = _fit(cell, gates, thresholds, box, sweep, parts, KINKED_NODES)
        tried.append(_relative_error(table))
        if tried[-1] <= KINKED_TOLERANCE:
            return table
        _check_points(cell, box, len(gates) * len(thresholds), tried, parts)
    errors = ", ".join(f"{error:.1e}" for error in tried)
    raise SolveError(
        f"the cell {cell.subcircuit} cannot be characterised over drain-source {box.across_low:g} to "
        f"{box.across_high:g} V, source {box.source_low:g} to {box.source_high:g} V: polynomials through "
        f"{', '.join(map(str, NODES))} nodes, then {', '.join(map(str, PARTS))} pieces, have errors of {errors} of "
        f"its largest current; the tolerance is {TOLERANCE:g}, or {KINKED_TOLERANCE:g} with pieces. "
        "Check the model for a step in this range, or use the ngspice backend, which needs no fit"
    )


def _check_points(cell: Cell, box: Box, curves: int, tried: list[float], parts: int) -> None:
    """Raise SolveError if a fit with pieces is not expected to succeed with at most MOST_POINTS points.

    The last of the errors `tried` is that of a fit with about `parts` parts; `curves` is the number of gate levels
    times that of states. The pieces over a wide box grow as the square of the parts, so the work needs a bound.
    """
    wanted = parts * (tried[-1] / KINKED_TOLERANCE) ** (1 / KINKED_ORDER)
    next_parts = next((count for count in PARTS if count >= wanted), PARTS[-1])
    pieces = [len(edges) - 1 for edges in box.edges(next_parts)]
    points = pieces[0] * pieces[1] * (KINKED_NODES**2 + len(BETWEEN) ** 2) * curves
    if points > MOST_POINTS:
        errors = ", ".join(f"{error:.1e}" for error in tried)
        raise SolveError(
            f"the cell {cell.subcircuit} has kinks, and cannot be characterised over drain-source {box.across_low:g} "
            f"to {box.across_high:g} V, source {box.source_low:g} to {box.source_high:g} V with at most "
            f"{MOST_POINTS:,} simulated points: the fits had errors of {errors} of its largest current, and "
            f"{next_parts} parts, which may reach the tolerance of {KINKED_TOLERANCE:g}, need {points:,}. Use the "
            "ngspice backend, which needs no fit"
        )


def _one_piece(
    cell: Cell, gates: Floats, thresholds: Floats, box: Box, sweep: Sweep, tried: list[float]
) -> CellTable | None:
    """Return a fit in one piece, refined to TOLERANCE, or the finest one if pieces need not be better; None for a cell
    with kinks. Its errors are appended to `tried`."""
    wanted, before = 0.0, 0
    for nodes in NODES:
        if nodes < min(wanted, NODES[-1]):
            continue
        table = _fit(cell, gates, thresholds, box, sweep, 1, nodes)
        tried.append(_relative_error(table))
        if tried[-1] <= TOLERANCE:
            return table
        if len(tried) > 1:
            gain = tried[-2] / tried[-1]
            if not gain > SMOOTH_GAIN:
                break
            if gain > SURE_GAIN:
                # The error of a smooth function falls by the same factor per node.
                far = np.log(tried[-1] / (SURE_MARGIN * TOLERANCE)) / np.log(gain)
                wanted = nodes + (nodes - before) * far
        before = nodes
    if tried[-1] <= KINKED_TOLERANCE:
        return table
    # A polynomial through n nodes resolves about as much as n / 4 pieces with 5 nodes, which share their ends.
    _check_points(cell, box, len(gates) * len(thresholds), tried, nodes // (KINKED_NODES - 1))
    return None


def _relative_error(table: CellTable) -> float:
    """Return the error in units of the largest current on the nodes; a cell may conduct only between them."""
    if table.top_amps:
        return table.error_amps / table.top_amps
    return np.inf if table.error_amps else 0.0


def _fit(cell: Cell, gates: Floats, thresholds: Floats, box: Box, sweep: Sweep, parts: int, nodes: int) -> CellTable:
    edges = box.edges(parts)
    points = chebyshev.chebpts2(nodes)
    inverse = np.linalg.inv(chebyshev.chebvander(points, nodes - 1))
    on_nodes = _measure(cell, gates, thresholds, edges, points, sweep)
    full = np.einsum("pd,mngtds,qs->mngtpq", inverse, on_nodes, inverse, optimize=True)
    top = float(np.abs(on_nodes).max())
    table = CellTable(gates, thresholds, box, parts, _shortened(full, 0.1 * TOLERANCE * top), 0.0, top)
    measured = _measure(cell, gates, thresholds, edges, BETWEEN, sweep)
    fitted = chebyshev.chebgrid2d(BETWEEN, BETWEEN, np.moveaxis(table.coefficients, (4, 5), (0, 1)))
    return replace(table, error_amps=float(np.abs(fitted - measured).max()))


def _measure(
    cell: Cell, gates: Floats, thresholds: Floats, edges: tuple[Floats, Floats], points: Floats, sweep: Sweep
) -> Floats:
    """Measure amperes `[across pieces, source pieces, gates, states, points, points]` at `points` of the pieces.

    `points` `[points]` are scaled to [-1, 1].
    """
    across, source = (
        (ends[1:, None] + ends[:-1, None]) / 2 + (ends[1:, None] - ends[:-1, None]) / 2 * points for ends in edges
    )
    shape = (len(across), len(source), len(gates), len(thresholds), len(points), len(points))
    sources = np.broadcast_to(source[None, :, None, None, None, :], shape)
    drains = across[:, None, None, None, :, None] + sources
    volts = (np.broadcast_to(gates[:, None, None, None], shape), drains, sources)
    states = np.broadcast_to(thresholds[:, None, None], shape)
    return sweep(cell, *(values.ravel() for values in (*volts, states))).reshape(shape)


def _shortened(full: Floats, negligible: float) -> Floats:
    """Drop the highest degrees if all their coefficients are negligible and no edge between pieces lies in that
    direction: a step at an edge, however small, keeps a solver from converging."""
    large = np.abs(full).max(axis=(0, 1, 2, 3)) > negligible
    across, source = full.shape[4:]
    if full.shape[0] == 1:
        across = np.flatnonzero(large.any(axis=1)).max(initial=0) + 1
    if full.shape[1] == 1:
        source = np.flatnonzero(large.any(axis=0)).max(initial=0) + 1
    return full[..., :across, :source].copy()
