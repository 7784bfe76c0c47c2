"""What metal straps do to lines beyond their common rise: each strap follows the currents of the cells beside it.

The mean field has one rise m per group, for currents of all lines in proportion to their means. What it leaves out are
the rises of straps over that, dN. They are small and linear in currents: those of the field's nodes, because the
profile of the straps changes along them, and what the cells beside each strap draw more or less than their share. The
latter are *parts*: sums over groups of the currents into a strap, each times a mode of the strap at the group. In
tables they are further lines, so that they follow the drive and the field as currents of lines do.

Modes are the eigenvectors of the rise along straps whose currents are all alike. Source lines couple the straps in the
same way everywhere, so a current in the profile of a mode makes rises in that profile alone. The rise of mode k falls
with k^2, so the first few have nearly all of it.

A line's current then changes by I_l kappa_l times the mean of dN over its cells, weighted by the drive along it, where
kappa_l is the slope of the line's current in m, divided by that current.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from norsim.array.tile import Floats
from norsim.solver.macro.presolve import Lifted, Presolved, mean_over_straps, mean_weights
from norsim.solver.strap_metal import StrapMetal

# Modes of a strap that are kept.
MODES = 3


@dataclass(frozen=True, eq=False)
class StrapResponse:
    """The change of lines' currents by rises of straps over the common one; without metal straps, all are empty.

    `modes`        `[nodes, modes]`: modes of a strap at the field's nodes
    `of_parts`     ohms `[parts, modes x straps]`, `of_field` ohms `[nodes, modes x straps]`: rises from currents
    `at_rest`      volts `[modes x straps]`
    `of_straps`    per volt `[straps, lines]`: the relative change of a line's current by the rise of each strap
    """

    modes: Tensor
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
        share = drive / drive.sum(dim=1, keepdim=True).clamp(min=torch.finfo(drive.dtype).tiny)
        along = share @ self.modes
        mean = (along[:, :, None] * rise.view(*along.shape, -1)).sum(dim=1)
        return found + found * (mean @ self.of_straps)


def hats(nodes: NDArray[np.int64], groups: int) -> Floats:
    """Return piecewise linear functions `[groups, nodes]` of `groups` groups, each 1 at one of the groups `nodes`
    `[nodes]` and 0 at the others."""
    each = [np.interp(np.arange(groups), nodes, one) for one in np.eye(len(nodes))]
    return np.stack(each, axis=1)


def no_response() -> StrapResponse:
    """Return the response of straps without metal."""
    nothing = torch.empty((0, 0))
    return StrapResponse(nothing, nothing, nothing, torch.empty(0), nothing)


def strap_response(solved: Presolved, lifted: Lifted, x: Floats, members: Floats) -> tuple[StrapResponse, Floats]:
    """Return the response of straps, and the currents of its parts per ampere of each line, `[groups, lines, parts]`.

    `x` `[groups, vectors, features]` are features of drives, whose mean slopes feed rises back to currents; `members`
    `[groups, nodes]` are those of the field. With R the rise of straps for currents into them, T the currents that a
    rise adds, P what is left of a rise beside the common one, n the nominal rise, and i the currents without dN,

        dN = P (R (i + T dN) - n),   so that   dN = (1 - P R T)^-1 P (R i - n).
    """
    straps, nodes = lifted.straps, members / members.sum(axis=0)
    weight, average = mean_weights(solved.local, solved.shape), x.mean(axis=1)[:, None]
    # Lines without conductances are all alike, and so are their ports.
    ports, modes, count = straps.at_ports()[0], modes_of(straps), lifted.nominal.shape[1]
    # What each line of a group draws, and each strap takes, of a mean current of 1.
    mean = (average @ solved.level)[:, 0]
    drawn = mean.sum(axis=0) / (mean.sum(axis=0) @ weight)
    taken, of_line = ports @ drawn, _of_lines(straps, lifted.share)
    kinds, each = modes.shape[1], modes.shape[1] * count

    def at_modes(profile: Floats) -> Floats:
        """Return currents or rises `[groups, straps, ...]` of modes, `[modes x straps, ...]`."""
        found: Floats = (modes.T @ profile.reshape(len(modes), -1)).reshape(each, *profile.shape[2:])
        return found

    into_straps = np.einsum("gk,st->gskt", modes, np.eye(count)).reshape(len(modes), count, each)
    rises = at_modes(straps.volts(into_straps))
    beside = np.kron(np.eye(kinds), np.eye(count) - np.outer(lifted.share, mean_over_straps(lifted.share)))
    moved = (average @ lifted.slope)[:, 0]
    by_mode = (modes[:, :, None] * modes[:, None]).reshape(len(modes), -1).T @ moved
    added = (by_mode.reshape(-1, 1, len(weight)) * ports) @ of_line.T
    added = added.reshape(kinds, kinds, count, count).transpose(0, 2, 1, 3).reshape(each, each)
    answer = np.linalg.inv(np.eye(each) - beside @ rises @ added) @ beside
    of_field = answer @ rises @ np.kron(modes.T @ nodes, taken[:, None])
    level, slope = solved.level.sum(axis=1), lifted.slope.sum(axis=1)
    steep = slope.sum(axis=0) / level.sum(axis=0)
    at_rest = -answer @ at_modes(lifted.nominal)
    tensors = (nodes.T @ modes, (answer @ rises).T, of_field.T, at_rest, of_line * steep)
    # What a line draws beside its share of the mean current of all lines, by strap.
    rest = ports - taken[:, None] * weight
    spread = (modes[:, None, :, None] * rest.T[None, :, None]).reshape(len(modes), len(weight), each)
    return StrapResponse(*(torch.from_numpy(np.ascontiguousarray(one)) for one in tensors)), spread


def modes_of(straps: StrapMetal) -> Floats:
    """Return the modes `[source lines, modes]` of straps, orthonormal, those with the largest rises first."""
    lines, count = straps.contacts.shape[:2]
    alike = np.repeat(np.eye(lines)[:, None], count, axis=1)
    found: Floats = np.linalg.eigh(straps.volts(alike)[:, 0])[1][:, : -MODES - 1 : -1]
    return found


def _of_lines(straps: StrapMetal, share: Floats) -> Floats:
    """Return the rise of a line's cells for that of each strap, in units of the common rise, `[straps, lines]`."""
    before, after = straps.before.mean(axis=0), straps.after.mean(axis=0)
    unit, place = before * share[straps.strap] + after * share[straps.strap + 1], np.arange(len(before))
    found = np.zeros((len(share), len(before)))
    found[straps.strap, place], found[straps.strap + 1, place] = before / unit, after / unit
    return found
