"""Resistor networks solved by a sparse nodal matrix; nodes without resistance between them are merged."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array, csc_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from norsim.array.tile import Floats
from norsim.array.wires import Wires

Edge = tuple[int, int, float]


def node_volts(nodes: int, edges: Sequence[Edge], held: dict[int, float], drawn: Floats) -> Floats:
    """Solve volts `[nodes]`; `edges` are (node, node, ohms), `held` are given volts, `drawn` are amperes that leave."""
    shorts = np.array([(a, b) for a, b, ohms in edges if ohms == 0], dtype=int).reshape(-1, 2).T
    count, of = connected_components(coo_array((np.ones(shorts.shape[1]), tuple(shorts)), (nodes, nodes)))
    a, b, ohms = (np.array(column) for column in zip(*[edge for edge in edges if edge[2] > 0], strict=True))
    a, b, g = of[a.astype(int)], of[b.astype(int)], 1 / ohms
    entries = (np.concatenate([g, g, -g, -g]), (np.concatenate([a, b, a, b]), np.concatenate([a, b, b, a])))
    matrix = csc_array(coo_array(entries, (count, count)))
    right = -np.bincount(of, drawn, count)
    volts = np.zeros(count)
    for node, value in held.items():
        volts[of[node]] = value
    free = np.setdiff1d(np.arange(count), of[list(held)])
    if len(free):
        volts[free] = splu(matrix[free][:, free].tocsc()).solve((right - matrix @ volts)[free])
    result: Floats = volts[of]
    return result


def line_edges(cells: Sequence[int], ends: Sequence[int], first: int, ohms: float, end_ohms: float, every: int | None):
    """Return a line through `cells`: edges from node to node and to the nodes `ends`; new nodes from `first` on.

    With `every`, a strap is before each `every`-th cell and after the last one, each with its own end, or all with the
    same; without, the line ends next to its first cell.
    """
    nodes, straps = list(cells), [cells[0]]
    if every:
        nodes, straps = [], []
        for place, cell in enumerate(cells):
            if place % every == 0:
                straps.append(first + len(straps))
                nodes.append(straps[-1])
            nodes.append(cell)
        straps.append(first + len(straps))
        nodes.append(straps[-1])
    edges = [(a, b, ohms) for a, b in pairwise(nodes)]
    pads = ends if len(ends) > 1 else [ends[0]] * len(straps)
    edges += [(strap, pad, end_ohms) for strap, pad in zip(straps, pads, strict=True)]
    return edges, first + (len(straps) if every else 0)


def resistor_tile(ohms: Floats, wires: Wires, bitline_volts: Floats) -> tuple[Floats, Floats]:
    """Solve amperes `[bitlines]` and `[source lines]` of resistors `[wordlines, bitlines]`, source lines at 0 V."""
    rows, columns = ohms.shape
    lines = wires.source_lines(rows)
    drains = np.arange(rows * columns).reshape(rows, columns)
    sources = rows * columns + np.arange(lines * columns).reshape(lines, columns)
    drivers, ground = drains.size + sources.size + np.arange(columns), drains.size + sources.size + columns
    free = ground + 1
    edges: list[Edge] = []
    for j in range(columns):
        wire, free = line_edges(drains[:, j], [drivers[j]], free, wires.bitline_ohms, wires.bitline_end_ohms, None)
        edges += wire
    metal = np.full((lines, 1), ground)
    if wires.has_strap_metal:
        straps = -(-columns // wires.strap_every) + 1
        metal = free + np.arange(lines * straps).reshape(lines, straps)
        free += metal.size
        ohms_between = wires.strap_ohms * wires.rows_per_source_line
        edges += [(a, b, ohms_between) for a, b in zip(metal[:-1].ravel(), metal[1:].ravel(), strict=True)]
        pads = [*metal[0], *(metal[-1] if wires.strap_ends == "both" else [])]
        edges += [(pad, ground, wires.ground_ohms) for pad in pads]
    for k in range(lines):
        wire, free = line_edges(
            sources[k], metal[k].tolist(), free, wires.source_ohms, wires.source_end_ohms, wires.strap_every
        )
        edges += wire
    of_cell = [(drains[i, j], sources[i // wires.rows_per_source_line, j]) for i in range(rows) for j in range(columns)]
    edges += [(a, b, r) for (a, b), r in zip(of_cell, ohms.ravel(), strict=True)]
    held = {int(ground): 0.0, **{int(node): volts for node, volts in zip(drivers, bitline_volts, strict=True)}}
    volts = node_volts(free, edges, held, np.zeros(free))
    amps = np.array([volts[a] - volts[b] for a, b in of_cell]).reshape(rows, columns) / ohms
    by_line = np.add.reduceat(amps.sum(axis=1), np.arange(0, rows, wires.rows_per_source_line))
    return amps.sum(axis=0), by_line
