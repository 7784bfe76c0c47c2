"""The metal straps that take the current of source lines to ground, as a network: factored once per tile.

Strap s is a chain of nodes, one at each source line, with a resistance R from node to node; pads at one end or at both
take it to ground. Source line k ends on straps through contacts of r_c. With its strap nodes held at N_ks, a cell at
place j of the line rises by u_j + l_kj N_ks + r_kj N_k(s+1), where u_j is its rise with grounded straps
(norsim.solver.factored_line), and l, r are its responses to a volt on the strap before and after it. By reciprocity l
and r are also the shares of the cell's current that flow into these straps. So line k puts

    i_k = i0_k - Y_k N_k,    i0_ks = sum_j l_kj J_j + r_kj J_j,    N_k = M_k + r_c i_k

into its straps, whose metal is at M_k. The conductances Y_k between the straps of a line are what couples straps. With
C_k = 1 / (1 + r_c Y_k), matrices all, N_k = C_k (M_k + r_c i0_k) and i_k = C_k (i0_k - Y_k M_k). All that lies beyond
line k is replaced by one matrix of conductances and one vector of currents, from the far end to the near one,

    A_k = 1 / (1 + R B_k),    B_(k-1) = C_(k-1) Y_(k-1) + A_k B_k,    J_(k-1) = C_(k-1) i0_(k-1) + A_k J_k,
    M_0 = J_0 / (B_0 + 1 / ground),    M_k = A_k (M_(k-1) + R J_k),

which is block elimination in the form of norsim.solver.factored_line.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Floats
from norsim.array.wires import Wires


@dataclass(frozen=True, eq=False)
class StrapMetal:
    """The straps of a tile, factored; all empty if every strap contact is ideally grounded.

    `strap`            `[bitlines]`: the strap before each bitline
    `before`, `after`  `[source lines, bitlines]`: l and r
    `contacts`         `[source lines, straps, straps]`: C_k
    `shares`           `[source lines, straps, straps]`: A_k; that of line 0 is not used
    `first`            `[1, straps, straps]`, ohms: 1 / (B_0 + 1 / ground)
    `ohms`, `contact_ohms`   R and r_c
    """

    strap: NDArray[np.int64]
    before: Floats
    after: Floats
    contacts: Floats
    shares: Floats
    first: Floats
    ohms: float
    contact_ohms: float

    def volts(self, ports: Floats) -> Floats:
        """Return the volts of the strap nodes of lines, N, `[source lines, straps, ...]`, for the currents i0 that the
        lines put into grounded straps, of that shape."""
        lines = len(ports)
        if not lines:
            return ports
        beyond, found = self.contacts @ ports, np.empty_like(ports)
        for k in range(lines - 1, 0, -1):
            beyond[k - 1] += self.shares[k] @ beyond[k]
        metal = self.first[0] @ beyond[0]
        for k in range(lines):
            if k:
                metal = self.shares[k] @ (metal + self.ohms * beyond[k])
            found[k] = self.contacts[k] @ (metal + self.contact_ohms * ports[k])
        return found

    def per_ampere(self) -> Floats:
        """Return `volts` as a matrix, ohms, over source lines and straps, flat; empty without metal."""
        lines, straps = self.contacts.shape[:2]
        each = np.eye(lines * straps)
        found: Floats = self.volts(each.reshape(lines, straps, len(each))).reshape(each.shape)
        return found

    def at_ports(self) -> Floats:
        """Return `[source lines, straps, bitlines]`: the shares of each cell's current that flow into the straps."""
        lines, bitlines = self.before.shape
        if not self.strap.size:
            return np.empty_like(self.contacts)
        found, place = np.zeros((lines, self.contacts.shape[1], bitlines)), np.arange(bitlines)
        found[:, self.strap, place] = self.before
        found[:, self.strap + 1, place] = self.after
        return found


@dataclass(frozen=True, eq=False)
class StrapModes:
    """The straps of source lines whose cells have no conductance, in coordinates in which they are not coupled: all
    lines then have the same Y, whose eigenvectors are the coordinates.

    `before`, `after`  `[bitlines]`: l and r
    `modes`            `[straps, straps]`: eigenvectors of Y, in columns
    `conductances`     `[straps]`: eigenvalues of Y, siemens
    """

    before: Floats
    after: Floats
    modes: Floats
    conductances: Floats


@lru_cache(maxsize=64)
def strap_modes(wires: Wires, bitlines: int) -> StrapModes:
    """Return the modes of the straps of source lines with `bitlines` cells: all tiles of a chip have them."""
    metal = unloaded_straps(wires, 1, bitlines)
    strap = metal.strap
    between = _between(wires.source_ohms, metal.before, metal.after, strap, int(strap[-1]) + 2)[0]
    conductances, modes = np.linalg.eigh((between + between.T) / 2)
    return StrapModes(metal.before[0], metal.after[0], modes, conductances)


