"""The tables of `macro` in torch, on any device: what norsim.solver.macro.kernels computes by numba on a CPU.

For bits, a read is a row of float16 with a one for the state of each group. Its product with the table rows, times each
mode's factors, gives the lines' currents by mode; the node weights of the field are further columns of the same table.
For volts, a read is a row of the weighed drives x and x^2 of its lines. Tables and weighed drives are float16 parts,
high + low / 2048, whose products are exact in float32 and are added in float32, so 22 bits of a table are kept at the
speed of float16. Everything else is done element by element, or by products with tables of a few rows, in float32.

Nothing is added in an order that could change from run to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from norsim.solver.macro.float16_parts import Parts, beside, parts
from norsim.solver.macro.kernels import BALANCE
from norsim.solver.macro.model import Field
from norsim.solver.macro.strap_response import StrapResponse
from norsim.solver.macro.tables import Tabulated

Moved = TypeVar("Moved")
# Rows and columns of products are padded to multiples of this, which tensor cores need.
ALIGNED = 8


def moved(value: Moved, device: torch.device | str) -> Moved:
    """Return tensors on `device`, alone or as fields of a dataclass or items of a tuple; other values as they are."""
    if isinstance(value, Tensor):
        return value.to(device)  # type: ignore[return-value]
    if isinstance(value, tuple):
        return tuple(moved(one, device) for one in value)  # type: ignore[return-value]
    if hasattr(value, "__dataclass_fields__"):
        return type(value)(**{part.name: moved(getattr(value, part.name), device) for part in fields(value)})  # type: ignore[arg-type]
    return value


@dataclass(frozen=True, eq=False)
class Circuit:
    """What follows the sums of a read: its field, and its lines.

    `mean_field` is that of the model in float32, and the other fields are those of norsim.solver.macro.model and
    `Tabulated`: `fixed` `[blocks, terms, lines]` are the currents of the field's terms.
    """

    mean_field: Field
    modes: Tensor
    balance: Tensor
    rest: Tensor
    fixed: Tensor
    slopes: Tensor
    own: Tensor
    coupling: Tensor
    sums: Tensor
    together: Tensor
    straps: StrapResponse
    rounds: int

    def field(self, drive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the currents of nodes `[reads, nodes]`, the modes phi `[reads, modes]` and the terms `[blocks, reads,
        terms]` of sums `[reads, nodes]`, amperes."""
        current, local = self.mean_field.settle(drive)
        phi = torch.cat([torch.ones_like(current[:, :1]), current, local], dim=1) @ self.modes.T
        return current, phi, self.mean_field.terms(drive, current, self.balance)[0]

    def lines(self, drawn: Sequence[Tensor], phi: Tensor, terms: Tensor) -> Tensor:
        """Return the lines' currents `[reads, lines]`, amperes, from what the groups of each block draw, `[reads,
        lines]`, and the modes and terms of `field`."""
        if self.rest.shape[1]:
            drawn = [one + weighted(phi, table) for one, table in zip(drawn, self.rest, strict=True)]
        deviation = [one + weighted(term, table) for one, term, table in zip(drawn, terms, self.fixed, strict=True)]
        first = terms[:, :, : self.slopes.shape[1]]
        steep = [weighted(term, table) for term, table in zip(first, self.slopes, strict=True)]
        answers = [one + other * own for one, other, own in zip(steep, drawn, self.own, strict=True)]
        balanced = terms[:, :, BALANCE].sum(dim=0)[:, None]
        total = self.together[0] + balanced * self.together[1]
        if len(deviation) == 1:
            alone: Tensor = self.sums[0] * deviation[0] / (1 - self.coupling[0, 0] * answers[0])
            return total + alone
        settled = deviation
        for _ in range(self.rounds):
            volts = [sum(ohms * one for ohms, one in zip(row, settled, strict=True)) for row in self.coupling]
            settled = [one + answer * moved for one, answer, moved in zip(deviation, answers, volts, strict=True)]
        for share, one in zip(self.sums, settled, strict=True):
            total = total + share * one
        return total


def weighted(weights: Tensor, table: Tensor) -> Tensor:
    """Return `weights` `[reads, few]` times `table` `[few, columns]`: `[reads, columns]`, float32."""
    if torch.compiler.is_compiling():
        # Fused with what follows, which a product of matrices is not.
        total = weights[:, :1] * table[0]
        for k in range(1, len(table)):
            total = total + weights[:, k, None] * table[k]
        return total
    return torch.mm(weights, table)


