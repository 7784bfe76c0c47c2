"""`macro` as it is run: its tables by state of a group and by mode of the field, summed row by row.

What the mean field does to the drive of input i, a factor m_i (norsim.solver.macro), is nearly the same for
all states of the field but for a number or two: m_i = sum_k phi_k psi_ki with phi_0 = 1 and the others lines
in the field's currents and slopes. Features of the drive then need not be made at run time. A group of rows
that share a source line has a row of numbers, [modes x lines], for each state of its bits, and what a read
draws is a sum of rows, weighted by phi. The modes are the singular vectors of the factors; there are as many
as bring the result to within `NEAR` of the model's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from norsim.array.tile import Floats
from norsim.solver import sums
from norsim.solver.drive import Driven
from norsim.solver.macro import Macro
from norsim.solver.presolve import subsets

Singles = NDArray[np.float32]
NEAR = 1e-5
LANES = 8


@dataclass(frozen=True, eq=False)
class Tabulated:
    """A reduced model by tables. `lines` gives what `Macro.lines` does, to `NEAR` of full scale.

    `model`     what it was made from
    `modes`     `[modes, 1 + 2 nodes]`: phi of a read, from (1, currents, local slopes) of the field
    `rows`      `[groups x rows of a group, modes x lines + nodes]`, amperes: for bits a row for each state of a group
                but the one with no bit, for volts one for x and one for x^2; at its end what goes into the sums
                that the field is solved from
    `rest`      `[blocks, modes, lines]`, amperes: what depends on the modes alone
    `error`     the largest deviation from nodal that is to be expected: the model's, and that from the model

    Lines are padded with zeros to a multiple of `LANES`.
    """

    model: Macro
    modes: Singles
    rows: Singles
    rest: Singles
    error: float = np.inf

    @property
    def drive(self) -> Driven:
        """The kind of drive that it knows."""
        return self.model.drive

    @property
    def summed(self) -> int:
        """How many lines are summed."""
        return self.model.own.shape[2]

    def lines(self, codes: NDArray[Any], passes: int = 1, top: float = 1.0) -> Singles:
        """Codes `[vectors, inputs]` -> currents `[vectors x passes, lines]`, amperes, passes innermost.

        On wordlines a pass drives one bit of the codes, the lowest first; on bitlines `top` is full drive.
        """
        model = self.model
        bits, drives = np.empty((0, 0), dtype=np.uint8), np.empty((0, 0), dtype=np.float32)
        if model.drive.direction == "wordlines":
            bits = np.ascontiguousarray(codes, dtype=np.uint8)
        else:
            drives = _single(codes * np.float32(1 / top))
        found = np.empty((len(codes) * passes, self.summed), dtype=np.float32)
        sums.lines(
            bits, passes, drives, model.rows_per_group, model.groups_per_block, (model.field.rounds, model.rounds),
            self.modes, self.rows, self.rest, self._of_model, found,
        )  # fmt: skip
        return found

    @cached_property
    def _of_model(self) -> tuple[Singles, ...]:
        """What the kernel takes from the model, as it takes it."""
        model, field = self.model, self.model.field
        of_field = (
            field.currents, field.slopes, field.local_slopes, field.mean_slope, field.shared, field.nominal,
            field.to_blocks, field.at_blocks, field.shares, model.balance,
        )  # fmt: skip
        of_lines = (model.tables[-1], model.slopes, model.own)
        return (
            *(_single(part.numpy()) for part in of_field), *(_padded(part.numpy()) for part in of_lines),
            _single(model.coupling.numpy()), _single(model.sums.numpy()), _padded(model.together.numpy()),
        )  # fmt: skip


def tabulate(model: Macro, drives: Floats) -> Tabulated:
    """`model` by tables, with the fewest modes that bring it near on `drives` `[vectors, inputs]`, half of which
    the modes are fitted on."""
    exact = model.lines(torch.from_numpy(drives)).numpy()
    state = _states(model, drives[::2])
    for count in range(1, state.shape[1] + 1):
        found = _with_modes(model, state, count)
        error = float(np.abs(found.lines(drives) - exact).max()) / model.full_scale_amps
        if error <= NEAR:
            break
    return replace(found, error=model.error + error)


def _states(model: Macro, drives: Floats) -> Floats:
    """`[vectors, 1 + 2 nodes]`: (1, currents, local slopes) of the mean field under `drives`."""
    _, current, local = model.field.solve(torch.from_numpy(drives).to(model.own))
    return np.hstack([np.ones((len(drives), 1)), current.double().numpy(), local.double().numpy()])


def _with_modes(model: Macro, state: Floats, count: int) -> Tabulated:
    field = model.field
    response = field.response.double().numpy()
    shift = field.shift.double().numpy() if field.shift.numel() else np.zeros_like(response)
    both = np.hstack([response, shift])
    values = state @ both
    axes = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)[2][: count - 1].T
    modes = np.hstack([np.eye(len(both))[:, :1], both @ axes])
    factors = _Factors(state @ modes, state @ response, state @ shift)
    make = _rows_of_bits if model.drive.direction == "wordlines" else _rows_of_volts
    rows, sums_of_field, rest = make(model, factors)
    kept = [part.reshape(-1, part[0, 0].size) for part in (_padded(rows), _single(sums_of_field))]
    return Tabulated(model, _single(modes.T), _single(np.hstack(kept)), _padded(rest))


def _single(values: np.ndarray[Any, Any]) -> Singles:
    return np.ascontiguousarray(values, dtype=np.float32)


def _padded(values: np.ndarray[Any, Any]) -> Singles:
    """`[..., lines]` with lines of zeros up to a multiple of `LANES`."""
    return _single(np.pad(values, (*[(0, 0)] * (values.ndim - 1), (0, -values.shape[-1] % LANES))))


@dataclass(frozen=True, eq=False)
class _Factors:
    """`phi` `[vectors, modes]`, and an input's factor and shift, each `[vectors, inputs]`, for the same reads."""

    phi: Floats
    factor: Floats
    shift: Floats

    def of(self, values: Floats) -> Floats:
        """`[modes, n]`: the least-squares coefficients of `values` `[vectors, n]` in phi."""
        scale = np.maximum(np.abs(self.phi).max(axis=0), 1e-30)
        found: Floats = np.linalg.lstsq(self.phi / scale, values, rcond=1e-12)[0] / scale[:, None]
        return found