@lru_cache(maxsize=64)
def own_ohms(wires: Wires, lines: int, bitlines: int) -> Floats:
    """Return `[source lines, straps, straps]`, ohms: the volts of a line's strap nodes for currents into its own.

    Lines have no cells, and strap contacts no resistance.
    """
    found = strap_modes(wires, bitlines)
    ohms, far = wires.strap_ohms * wires.rows_per_source_line, wires.strap_ends == "both"
    ground = 1 / wires.ground_ohms if wires.ground_ohms else np.inf
    # What a line's node sees of all lines before it, and of all beyond it.
    seen = np.empty((2, lines, len(found.modes)))
    with np.errstate(divide="ignore"):
        for side, end in zip(seen, (ground, ground if far else 0.0), strict=True):
            side[0] = end
            for k in range(1, lines):
                side[k] = 1 / (ohms + 1 / (found.conductances + side[k - 1]))
    each = found.conductances + seen[0] + seen[1, ::-1]
    own: Floats = (found.modes / each[:, None, :]) @ found.modes.T
    return own


def no_metal() -> StrapMetal:
    """Return the straps of a tile whose strap contacts are all ideally grounded."""
    lines, matrices = np.empty((0, 0)), np.empty((0, 0, 0))
    return StrapMetal(np.empty(0, np.int64), lines, lines, matrices, matrices, matrices, 0.0, 0.0)


def strap_metal(wires: Wires, conductances: Floats) -> StrapMetal:
    """Factor the straps of source lines with cells of `conductances` `[source lines, bitlines]`, siemens."""
    if not wires.has_strap_metal or wires.strap_every is None:
        return no_metal()
    lines, bitlines = conductances.shape
    strap = np.arange(bitlines) // wires.strap_every
    straps, each = int(strap[-1]) + 2, np.eye(int(strap[-1]) + 2)
    r = wires.source_ohms
    before = _responses(r, conductances, strap)
    after = _responses(r, conductances[:, ::-1], strap[-1] - strap[::-1])[:, ::-1]
    between = _between(r, before, after, strap, straps)
    contacts = _inverse(each + wires.source_end_ohms * between)
    seen, ohms = contacts @ between, wires.strap_ohms * wires.rows_per_source_line
    ground = 1 / wires.ground_ohms if wires.ground_ohms else np.inf
    shares = np.zeros((lines, straps, straps))
    beyond = seen[-1]
    far = wires.strap_ends == "both"
    if far and np.isfinite(ground):
        beyond = beyond + ground * each
    for k in range(lines - 1, 0, -1):
        if far and k == lines - 1 and np.isinf(ground):
            # The last node is at ground, so the one before it sees only the metal between them.
            beyond = seen[k - 1] + each / ohms
            continue
        shares[k] = _inverse(each + ohms * beyond)
        beyond = seen[k - 1] + shares[k] @ beyond
    first = np.zeros((straps, straps)) if np.isinf(ground) else _inverse(beyond + ground * each)
    return StrapMetal(strap, before, after, contacts, shares, first[None], ohms, wires.source_end_ohms)


@lru_cache(maxsize=64)
def unloaded_straps(wires: Wires, lines: int, bitlines: int) -> StrapMetal:
    """Return the straps of `lines` source lines whose cells have no conductance: all tiles of a chip have them."""
    return strap_metal(wires, np.zeros((lines, bitlines)))


def metal_rise(wires: Wires, amps: Floats) -> float:
    """Return an upper bound of the rise of straps, volts: that for the currents `amps` `[source lines, bitlines]` of
    cells. Less current from any cell lowers every node of a network of resistors."""
    metal = unloaded_straps(wires, *amps.shape)
    return float(metal.volts(metal.at_ports() @ amps[:, :, None]).max()) if metal.strap.size else 0.0


def _inverse(matrices: Floats) -> Floats:
    return np.linalg.inv(matrices).astype(np.float64, copy=False)


def _responses(ohms: float, conductances: Floats, strap: NDArray[np.int64]) -> Floats:
    """Return l `[source lines, bitlines]`: the volts at each cell for a volt on the strap before it, with the strap
    after it grounded."""
    share, found = np.empty_like(conductances), np.empty_like(conductances)
    bitlines = conductances.shape[1]
    for j in range(bitlines - 1, -1, -1):
        if j == bitlines - 1 or strap[j + 1] != strap[j]:
            beyond = np.full(len(conductances), 1 / ohms)
        total = conductances[:, j] + beyond
        share[:, j] = 1 / (1 + ohms * total)
        beyond = share[:, j] * total
    for j in range(bitlines):
        starts = j == 0 or strap[j - 1] != strap[j]
        found[:, j] = share[:, j] if starts else share[:, j] * found[:, j - 1]
    return found


def _between(ohms: float, before: Floats, after: Floats, strap: NDArray[np.int64], straps: int) -> Floats:
    """Return Y `[source lines, straps, straps]`, siemens, of source lines between their straps."""
    found = np.zeros((len(before), straps, straps))
    for s in range(straps - 1):
        cells = np.flatnonzero(strap == s)
        first, last = cells[0], cells[-1]
        found[:, s, s] += (1 - before[:, first]) / ohms
        found[:, s + 1, s + 1] += (1 - after[:, last]) / ohms
        found[:, s, s + 1] -= after[:, first] / ohms
        found[:, s + 1, s] -= before[:, last] / ohms
    return found