@dataclass(frozen=True, eq=False)
class BitTables:
    """Tables of bits on wordlines.

    `blocks`     for each block, the table of its groups' states `[groups x states, modes x lines + nodes]`
    `units`      `[modes]`, amperes: the units of the modes' columns; `weight_unit`: that of the nodes'
    `count`      rows of a group; `padded`: number of inputs with those that fill the last groups
    """

    circuit: Circuit
    blocks: tuple[Parts, ...]
    units: Tensor
    weight_unit: float
    count: int
    padded: int

    def lines(self, codes: Tensor, passes: int = 1, top: float = 1.0) -> Tensor:
        """Compute currents `[vectors x passes, lines]`, amperes, passes innermost, of codes `[vectors, inputs]`,
        uint8. Pass p drives bit p; lines are padded as in `Tabulated`."""
        read = one_hot(functional.pad(codes, (0, self.padded - codes.shape[1])), passes, self.count)
        sizes = [len(block.high) for block in self.blocks]
        products = [block.product(one) for block, one in zip(self.blocks, torch.split(read, sizes, dim=1), strict=True)]
        modes, lanes, nodes = len(self.units), self.circuit.own.shape[1], len(self.circuit.mean_field.mean_slope)
        drive = products[0][:, modes * lanes : modes * lanes + nodes]
        for product in products[1:]:
            drive = drive + product[:, modes * lanes : modes * lanes + nodes]
        drive = drive * self.weight_unit
        current, phi, terms = self.circuit.field(drive)
        factors = phi * self.units
        drawn = [_by_modes(product, factors, lanes) for product in products]
        return self.circuit.straps.changed(self.circuit.lines(drawn, phi, terms), drive, current)

    def bytes_per_vector(self, passes: int) -> int:
        """Return the memory that `lines` takes for a vector, roughly."""
        rows, columns = sum(len(block.high) for block in self.blocks), self.blocks[0].high.shape[1]
        return passes * (4 * rows + 8 * columns * len(self.blocks) + _bytes_of_lines(self.circuit))


@dataclass(frozen=True, eq=False)
class VoltTables:
    """Tables of volts on bitlines.

    `blocks`     for each block, the table of its inputs `[2 inputs, lines]`: rows of x, then rows of x^2
    `starts`     the first input of each block, and the number of inputs
    `factors`, `shifts`   `[modes, inputs]`; `weights` of the nodes, `[inputs, nodes]`
    """

    circuit: Circuit
    blocks: tuple[Parts, ...]
    starts: tuple[int, ...]
    factors: Tensor
    shifts: Tensor
    weights: Tensor

    def lines(self, codes: Tensor, passes: int = 1, top: float = 1.0) -> Tensor:
        """Compute currents `[vectors, lines]`, amperes, of codes `[vectors, inputs]`, of which `top` is full drive, in
        one pass. Lines are padded as in `Tabulated`."""
        x = codes.to(torch.float32) * float(np.float32(1 / top))
        _, phi, terms = self.circuit.field(x @ self.weights)
        factor = weighted(phi, self.factors)
        # As kernels._weigh_volts: ((x + shift) factor)^n minus its value at rest.
        first, second = x * factor, x * (x + 2 * weighted(phi, self.shifts)) * factor * factor
        drawn = []
        for block, (start, end) in zip(self.blocks, pairwise(self.starts), strict=True):
            drawn.append(block.times(torch.cat([first[:, start:end], second[:, start:end]], dim=1)))
        return self.circuit.lines(drawn, phi, terms)

    def bytes_per_vector(self, passes: int) -> int:
        """Return the memory that `lines` takes for a vector, roughly."""
        return 40 * len(self.weights) + 12 * self.circuit.own.numel() + _bytes_of_lines(self.circuit)


DeviceTables = BitTables | VoltTables


def _bytes_of_lines(circuit: Circuit) -> int:
    """Return the memory that the lines of a read take, roughly."""
    return 4 * (6 * circuit.own.numel() + 4 * circuit.own.shape[1])


def one_hot(codes: Tensor, passes: int, count: int) -> Tensor:
    """Return the states of groups of `count` codes `[vectors, groups x count]`, uint8, in each pass, as float16 ones
    among zeros, `[vectors x passes, groups x (2^count - 1)]`."""
    rows = codes.view(len(codes), 1, -1, count)
    places = torch.arange(passes, dtype=torch.uint8, device=codes.device)[:, None]
    state = rows[..., 0] >> places & 1
    for row in range(1, count):
        state = state | (rows[..., row] >> places & 1) << row
    states = torch.arange(1, 2**count, dtype=torch.uint8, device=codes.device)
    return (state[..., None] == states).to(torch.float16).view(len(codes) * passes, -1)


