"""The rows of tables and their factors, from a reduced model: see norsim.solver.macro.tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from norsim.array.tile import Floats
from norsim.solver.macro.model import Macro
from norsim.solver.macro.presolve import subsets


@dataclass(frozen=True, eq=False)
class Factors:
    """`phi` `[vectors, modes]`, and an input's factor and shift, each `[vectors, inputs]`, for the same reads."""

    phi: Floats
    factor: Floats
    shift: Floats

    def of(self, values: Floats) -> Floats:
        """Return the least-squares coefficients `[modes, n]` of `values` `[vectors, n]` in phi."""
        scale = np.maximum(np.abs(self.phi).max(axis=0), 1e-30)
        found: Floats = np.linalg.lstsq(self.phi / scale, values, rcond=1e-12)[0] / scale[:, None]
        return found


def tables_of_bits(model: Macro, factors: Factors, constants: bool) -> tuple[Floats, Floats, Floats, Floats]:
    """Return rows and changes `[n, lines]`, factors `[n + 1 or groups, modes]`, and weights `[n]`: see `Tabulated`.

    A state's factor is that of the field on the sum of all lines; each line's row is fitted to it. With `constants`,
    all states of a group have the factor of the last, and a part of a row is independent of it.
    """
    count, inputs = model.rows_per_group, factors.factor.shape[1]
    groups = -(-inputs // count)

    def by_group(values: Floats) -> Floats:
        """Reshape `[inputs, n]` to `[groups, rows of a group, n]`, zeros beyond the last input."""
        return np.pad(values, ((0, groups * count - inputs), (0, 0))).reshape(groups, count, -1)

    factor, features = by_group(factors.factor.T), subsets(count)[1:]
    tables, still = (
        [*by_group(_features(one[0], inputs)).transpose(1, 0, 2), *(_features(table, groups) for table in one[1:])]
        if one else [] for one in (model.tables[:-1], model.still)
    )  # fmt: skip
    bits = [sum(1 << row for row in feature) for feature in features]
    of_features = np.array([_together(factor[:, feature, :], bool(model.still)) for feature in features])

    def weighed(parts: list[int]) -> tuple[Floats, Floats]:
        """Return the coefficients `[modes, groups]` of the factor of a state with the features `parts`, and these."""
        weight = np.abs([tables[k] for k in parts]).sum(axis=2)
        weight = weight / np.maximum(weight.sum(axis=0), 1e-40)
        share = factors.of(np.einsum("pgv,pg->vg", of_features[parts], weight))
        return share, (factors.phi @ share).T

    rows, changes, shares = [], [], []
    of_group = weighed(list(range(len(bits))))
    for state in range(1, 2**count):
        parts = [k for k, own in enumerate(bits) if state & own == own]
        share, basis = of_group if constants else weighed(parts)
        # What a state draws is linear in its features, so these are fitted in place of the currents of lines.
        fitted = _least_squares(basis, of_features[parts].transpose(1, 2, 0), constants)
        drawn = fitted @ np.array([tables[k] for k in parts]).transpose(1, 0, 2)  # [groups, 1 or 2, lines]
        rows.append(drawn.sum(axis=1) + sum(still[k] for k in parts if still))
        changes.append(drawn[:, 0])
        shares.append(share.T)
    weights = by_group(model.field.weights.double().numpy().sum(axis=1, keepdims=True))[:, :, 0]
    has = np.array([[state >> row & 1 for row in range(count)] for state in range(1, 2**count)])
    of_states = weights @ has.T
    for one, feature in zip(model.field.products.double().numpy().sum(axis=2), features[count:], strict=False):
        of_states += one[:, None] * has[:, feature].all(axis=1)
    table, change = (np.stack(one, axis=1).reshape(-1, one[0].shape[1]) for one in (rows, changes))
    if constants:
        return table, change, shares[-1] - np.eye(1, shares[-1].shape[1]), of_states.ravel()
    psi = np.stack(shares, axis=1).reshape(len(table), -1)
    return table, change[:0], np.pad(psi, ((0, 1), (0, 0))), of_states.ravel()


def _together(factors: Floats, metal: bool) -> Floats:
    """Return the factor `[groups, vectors]` of a product of bits with `factors` `[groups, bits, vectors]`."""
    found: Floats = 1 + (factors - 1).sum(axis=1) if metal else factors.prod(axis=1)
    return found


def _least_squares(basis: Floats, values: Floats, constants: bool) -> Floats:
    """Return the coefficients `[groups, 1 or 2, n]` of `values` `[groups, vectors, n]` in `basis` `[groups, vectors]`,
    and, with `constants`, in 1."""
    centre = basis.mean(axis=1, keepdims=True) if constants else np.zeros((len(basis), 1))
    deviation = basis - centre
    power, least = (deviation**2).sum(axis=1), 1e-18 * (basis**2).sum(axis=1)
    # A basis that does not vary is a constant.
    inverse = np.where(power > least, 1 / np.maximum(power, 1e-300), 0.0)
    slope: Floats = inverse[:, None, None] * (deviation[:, None, :] @ values)
    if not constants:
        return slope
    return np.concatenate([slope, values.mean(axis=1, keepdims=True) - centre[:, :, None] * slope], axis=1)


def tables_of_volts(model: Macro, factors: Factors) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return rows `[2 inputs, lines]` of x and x^2, factors and shifts `[inputs, modes]`, weights `[inputs]`, and the
    currents at x = 0, `[blocks, modes, lines]`."""
    first, second = (_features(table, factors.factor.shape[1]) for table in model.tables[:2])
    at_rest = factors.shift * factors.factor
    drawn = factors.of(at_rest).T[:, :, None] * first[:, None, :]
    drawn += factors.of(at_rest**2).T[:, :, None] * second[:, None, :]
    starts = np.arange(0, len(drawn), model.groups_per_block)
    return (
        np.stack([first, second], axis=1).reshape(-1, first.shape[1]), factors.of(factors.factor).T,
        factors.of(factors.shift).T, model.field.weights.double().numpy().sum(axis=1),
        np.add.reduceat(drawn, starts, axis=0),
    )  # fmt: skip


def _features(table: torch.Tensor, count: int) -> Floats:
    """Flatten `[blocks, features of a block, lines]` to `[features, lines]`, without the last block's padding."""
    flat: Floats = table.double().numpy().reshape(-1, table.shape[2])[:count]
    return flat
