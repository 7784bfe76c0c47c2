"""A line of the array as a chain of nodes: factored once per tile, solved for every vector.

Node m has a conductance y_m to the line's volts, a current j_m drawn from it (bitline) or put into it
(source line), and a resistance r to node m - 1. With u_m the deviation from the line's volts, Kirchhoff's
current law reads

    y_m u_m + (u_m - u_(m-1)) / r + (u_m - u_(m+1)) / r = j_m.

Replacing everything beyond node m by one conductance Y_m and one current J_m, from the far end to the near one,

    a_m = 1 / (1 + r Y_m),    Y_(m-1) = y_(m-1) + a_m Y_m,    J_(m-1) = j_(m-1) + a_m J_m,
    u_0 = J_0 / Y_0,          u_m = a_m (u_(m-1) + r J_m),

which is Gaussian elimination in a form in which r = 0 (a lossless line) and y = infinity (an ideal
strap) need no special case: a_m Y_m then tends to 1 / r.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from norsim.array.compiled import njit
from norsim.array.tile import Floats
from norsim.array.wires import Wires


@dataclass(frozen=True, eq=False)
class Chain:
    """A number of equal lines, `chains`, of `nodes` nodes each, factored.

    `ohms`      r, from node to node
    `cell`      `[nodes]`: the index along the line of the cell at a node, or -1 at a strap
    `share`     `[chains, nodes]`: a_m
    `last`      `[chains]`: 1 / Y_0
    """

    ohms: float
    cell: NDArray[np.int64]
    share: Floats
    last: Floats


def bitlines(wires: Wires, conductances: Floats) -> Chain:
    """Factor bitlines with cells of `conductances` `[wordlines, bitlines]`, siemens, driven at wordline 0."""
    nodes = np.arange(conductances.shape[0])
    return _factor(wires.bitline_ohms, nodes, conductances.T, {0: _inverse(wires.bitline_end_ohms)})


def source_lines(wires: Wires, conductances: Floats) -> Chain:
    """Factor source lines, strapped or sensed, with cells of `conductances` `[source lines, bitlines]`, siemens.

    Straps of metal with a resistance are taken as grounded here; norsim.solver.strap_metal adds what they rise.
    """
    bitlines = conductances.shape[1]
    end = np.inf if wires.has_strap_metal else _inverse(wires.source_end_ohms)
    if wires.strap_every is None:
        return _factor(wires.source_ohms, np.arange(bitlines), conductances, {0: end})
    nodes: list[int] = []
    for j in range(bitlines):
        if j % wires.strap_every == 0:
            nodes.append(-1)
        nodes.append(j)
    cells = np.array([*nodes, -1])
    straps = {int(m): end for m in np.flatnonzero(cells < 0)}
    at_nodes = np.where(cells >= 0, conductances[:, np.maximum(cells, 0)], 0.0)
    return _factor(wires.source_ohms, cells, at_nodes, straps)


def per_ampere(line: Chain) -> Floats:
    """Return `[chains, cells, cells]`, ohms: the deviation at each cell for a current into another: what solving a line
    multiplies its currents with."""
    chains, nodes = line.share.shape
    at = np.flatnonzero(line.cell >= 0)
    totals = np.zeros((nodes, chains, len(at)))
    totals[at, :, np.arange(len(at))] = 1.0
    for m in range(nodes - 1, 0, -1):
        totals[m - 1] += line.share[:, m, None] * totals[m]
    totals[0] *= line.last[:, None]
    for m in range(1, nodes):
        totals[m] = line.share[:, m, None] * (totals[m - 1] + line.ohms * totals[m])
    return np.ascontiguousarray(totals[at].transpose(1, 0, 2))


def _inverse(ohms: float) -> float:
    return 1 / ohms if ohms else np.inf


def _factor(ohms: float, cell: NDArray[np.int64], conductances: Floats, ends: dict[int, float]) -> Chain:
    """Factor chains of `conductances` `[chains, nodes]`; `ends` are the conductances to the line's volts, by node."""
    to_volts = np.zeros(len(cell))
    to_volts[list(ends)] = list(ends.values())
    share, last = np.empty(conductances.shape), np.empty(len(conductances))
    _eliminate(float(ohms), np.ascontiguousarray(conductances, np.float64), to_volts, _inverse(ohms), share, last)
    return Chain(ohms, cell.astype(np.int64), share, last)


@njit(nogil=True, error_model="numpy")
def _eliminate(ohms, conductances, to_volts, segment, share, last):  # type: ignore[no-untyped-def]
    """Set share `[chains, nodes]` and last `[chains]` of chains of `conductances` `[chains, nodes]`, with further ones
    `to_volts` `[nodes]`; `segment` is that of `ohms`."""
    chains, nodes = conductances.shape
    for chain in range(chains):
        beyond = total = 0.0
        for m in range(nodes - 1, -1, -1):
            total = conductances[chain, m] + beyond + to_volts[m]
            if np.isinf(total):
                # The deviation of a node at an ideal strap is 0, so the next node sees only the segment.
                share[chain, m], beyond = 0.0, segment
            else:
                share[chain, m] = 1 / (1 + ohms * total)
                beyond = share[chain, m] * total
        last[chain] = 0.0 if np.isinf(total) else 1 / total