def _by_modes(product: Tensor, factors: Tensor, lanes: int) -> Tensor:
    """Return the sum over modes of `product` `[reads, modes x lanes + ...]` times `factors` `[reads, modes]`."""
    drawn = product[:, :lanes] * factors[:, :1]
    for mode in range(1, factors.shape[1]):
        drawn = drawn.addcmul(product[:, mode * lanes : (mode + 1) * lanes], factors[:, mode, None])
    return drawn


def on_device(tabulated: Tabulated, device: torch.device | str = "cpu") -> DeviceTables:
    """Return the tables of a tabulated model on a device."""
    made = _of_bits(tabulated) if tabulated.drive.direction == "wordlines" else _of_volts(tabulated)
    return moved(made, device)


def _of_bits(tabulated: Tabulated) -> BitTables:
    model = tabulated.model
    states, count = 2**model.rows_per_group - 1, len(tabulated.weights)
    groups, rows = count // states, tabulated.rows[:-1].astype(np.float64)
    factors, changes = tabulated.factors.astype(np.float64), tabulated.changes[:-1].astype(np.float64)
    if len(changes):
        by_mode = np.repeat(factors, states, axis=1)[:, :, None] * changes
        # The first mode is 1 in every read.
        by_mode[0] += rows
    else:
        by_mode = factors[:, :count, None] * rows
    padded = -(-groups // ALIGNED) * ALIGNED
    more = ((0, (padded - groups) * states), (0, 0))
    weights = tabulated.weights[:, None] * np.repeat(model.field.members.numpy(), states, axis=0)
    tables = [parts(np.pad(one, more)) for one in by_mode]
    weighed = parts(np.pad(weights, (more[0], (0, -weights.shape[1] % ALIGNED))))
    whole, each = beside([*tables, weighed]), model.groups_per_block * states
    ends = [*range(each, model.blocks * each, each), len(whole.high)]
    blocks = tuple(
        Parts(whole.high[start:end].contiguous(), whole.low[start:end].contiguous(), 1.0)
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    )
    return BitTables(
        _circuit(tabulated), blocks, torch.tensor([one.unit for one in tables]), weighed.unit, model.rows_per_group,
        padded * model.rows_per_group,
    )  # fmt: skip


def _of_volts(tabulated: Tabulated) -> VoltTables:
    model, inputs = tabulated.model, len(tabulated.weights)
    starts = (*range(0, inputs, model.groups_per_block), inputs)
    rows = tabulated.rows[:-1].reshape(inputs, 2, -1)
    blocks = tuple(parts(np.concatenate([rows[start:end, 0], rows[start:end, 1]])) for start, end in pairwise(starts))
    weights = tabulated.weights[:, None] * model.field.members.numpy()
    return VoltTables(
        _circuit(tabulated), blocks, starts, *map(torch.tensor, (tabulated.factors, tabulated.shifts, weights))
    )  # fmt: skip


def _circuit(tabulated: Tabulated) -> Circuit:
    model, field, lanes = tabulated.model, tabulated.model.field, tabulated.rows.shape[1]

    def single(values: Any) -> Tensor:
        array = values.numpy() if isinstance(values, Tensor) else values
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))

    def padded(values: Any) -> NDArray[Any]:
        array = values.numpy()
        return np.pad(array, (*[(0, 0)] * (array.ndim - 1), (0, lanes - array.shape[-1])))

    kept = {part.name: getattr(field, part.name) for part in fields(field)}
    straps = StrapResponse(*(single(part) for part in vars(model.straps).values()))
    on_nodes: Any = {name: single(value) if isinstance(value, Tensor) else value for name, value in kept.items()}
    return Circuit(
        Field(**on_nodes), modes=single(tabulated.modes), balance=single(model.balance),
        rest=single(tabulated.rest), fixed=single(tabulated.fixed), slopes=single(padded(model.slopes)),
        own=single(padded(model.own)[:, 0]),
        coupling=single(model.coupling), sums=single(model.sums[0]), together=single(padded(model.together)),
        straps=straps, rounds=model.rounds,
    )  # fmt: skip
