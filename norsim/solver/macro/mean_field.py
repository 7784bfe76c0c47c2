"""The mean field of a tile's summing lines, fitted to presolved groups of cells: a `macro.Field`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from norsim.array.tile import Floats, Tile
from norsim.solver.input_lines import Driven
from norsim.solver.macro.model import Field, features
from norsim.solver.macro.presolve import Lifted, Presolved, mean_weights
from norsim.solver.macro.strap_response import hats

MOST_NODES = 8
# Metal straps move cells ten times as far as bitlines do, so their field has more nodes: all groups up to this many, or
# at most this many and the last group; these are multiples of so many groups apart, which fill bytes of
# norsim.solver.macro.bit_layout.
MOST_NODES_OF_METAL, GROUPS_OF_BYTE = 16, 4
MOST_ROUNDS = 40


@dataclass(frozen=True, eq=False)
class Line:
    """A summing line cut into blocks of groups, and the resistance that groups share.

    `rows`              driven lines per group
    `groups_per_block`, `blocks`
    `shared`            `[groups, groups]`, ohms
    `of_input`          `[inputs]`: the group of each input
    """

    rows: int
    groups_per_block: int
    blocks: int
    shared: Floats
    of_input: np.ndarray

    @property
    def mean(self) -> Floats:
        """`[groups, blocks]`: the matrix that takes the mean over each block."""
        return _means(np.arange(len(self.shared)) // self.groups_per_block)

    @property
    def own_feature(self) -> NDArray[np.int64]:
        """`[inputs]`: the index of the group's feature that an input is alone: its row's bit, or the drive itself."""
        own: NDArray[np.int64] = 1 + np.arange(len(self.of_input)) % self.rows
        return own

    def summed(self, values: Floats) -> Floats:
        """Sum `[groups, ...]` over each block to `[blocks, ...]`."""
        return np.add.reduceat(values, np.arange(0, len(values), self.groups_per_block), axis=0)

    def tables(self, values: Floats) -> list[Floats]:
        """Split `[groups, features, lines]` into one `[blocks, features of a block, lines]` for each of `features`."""
        groups, count, lines = values.shape
        padded = np.pad(values, ((0, self.blocks * self.groups_per_block - groups), (0, 0), (0, 0)))
        kinds = [padded[:, 1 : 1 + self.rows], *(padded[:, k : k + 1] for k in range(1 + self.rows, count))]
        return [kind.reshape(self.blocks, -1, lines) for kind in kinds]


def _means(parts: NDArray[np.int64]) -> Floats:
    """Return `[groups, parts]`, the matrix that takes the mean over each part; `parts` is the part of each group."""
    member = parts[:, None] == np.arange(parts[-1] + 1)
    means: Floats = member / member.sum(axis=0)
    return means


def line_of(tile: Tile, drive: Driven, groups: int, blocks: int) -> Line:
    """Return a line of `groups` groups of rows in at most `blocks` blocks, with the ohms that two groups share."""
    size = -(-groups // min(blocks, groups))
    wires, along = tile.wires, drive.direction == "wordlines"
    ohms, end = (wires.bitline_ohms, wires.bitline_end_ohms) if along else (wires.source_ohms, wires.source_end_ohms)
    rows = wires.rows_per_source_line if along else 1
    place = np.arange(groups) * rows + (rows - 1) / 2
    shared = end + ohms * np.minimum.outer(place, place)
    return Line(rows, size, -(-groups // size), shared, np.arange(drive.inputs(tile)) // rows)


@dataclass(frozen=True, eq=False)
class AtGroups:
    """Volts at groups, over their nominal values, for currents of nodes: currents @ `ohms` - `nominal`.

    `ohms` `[nodes, groups]`, `nominal` `[groups]`
    """

    ohms: Floats
    nominal: Floats

    def volts(self, currents: Floats) -> Floats:
        """Return volts `[groups, vectors]` for currents `[vectors, nodes]`."""
        found: Floats = (currents @ self.ohms - self.nominal).T
        return found


def fit_field(drive: Driven, solved: Presolved, line: Line, fit: Tensor) -> tuple[Field, AtGroups, AtGroups | None]:
    """Fit the mean field of all lines, with its nodes' currents and slopes, on the drives `fit` `[vectors, inputs]`.

    Also returns the volts of lines at groups and, with metal straps, those of these. Straps follow the same currents as
    lines, so they are further volts of the lines in the field: as many as change a current alike.
    """
    places, member = nodes_of(solved)
    # Volts at nodes are means of those at groups.
    nodes, count = member / member.sum(axis=0), member.shape[1]
    weight = mean_weights(solved.local, solved.shape)
    mean = {name: getattr(solved, name) @ weight for name in ("level", "common", "local")}
    profile = solved.profile @ weight
    own = line.own_feature
    weights = member[line.of_input] * mean["level"][line.of_input, own][:, None]
    x = group_features(fit, drive, line)
    sums, of_products = fit.numpy() @ weights, np.empty((0, 0, 0))
    if solved.lifted is not None:
        of_products = (mean["level"][:, 1 + line.rows :, None] * member[:, None]).transpose(1, 0, 2)
        sums = sums + sum(x[:, :, 1 + line.rows + kind].T @ one for kind, one in enumerate(of_products))
    found = {name: (x @ values[:, :, None])[:, :, 0].T @ member for name, values in mean.items()}
    to_groups = nodes.T @ line.shared if solved.lifted is None else _from_nodes(line.shared, places, member)
    lines = AtGroups(to_groups, profile)
    mean_slope = found["common"].mean(axis=0)
    between, at_rest = to_groups @ nodes, profile @ nodes
    metal, bends = None, np.zeros(count)
    if solved.lifted is not None:
        metal = AtGroups(_from_nodes(solved.lifted.shared, places, member), solved.lifted.profile)
        slope = (x @ (solved.lifted.slope @ weight)[:, :, None])[:, :, 0].T @ member
        ratio = slope.mean(axis=0) / np.where(mean_slope, mean_slope, -np.inf)
        between, at_rest = between + (metal.ohms @ nodes) * ratio, at_rest + (metal.nominal @ nodes) * ratio
        bent = (x @ (solved.lifted.bend @ weight)[:, :, None])[:, :, 0].T @ member
        bends = np.where(ratio, bent.mean(axis=0) / np.where(ratio, 2 * ratio**2 * sums.mean(axis=0), 1.0), 0.0)
    answer = np.linalg.inv(np.eye(len(mean_slope)) - mean_slope[:, None] * between)
    to_blocks = to_groups @ line.mean
    full = weights.sum(axis=0)
    shares = (member.T @ line.mean > 0).astype(np.float64)
    response, shift = _responses(drive, solved, line, to_groups, profile, to_blocks, metal)
    values = {
        "members": member,
        "weights": weights,
        "products": of_products,
        "currents": _polynomials(sums, found["level"], 2),
        "slopes": _polynomials(sums, found["common"], 1),
        "local_slopes": _polynomials(sums, found["local"], 1),
        "bends": bends,
        "mean_slope": mean_slope,
        "shared": between @ answer,
        "nominal": at_rest @ answer,
        "response": response,
        "shift": shift,
        "to_blocks": to_blocks,
        "at_blocks": profile @ line.mean,
        "lifts": np.empty((0, 0, 0)) if metal is None else np.stack([_at(lines, nodes), _at(metal, nodes)]),
        "shares": shares / np.maximum((full[:, None] * shares).sum(axis=0), 1e-30),
    }
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in values.items()}
    field = Field(**tensors, rounds=MOST_ROUNDS)
    return field, lines, metal


def nodes_of(solved: Presolved) -> tuple[NDArray[np.int64], Floats]:
    """Return the groups `[nodes]` at nodes of the field, and the share `[groups, nodes]` of a group in each.

    A node is a run of groups. With metal straps it is one group: others are shared by the nodes before and after them,
    so that the moment of the currents along the straps is kept.
    """
    groups = len(solved.level)
    if solved.lifted is not None:
        bytes_apart = -(-groups // (GROUPS_OF_BYTE * MOST_NODES_OF_METAL))
        apart = 1 if groups <= MOST_NODES_OF_METAL else GROUPS_OF_BYTE * bytes_apart
        nodes = np.unique([*range(0, groups, apart), groups - 1])
        return nodes, hats(nodes, groups)
    count = min(groups, MOST_NODES)
    run = np.arange(groups) * count // groups
    return np.searchsorted(run, np.arange(count)), (run[:, None] == np.arange(count)).astype(np.float64)


def _at(volts: AtGroups, nodes: Floats) -> Floats:
    """Return what takes (-1, currents of nodes) to volts at nodes, `[1 + nodes, nodes]`."""
    return np.vstack([volts.nominal @ nodes, volts.ohms @ nodes])


def _from_nodes(shared: Floats, places: NDArray[np.int64], member: Floats) -> Floats:
    """Return the ohms `[nodes, groups]` from currents of nodes to volts of groups, of which `shared` `[groups, groups]`
    are the ohms.

    Currents act as if they flowed at the nodes, and volts are linear between these; to which is added how far the volts
    of a current that is spread over its node's groups deviate from that.
    """
    at_nodes, spread = shared[places][:, places] @ member.T, (member / member.sum(axis=0)).T
    found: Floats = at_nodes + spread @ shared - spread @ member @ at_nodes
    return found


def _polynomials(x: Floats, y: Floats, degree: int) -> Floats:
    """Fit y over x, both `[vectors, nodes]`, by least squares; return `[degree + 1, nodes]`, lowest power first."""
    scale = np.maximum(np.abs(x).max(axis=0), 1e-30)
    fits = [np.linalg.lstsq(np.vander(a, degree + 1, increasing=True), b, rcond=1e-10)[0]
            for a, b in zip((x / scale).T, y.T, strict=True)]  # fmt: skip
    result: Floats = np.array(fits).T / scale ** np.arange(degree + 1)[:, None]
    return result


def _responses(
    drive: Driven,
    solved: Presolved,
    line: Line,
    to_groups: Floats,
    profile: Floats,
    to_blocks: Floats,
    metal: AtGroups | None,
) -> tuple[Floats, Floats]:
    """Return `Field.response` and `Field.shift`, each `[1 + 2 nodes, inputs]`.

    A change of drive by v (still + change x) is the best fit to the common slopes of an input's cells under
    volts v; and a current that enters far from the middle of its block moves its line by more or less.
    """
    group, own = line.of_input, line.own_feature
    level, common = solved.level[group, own], solved.common[group, own]
    still = _per_drive(solved.common[group, 0], level)
    if drive.direction == "wordlines":
        # A row that is off stays off.
        still[:] = 0.0
        change = _per_drive(common, level)
    else:
        change = _per_drive(common - 2 * still[:, None] * solved.level[group, 2], level)
    volts, at_rest = to_groups[:, group], -profile[group]
    within = volts - to_blocks[:, group // line.groups_per_block]
    response = np.vstack([1 + change * at_rest, change * volts, within])
    if metal is not None and solved.lifted is not None:
        lifted = change_of_straps(solved.level, solved.lifted, line)
        response[0] -= lifted * metal.nominal[group]
        response[1 : 1 + len(volts)] += lifted * metal.ohms[:, group]
    shift = np.vstack([still * at_rest, still * volts, np.zeros_like(within)])
    return response, shift if still.any() else np.empty((0, 0))


def change_of_straps(level: Floats, lifted: Lifted, line: Line) -> Floats:
    """Return the change `[inputs]` of a drive by a volt on the straps; `level` `[groups, features, lines]`."""
    group, own = line.of_input, line.own_feature
    return _per_drive(lifted.slope[group, own], level[group, own])


def _per_drive(slopes: Floats, level: Floats) -> Floats:
    """Return the change of drive per volt `[inputs]` that fits `slopes` `[inputs, lines]` best, for currents `level` of
    a full drive."""
    found: Floats = (slopes * level).sum(axis=1) / np.maximum(np.square(level).sum(axis=1), 1e-40)
    return found


def group_features(x: Tensor, drive: Driven, line: Line) -> Floats:
    """Return the features `[groups, vectors, features]` of drives `x` `[vectors, inputs]`, the constant one first."""
    groups = len(line.shared)
    found = [kind.numpy() for kind in features(x, drive, line.rows, groups, 1)]
    return np.concatenate([np.ones((groups, len(x), 1)), *found], axis=2)
