"""`macro`: a reduced-order model of a tile, evaluated by matrix products in torch.

Built by norsim.solver.macro.build from groups of cells solved beforehand (norsim.solver.macro.presolve). With u the
deviation of a summing line's volts from its nominal profile, the current of a group g into line l is

    i_gl = sum_f x_gf [ a_gfl + c_gfl v_g + d_gfl (u_gl - p_l v_g) ],

where x are features of the drive (products of bits; powers of the code), v is what all lines do together,
in the shape p of the nominal profile, c the slope of that, and d the slope when one line moves alone.
Summing lines couple the groups through their resistance z, u_gl = sum_g' z_gg' i_g'l - n_gl. It is solved
in two parts:

  * the *mean field* v follows, node by node of a few groups, from the mean currents that a drive sets
    up. It acts as a change of the drive, cell by cell;
  * the deviation of each line, w = u - p v, is small and smooth, kept as one number a block of groups (one
    block for the whole line will often do) and found by a fixed point around the mean slope.

What a cell's current does to its line depends on where along the line it enters; the mean slope of all
other cells says by how much (`gain`). The docs' theory page derives it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from norsim.solver.input_lines import Driven
from norsim.solver.macro.presolve import subsets

# Vectors go through in parts small enough for a core's cache, because what is not a product is bound by memory.
VALUES_AT_ONCE = 2**20
# 1, share of full drive, volts, share volts, volts^2, share volts^2, balance current.
TERMS = 7


@dataclass(frozen=True, eq=False)
class Field:
    """What all lines do together, from the mean currents of nodes: some neighbouring groups each.

    `weights`   `[inputs, nodes]`, amperes: the mean current of one fully driven input
    `currents`  `[3, nodes]`: polynomial of a node's current in the weighted sum of its inputs
    `slopes`    `[2, nodes]`, `local_slopes` likewise: its slope, a line in that sum, when all lines move
                together, and when one moves alone
    `mean_slope`  `[nodes]`: the slope's mean over drives, whose answer is part of the next two
    `shared`, `nominal`  ohms `[nodes, nodes]` and volts `[nodes]`: nodes' volts = settled @ shared - nominal
    `response`, `shift`  `[1 + 2 nodes, inputs]`: in (1, currents, local slopes), by how much moving all lines
                together, and where along its line a current enters, multiply an input's drive, and what they
                add to it first; `shift` is empty where a line at rest draws nothing
    `to_blocks`, `at_blocks`  ohms `[nodes, blocks]` and volts `[blocks]`: the mean field's volts, block by block
    `shares`    `[nodes, blocks]`: the share of full drive, block by block, in nodes' weighted sums
    `rounds`    of the fixed point between nodes, beyond the mean slope's answer
    """

    weights: Tensor
    currents: Tensor
    slopes: Tensor
    local_slopes: Tensor
    mean_slope: Tensor
    shared: Tensor
    nominal: Tensor
    response: Tensor
    shift: Tensor
    to_blocks: Tensor
    at_blocks: Tensor
    shares: Tensor
    rounds: int

    def solve(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Drives `[vectors, inputs]` -> weighted sums, node currents and local slopes, each `[vectors, nodes]`."""
        drive = x @ self.weights
        level = self.currents[0] + drive * (self.currents[1] + drive * self.currents[2])
        slope = self.slopes[0] + drive * self.slopes[1]
        settled = level
        for _ in range(self.rounds):
            volts = settled @ self.shared - self.nominal
            settled = level + (slope - self.mean_slope) * volts
        current = level + slope * (settled @ self.shared - self.nominal)
        return drive, current, self.local_slopes[0] + drive * self.local_slopes[1]

    def effective(self, x: Tensor, current: Tensor, local: Tensor) -> Tensor:
        """The drive `[vectors, inputs]` that does to lines at their nominal profile what `x` does in the field."""
        state = torch.cat([torch.ones_like(current[:, :1]), current, local], dim=1)
        return (torch.addmm(x, state, self.shift) if self.shift.numel() else x) * (state @ self.response)

    def terms(self, drive: Tensor, current: Tensor, balance: Tensor) -> tuple[Tensor, Tensor]:
        """What tables may depend on, `[blocks, vectors, TERMS]`, and balance currents `[vectors, blocks]`."""
        share, volts = drive @ self.shares, current @ self.to_blocks - self.at_blocks
        amps = volts @ balance
        terms = torch.stack(
            [torch.ones_like(volts), share, volts, share * volts, volts * volts, share * volts * volts, amps], dim=2
        )
        return terms.transpose(0, 1), amps


