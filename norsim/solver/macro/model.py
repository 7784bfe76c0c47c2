"""`macro`: a reduced-order model of a tile, evaluated by matrix products in torch.

It is built by norsim.solver.macro.build from presolved groups of cells (norsim.solver.macro.presolve). With u the
deviation of a summing line's volts from its nominal profile, the current of a group g into line l is

    i_gl = sum_f x_gf [ a_gfl + c_gfl v_g + d_gfl (u_gl - p_l v_g) ],

where x are features of the drive (products of bits; powers of the code), v is the common motion of all lines
in the shape p of the nominal profile, c is the slope in v, and d is the slope when one line moves alone.
Summing lines couple the groups through their resistance z, u_gl = sum_g' z_gg' i_g'l - n_gl. The system is solved
in two parts:

  * the *mean field* v follows, at nodes of a few groups each, from the mean currents under a drive. It acts as
    a change of the drive, cell by cell;
  * the deviation of each line, w = u - p v, is small and smooth. It is kept as one number per block of groups (one
    block for the whole line is often enough) and found by a fixed point around the mean slope.

The effect of a cell's current on its line depends on where along the line it enters; the mean slope of all
other cells determines by how much (`gain`). The theory page of the documentation has the derivation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from norsim.array.tile import Floats
from norsim.solver.input_lines import Driven
from norsim.solver.macro.presolve import subsets
from norsim.solver.macro.strap_response import StrapResponse

# Vectors are processed in parts that fit a core's cache, because all but the matrix products is memory-bound.
VALUES_AT_ONCE = 2**20
# Terms of the field with which the model is corrected: share, share v and share v^2.
CORRECTED = [1, 3, 5]


@dataclass(frozen=True, eq=False)
class Field:
    """The common motion of all lines, from the mean currents of nodes, each a few neighbouring groups.

    `members`   `[groups, nodes]`: the share of a group's current in each node; two next to each other may share it
    `weights`   `[inputs, nodes]`, amperes: the mean current of one fully driven input
    `products`  `[kinds, groups, nodes]`, amperes: what each product of bits of a group adds to that; empty if their
                effect on average is enough
    `currents`  `[3, nodes]`: polynomial of a node's current in the weighted sum of its inputs
    `slopes`    `[2, nodes]`, `local_slopes` likewise: the current's slope, linear in that sum, when all lines move
                together, and when one moves alone
    `bends`     `[nodes]`: half of the slope's change with volts, for a sum of 1; 0 without metal straps
    `mean_slope`  `[nodes]`: the slope's mean over drives, whose response is included in the next two
    `shared`, `nominal`  ohms `[nodes, nodes]` and volts `[nodes]`: nodes' volts = settled @ shared - nominal
    `response`, `shift`  `[1 + 2 nodes, inputs]`: linear in (1, currents, local slopes), the factor on an input's drive
                from the common motion of all lines and from the place where its current enters its line, and the
                term added to the drive before; `shift` is empty if a line at rest draws nothing
    `to_blocks`, `at_blocks`  ohms `[nodes, blocks]` and volts `[blocks]`: the mean field's volts by block
    `shares`    `[nodes, blocks]`: the share of full drive by block, in nodes' weighted sums
    `lifts`     ohms and volts `[2, 1 + nodes, nodes]`: volts of lines, and of metal straps, at nodes, from (-1,
                currents); empty without metal straps
    `rounds`    rounds of the fixed point between nodes, in addition to the mean slope's response
    """

    members: Tensor
    weights: Tensor
    products: Tensor
    currents: Tensor
    slopes: Tensor
    local_slopes: Tensor
    bends: Tensor
    mean_slope: Tensor
    shared: Tensor
    nominal: Tensor
    response: Tensor
    shift: Tensor
    to_blocks: Tensor
    at_blocks: Tensor
    shares: Tensor
    lifts: Tensor
    rounds: int

    def solve(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute weighted sums, node currents and local slopes `[vectors, nodes]` of drives `[vectors, inputs]`."""
        drive = x @ self.weights
        for kind, weights in zip(products(x, len(self.products), self.products.shape[1]), self.products, strict=True):
            drive = drive + kind @ weights
        return drive, *self.settle(drive)

    def settle(self, drive: Tensor) -> tuple[Tensor, Tensor]:
        """Compute node currents and local slopes `[vectors, nodes]` of weighted sums `[vectors, nodes]`."""
        level = self.currents[0] + drive * (self.currents[1] + drive * self.currents[2])
        slope, bend = self.slopes[0] + drive * self.slopes[1], drive * self.bends
        settled = level
        for _ in range(self.rounds):
            volts = settled @ self.shared - self.nominal
            settled = level + (slope - self.mean_slope + bend * volts) * volts
        volts = settled @ self.shared - self.nominal
        current = level + (slope + bend * volts) * volts
        return current, self.local_slopes[0] + drive * self.local_slopes[1]

    def effective(self, x: Tensor, current: Tensor, local: Tensor) -> Tensor:
        """Return the drive `[vectors, inputs]` that has the same effect at the nominal profile as `x` in the field."""
        state = torch.cat([torch.ones_like(current[:, :1]), current, local], dim=1)
        return (torch.addmm(x, state, self.shift) if self.shift.numel() else x) * (state @ self.response)

    def terms(self, drive: Tensor, current: Tensor, balance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the terms of the tables, `[blocks, vectors, TERMS]`, and balance currents `[vectors, blocks]`."""
        share, volts = drive @ self.shares, current @ self.to_blocks - self.at_blocks
        amps = volts @ balance
        terms = [torch.ones_like(volts), share, volts, share * volts, volts * volts, share * volts * volts, amps]
        if self.lifts.numel():
            of_lines, of_straps = (current @ one[1:] - one[0] for one in self.lifts)
            of_nodes = (of_straps, of_straps * of_straps, of_straps * of_lines, of_lines * of_lines)
            terms += [(drive * one) @ self.shares for one in of_nodes]
        return torch.stack(terms, dim=2).transpose(0, 1), amps


@dataclass(frozen=True, eq=False)
class Macro:
    """A tile's reduced model. `lines(x)` evaluates it: torch in, torch out, differentiable.

    `field`     the common motion of all lines
    `tables`    `[blocks, features of a block, lines]` for each of `features`, and a last one for the field's terms,
                amperes: deviation currents
    `still`     the same for features of the drive that is not changed by the field; none without metal straps
    `slopes`    `[blocks, SLOPE_TERMS, lines]` and `own` `[blocks, 1, lines]`: the local slope of a block, A/V, minus
                the mean slope, is linear in the field's first terms and in what the line's own features draw
    `coupling`  `[blocks, blocks]`, ohms, and `sums` `[1, blocks]`: from deviation currents to volts and to the line's
                current, with the mean slope's response included
    `balance`   `[blocks, blocks]`, siemens: from the mean field's volts to the equivalent currents
    `together`  `[2, lines]`: the line's nominal current and leakage, amperes, and its share of the balance current
    `straps`    what metal straps change beyond their common rise; its parts are further lines, after all others
    `full_scale_amps`  the top cell current times the number of inputs, the unit of `error`
    `error`     the largest deviation from nodal on the check vectors
    """

    drive: Driven
    rows_per_group: int
    groups_per_block: int
    field: Field
    tables: tuple[Tensor, ...]
    still: tuple[Tensor, ...]
    slopes: Tensor
    own: Tensor
    coupling: Tensor
    sums: Tensor
    balance: Tensor
    together: Tensor
    straps: StrapResponse
    rounds: int
    full_scale_amps: float
    error: float

    @property
    def blocks(self) -> int:
        """Number of blocks of a summing line."""
        return len(self.coupling)

    @property
    def summed(self) -> int:
        """Number of summing lines, without parts."""
        return self.own.shape[2] - len(self.straps.of_parts)

    def lines(self, x: Tensor) -> Tensor:
        """Compute currents `[vectors, lines]`, amperes, of drives `[vectors, inputs]` in [0, 1]."""
        return torch.cat([self._lines(part) for part in torch.split(x.to(self.own.dtype), self.at_once(x.shape[1]))])

    def node_of(self) -> tuple[NDArray[np.int64], Floats]:
        """Return the first node `[groups]` of each group, in order, and the share `[groups]` of its current that is in
        the next."""
        members = self.field.members.double().numpy()
        first = (members > 0).argmax(axis=1)
        beyond = np.pad(members, ((0, 0), (0, 1)))[np.arange(len(members)), first + 1]
        return first.astype(np.int64), beyond

    def at_once(self, inputs: int) -> int:
        """Return the best number of vectors of `inputs` inputs to process at a time."""
        return max(VALUES_AT_ONCE // max(self.own.numel(), inputs), 32)

    def _lines(self, x: Tensor) -> Tensor:
        drive, current, local = self.field.solve(x)
        terms, balance = self.field.terms(drive, current, self.balance)
        moved = self.field.effective(x, current, local)
        drawn = terms.new_zeros(*terms.shape[:2], self.own.shape[2])
        layout = (self.drive, self.rows_per_group, self.blocks, self.groups_per_block)
        of_moved = features(moved, *layout) if not self.still else changed_features(x, moved, *layout)
        for part, table in zip(of_moved, self.tables[:-1], strict=True):
            drawn = torch.baddbmm(drawn, part, table)
        if self.still:
            for part, table in zip(features(x, *layout), self.still, strict=True):
                drawn = torch.baddbmm(drawn, part, table)
        deviation = torch.baddbmm(drawn, terms, self.tables[-1])
        slope = torch.bmm(terms[:, :, : self.slopes.shape[1]], self.slopes).addcmul_(drawn, self.own)
        settled = deviation
        for _ in range(self.rounds):
            settled = torch.addcmul(deviation, slope, _across(self.coupling, settled))
        total = _across(self.sums, settled)[0]
        together = torch.stack([torch.ones_like(balance[:, 0]), balance.sum(dim=1)], dim=1)
        return self.straps.changed(torch.addmm(total, together, self.together), drive, current)


def corrections(model: Macro, x: Floats, missing: Floats) -> tuple[Floats, Floats]:
    """Return what to add to the currents of the field's terms, `[terms, lines]`, amperes, for a model whose currents
    under drives `x` `[vectors, inputs]` lack `missing` `[vectors, lines]`, amperes; and what each read still lacks if
    it takes no part in the fit, so that the largest of that is the error of other reads.

    Errors of a model are mostly alike for all reads with as many lines up, so those of each line are fitted to share,
    share v and share v^2. Errors of codes on bitlines have no such form, and nothing is added.
    """
    if model.drive.direction == "bitlines":
        return np.zeros((model.tables[-1].shape[1], model.own.shape[2])), missing
    weighted, current, _ = model.field.solve(torch.from_numpy(x).to(model.own))
    terms = model.field.terms(weighted, current, model.balance)[0].sum(dim=0).double().numpy()
    found, basis = np.zeros((terms.shape[1], model.own.shape[2])), terms[:, CORRECTED]
    scale = np.maximum(np.abs(basis).max(axis=0), 1e-30)
    basis = basis / scale
    inverse = np.linalg.pinv(basis, rcond=1e-8)
    found[CORRECTED, : missing.shape[1]] = (inverse @ missing) / scale[:, None]
    leverage = np.einsum("vk,kv->v", basis, inverse)[:, None]
    # A read that decides the fit alone, such as full drive, is beyond all others, so it is no example of them.
    return found, (missing - basis @ (inverse @ missing)) / np.maximum(1 - leverage, 0.5)


def _across(matrix: Tensor, values: Tensor) -> Tensor:
    """Multiply `[rows, blocks]` by `[blocks, vectors, lines]`; for a single element, a plain factor is faster."""
    if matrix.numel() == 1:
        return values * matrix
    return (matrix @ values.flatten(1)).view(-1, *values.shape[1:])


def products(x: Tensor, kinds: int, groups: int) -> list[Tensor]:
    """Return products of bits `[vectors, groups]` of drives `[vectors, inputs]`, of which there are `kinds`."""
    if not kinds:
        return []
    # 2^rows - 1 - rows kinds of products belong to that many rows.
    rows = int(kinds + 1).bit_length()
    x = torch.nn.functional.pad(x, (0, groups * rows - x.shape[1])).view(len(x), groups, rows)
    return _products([x[:, :, row] for row in range(rows)])


def _products(bits: list[Tensor]) -> list[Tensor]:
    """Return the products of two or more of `bits`, tensors of one shape, in the order of `subsets`."""
    return [reduce(torch.mul, [bits[row] for row in state]) for state in subsets(len(bits))[1 + len(bits) :]]


def features(x: Tensor, drive: Driven, rows_per_group: int, blocks: int, groups_per_block: int) -> list[Tensor]:
    """Compute `[blocks, vectors, features of a block]` of drives `[vectors, inputs]` for each kind except the constant.

    The first kind is the drive itself, input by input; then its square, or each product of bits of a group.
    """
    rows = groups_per_block * rows_per_group
    if x.shape[1] != blocks * rows:
        x = torch.nn.functional.pad(x, (0, blocks * rows - x.shape[1]))
    x = x.view(len(x), blocks, rows)
    if drive.direction == "bitlines":
        kinds = [x, x * x]
    else:
        kinds = [x, *_products([x[:, :, row::rows_per_group] for row in range(rows_per_group)])]
    return [kind.transpose(0, 1) for kind in kinds]


def changed_features(
    x: Tensor, moved: Tensor, drive: Driven, rows_per_group: int, blocks: int, groups_per_block: int
) -> list[Tensor]:
    """Compute `features` of bits `x` `[vectors, inputs]`, each plus the changes of its bits to `moved`, of that shape.

    Metal straps change a bit by much more than lines do; changes of a product of bits by them add up.
    """
    layout = (drive, rows_per_group, blocks, groups_per_block)
    first, *kinds = features(x, *layout)
    change = features(moved - x, *layout)[0]
    bits, changes = ([one[:, :, row::rows_per_group] for row in range(rows_per_group)] for one in (first, change))
    found = [first + change]
    for kind, state in zip(kinds, subsets(rows_per_group)[1 + rows_per_group :], strict=True):
        for row in state:
            others = [bits[other] for other in state if other != row]
            kind = kind + reduce(torch.mul, others, changes[row])
        found.append(kind)
    return found
