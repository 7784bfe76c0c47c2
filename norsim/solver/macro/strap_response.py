"""What metal straps do to lines beyond their common rise: each strap follows the currents of the cells beside it.

The mean field has one rise m per group, for currents of all lines in proportion to their means. What it leaves out are
the rises of straps over that, dN. They are small and linear in currents: those of the field's nodes, because the
profile of the straps changes along them, and what the cells beside each strap draw more or less than their share. The
latter are *parts*: sums over groups of the currents into a strap, each times a piecewise linear function of the group's
place. In tables they are further lines, so that they follow the drive and the field as currents of lines do.

A line's current then changes by I_l kappa_l times the mean of dN over its cells, weighted by the drive along it, where
kappa_l is the slope of the line's current in m, divided by that current.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from norsim.array.tile import Floats, Tile
from norsim.solver.macro.presolve import Lifted, Presolved, mean_over_straps, mean_weights
from norsim.solver.strap_metal import StrapMetal, strap_metal

# Places along a strap at which currents are summed, and rises are taken.
PLACES = 4


@dataclass(frozen=True, eq=False)
class StrapResponse:
    """The change of lines' currents by rises of straps over the common one; without metal straps, all are empty.

    `places`       `[nodes, places]`: shares of the drive of the field's nodes at places along straps
    `of_parts`     ohms `[parts, places x straps]`, `of_field` ohms `[nodes, places x straps]`: rises from currents
    `at_rest`      volts `[places x straps]`
    `of_straps`    per volt `[straps, lines]`: the relative change of a line's current by the rise of each strap
    """

    places: Tensor
    of_parts: Tensor
    of_field: Tensor
    at_rest: Tensor
    of_straps: Tensor

    def changed(self, amps: Tensor, drive: Tensor, current: Tensor) -> Tensor:
        """Return the currents of lines `[vectors, lines]` for currents `[vectors, lines + parts]`, amperes, and the
        weighted sums and currents of the field's nodes, `[vectors, nodes]`."""
        if not self.of_parts.numel():
            return amps
        lines = self.of_straps.shape[1]
        found, parts = amps[:, :lines], amps[:, lines : lines + len(self.of_parts)]
        rise = self.at_rest + parts @ self.of_parts + current @ self.of_field
        share = drive @ self.places
        share = share / share.sum(dim=1, keepdim=True).clamp(min=torch.finfo(share.dtype).tiny)
        mean = (share[:, :, None] * rise.view(len(rise), share.shape[1], -1)).sum(dim=1)
        return found + found * (mean @ self.of_straps)


def hats(count: int, groups: int) -> tuple[NDArray[np.int64], Floats]:
    """Return `count` nodes among `groups` groups, and piecewise linear functions `[groups, nodes]` that are 1 at one
    of them."""
    nodes = np.rint(np.linspace(0, groups - 1, count)).astype(np.int64)
    each = [np.interp(np.arange(groups), nodes, one) for one in np.eye(count)]
    return nodes, np.stack(each, axis=1)


def no_response() -> StrapResponse:
    """Return the response of straps without metal."""
    nothing = torch.empty((0, 0))
    return StrapResponse(nothing, nothing, nothing, torch.empty(0), nothing)


def strap_response(
    tile: Tile, solved: Presolved, lifted: Lifted, x: Floats, members: Floats
) -> tuple[StrapResponse, Floats]:
    """Return the response of straps, and the currents of its parts per ampere of each line, `[groups, lines, parts]`.

    `x` `[groups, vectors, features]` are features of drives, whose mean slopes feed rises back to currents; `members`
    `[groups, nodes]` are those of the field. Rises are solved at its nodes. With R the rise of straps for currents into
    them, T the currents that a rise adds, P what is left of a rise beside the common one, n the nominal rise, and i the
    currents without dN,

        dN = P (R (i + T dN) - n),   so that   dN = (1 - P R T)^-1 P (R i - n).
    """
    straps = strap_metal(tile.wires, np.zeros((tile.source_lines, tile.bitlines)))
    ports, weight = straps.at_ports(), mean_weights(solved.local, solved.shape)
    # What each line of a group draws, and each strap takes, of a mean current of 1.
    mean = (x @ solved.level).mean(axis=1).sum(axis=0)
    drawn = mean / (mean @ weight)
    nodes = members / members.sum(axis=0)
    taken = np.einsum("gn,gsl,l->ns", nodes, ports, drawn)
    along = hats(min(PLACES, len(x)), len(x))[1]
    count = lifted.nominal.shape[1]
    beside = np.eye(count) - np.outer(lifted.share, mean_over_straps(lifted.share))
    from_nodes, from_places = (_rises(straps, one / one.sum(axis=0), nodes) for one in (members, along))
    moved = (x @ lifted.slope).mean(axis=1)
    of_line = _of_lines(straps, lifted.share)
    added = np.einsum("gn,gl,gsl,tl->nst", members, moved, ports, of_line)
    fed_back = np.einsum("rs,nsmt,mtu->nrmu", beside, from_nodes, added)
    each = len(members.T) * count
    answer, places = np.linalg.inv(np.eye(each) - fed_back.reshape(each, each)), np.linalg.pinv(nodes.T @ along)

    def answered(values: Floats) -> Floats:
        """Return the response to rises `[nodes, straps, ...]`, beside the common one, at places along straps."""
        rest = answer @ np.einsum("rs,ns...->nr...", beside, values).reshape(each, -1)
        found: Floats = np.einsum("pn,nsm->psm", places, rest.reshape(-1, count, rest.shape[1]))
        return found.reshape(-1, rest.shape[1])

    of_parts = answered(from_places.reshape(len(members.T), count, -1))
    of_field = answered(np.einsum("nsmt,mt->nsm", from_nodes, taken))
    at_rest = answered(-(nodes.T @ lifted.nominal)[:, :, None])
    currents, slopes = (np.einsum("gvf,gfl->vl", x, values) for values in (solved.level, lifted.slope))
    steep = (currents * slopes).sum(axis=0) / np.maximum((currents**2).sum(axis=0), 1e-40)
    tensors = (nodes.T @ along, of_parts.T, of_field.T, at_rest[:, 0], of_line * steep)
    # What a line draws beside its share of the mean current of all lines, by strap.
    rest = ports - (ports @ drawn)[:, :, None] * weight
    spread = np.einsum("gp,gsl->glps", along, rest).reshape(len(x), len(weight), -1)
    return StrapResponse(*(torch.from_numpy(np.ascontiguousarray(one)) for one in tensors)), spread


def _rises(straps: StrapMetal, sources: Floats, at: Floats) -> Floats:
    """Return the mean rise of straps at `at`, for a current into each strap at `sources`, each shares of source lines
    `[source lines, n]`: ohms, `[at, straps, sources, straps]`."""
    lines, count = straps.contacts.shape[:2]
    each = np.einsum("kn,st->ksnt", sources, np.eye(count)).reshape(lines, count, -1)
    found: Floats = np.einsum("km,ksn->msn", at, straps.volts(each)).reshape(at.shape[1], count, -1, count)
    return found


def _of_lines(straps: StrapMetal, share: Floats) -> Floats:
    """Return the rise of a line's cells for that of each strap, in units of the common rise, `[straps, lines]`."""
    before, after = straps.before.mean(axis=0), straps.after.mean(axis=0)
    unit, place = before * share[straps.strap] + after * share[straps.strap + 1], np.arange(len(before))
    found = np.zeros((len(share), len(before)))
    found[straps.strap, place], found[straps.strap + 1, place] = before / unit, after / unit
    return found