@dataclass(frozen=True, eq=False)
class Macro:
    """A tile's reduced model. `lines(x)` is the whole of it: torch in, torch out, differentiable.

    `field`     what all lines do together
    `tables`    `[blocks, features of a block, lines]` for each of `features`, and last one for the field's terms,
                amperes: deviation currents
    `slopes`    `[blocks, TERMS, lines]` and `own` `[blocks, 1, lines]`: the local slope of a block, A/V, is
                a line in the field terms and in the line's own current; less the mean slope
    `coupling`  `[blocks, blocks]`, ohms, and `sums` `[1, blocks]`: with the mean slope's answer in them, volts
                and the line's current for deviation currents
    `balance`   `[blocks, blocks]`, siemens: the currents that the mean field's volts stand for
    `together`  `[2, lines]`: the line's nominal current, amperes, and the share of the balance that it has
    `full_scale_amps`  the top cell current times the inputs, the unit of `error`
    `error`     the largest deviation from nodal on the vectors it was checked with
    """

    drive: Driven
    rows_per_group: int
    groups_per_block: int
    field: Field
    tables: tuple[Tensor, ...]
    slopes: Tensor
    own: Tensor
    coupling: Tensor
    sums: Tensor
    balance: Tensor
    together: Tensor
    rounds: int
    full_scale_amps: float
    error: float

    @property
    def blocks(self) -> int:
        """Into how many pieces a summing line is cut."""
        return len(self.coupling)

    def lines(self, x: Tensor) -> Tensor:
        """Drives `[vectors, inputs]` in [0, 1] -> currents `[vectors, lines]`, amperes."""
        return torch.cat([self._lines(part) for part in torch.split(x.to(self.own.dtype), self.at_once(x.shape[1]))])

    def at_once(self, inputs: int) -> int:
        """How many vectors of so many `inputs` are best taken at a time."""
        return max(VALUES_AT_ONCE // max(self.own.numel(), inputs), 32)

    def _lines(self, x: Tensor) -> Tensor:
        drive, current, local = self.field.solve(x)
        terms, balance = self.field.terms(drive, current, self.balance)
        moved = self.field.effective(x, current, local)
        deviation = torch.bmm(terms, self.tables[-1])
        parts = features(moved, self.drive, self.rows_per_group, self.blocks, self.groups_per_block)
        for part, table in zip(parts, self.tables, strict=False):
            deviation = torch.baddbmm(deviation, part, table)
        slope = torch.bmm(terms, self.slopes).addcmul_(deviation, self.own)
        settled = deviation
        for _ in range(self.rounds):
            settled = torch.addcmul(deviation, slope, _across(self.coupling, settled))
        total = _across(self.sums, settled)[0]
        together = torch.stack([torch.ones_like(balance[:, 0]), balance.sum(dim=1)], dim=1)
        return torch.addmm(total, together, self.together)


def _across(matrix: Tensor, values: Tensor) -> Tensor:
    """`[rows, blocks]` times `[blocks, vectors, lines]`; a product for one block would be slower than its factor."""
    if matrix.numel() == 1:
        return values * matrix
    return (matrix @ values.flatten(1)).view(-1, *values.shape[1:])


def features(x: Tensor, drive: Driven, rows_per_group: int, blocks: int, groups_per_block: int) -> list[Tensor]:
    """Drives `[vectors, inputs]` -> `[blocks, vectors, features of a block]` for each kind but the constant one.

    The first kind is the drive itself, input by input; then its square, or each product of bits of a group.
    """
    rows = groups_per_block * rows_per_group
    if x.shape[1] != blocks * rows:
        x = torch.nn.functional.pad(x, (0, blocks * rows - x.shape[1]))
    x = x.view(len(x), blocks, rows)
    if drive.direction == "bitlines":
        kinds = [x, x * x]
    else:
        products = subsets(rows_per_group)[1 + rows_per_group :]
        kinds = [x, *(reduce(torch.mul, [x[:, :, row::rows_per_group] for row in state]) for state in products)]
    return [kind.transpose(0, 1) for kind in kinds]