def _rows_of_bits(model: Macro, factors: _Factors) -> tuple[Floats, Floats, Floats]:
    """Rows `[groups, states, modes, lines]`, their part in the field's sums `[groups, states, nodes]`, and nothing for
    no bits, `[blocks, modes, lines]`."""
    count, inputs = model.rows_per_group, factors.factor.shape[1]
    groups = -(-inputs // count)

    def by_group(values: Floats) -> Floats:
        """`[inputs, n]` -> `[groups, rows of a group, n]`, zeros beyond the last input."""
        return np.pad(values, ((0, groups * count - inputs), (0, 0))).reshape(groups, count, -1)

    singles, factor = by_group(_features(model.tables[0], inputs)), by_group(factors.factor.T)
    features = subsets(count)[1:]
    tables = [singles[:, row] for row in range(count)] + [_features(table, groups) for table in model.tables[1:-1]]
    shares = [factors.of(factor[:, feature, :].prod(axis=1).T) for feature in features]
    bits = [sum(1 << row for row in feature) for feature in features]
    has = np.array([[float(state & own == own) for own in bits] for state in range(1, 2**count)])
    found = np.einsum("sf,fkg,fgl->gskl", has, np.array(shares), np.array(tables), optimize=True)
    weights = np.einsum("sr,grn->gsn", has[:, :count], by_group(model.field.weights.double().numpy()))
    return found, weights, np.zeros((model.blocks, *found.shape[2:]))


def _rows_of_volts(model: Macro, factors: _Factors) -> tuple[Floats, Floats, Floats]:
    """The same for x and x^2, `[inputs, 2, ...]`, and what remains of ((x + shift) factor)^n at x = 0."""
    first, second = (_features(table, factors.factor.shape[1]) for table in model.tables[:2])
    factor, shift = factors.factor, factors.shift

    def spread(values: Floats, table: Floats) -> Floats:
        return factors.of(values).T[:, :, None] * table[:, None, :]

    of_x = spread(factor, first) + spread(2 * shift * factor**2, second)
    found = np.stack([of_x, spread(factor**2, second)], axis=1)
    at_rest = spread(shift * factor, first) + spread((shift * factor) ** 2, second)
    weights = model.field.weights.double().numpy()
    starts = np.arange(0, len(weights), model.groups_per_block)
    return found, np.stack([weights, 0 * weights], axis=1), np.add.reduceat(at_rest, starts, axis=0)


def _features(table: torch.Tensor, count: int) -> Floats:
    """A table `[blocks, features of a block, lines]` as `[features, lines]`, without the padding of its last block."""
    flat: Floats = table.double().numpy().reshape(-1, table.shape[2])[:count]
    return flat
