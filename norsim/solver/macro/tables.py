"""The tabulated form in which `macro` is run: solve the field, then sum table rows, each times its factor in the field.

The mean field multiplies the drive of input i by a factor m_i (norsim.solver.macro.model). Rows of a group share a
source line and are adjacent, so one factor serves all of them, and features of the drive need not be computed at run
time: a group has a table row of line currents for each state of its bits, and the currents of a read are the sum of the
rows of its groups' states, each times the factor of that group in that state. Factors vary little from read to read:
m_i = sum_k phi_k psi_ki with phi_0 = 1, where the other phi are linear in the field's currents and slopes. These modes
are the singular vectors of the factors; their number is the smallest that brings the result to within `NEAR` of the
model's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numba import get_num_threads
from numpy.typing import NDArray

from norsim.array.compiled import in_threads
from norsim.array.tile import Floats
from norsim.errors import SolveError
from norsim.solver.input_lines import Driven
from norsim.solver.macro import kernels, reads
from norsim.solver.macro.bit_layout import BitLayout, bit_layout, no_bits
from norsim.solver.macro.build import REFUSED, WORTHWHILE
from norsim.solver.macro.kernels import TERMS
from norsim.solver.macro.model import Macro
from norsim.solver.macro.presolve import subsets
from norsim.solver.macro.reads import NO_DRIVES, Readout, Singles, Vectors, Wanted, padded, single

NEAR = 2.5e-5


@dataclass(frozen=True, eq=False)
class Tabulated:
    """A tabulated reduced model. `lines` returns what `Macro.lines` returns, to `NEAR` of full scale.

    `model`     the model that was tabulated
    `modes`     `[modes, 1 + 2 nodes]`: phi of a read, from (1, currents, local slopes) of the field
    `rows`      `[n + 1, lines]`, amperes: for bits, one row for each group and state of it, except the state without a
                bit, and, if there are constants, as many further rows of these; for volts, two rows for each input, for
                x and for x^2; the last row is zero
    `factors`   `[modes, n + 1]` or `[modes, inputs]`: psi of a row, 1 for a constant, or of an input
    `shifts`    `[modes, inputs]`: the same for the term that the field adds to an input's volts; empty for bits
    `fixed`     `[blocks, TERMS + modes - 1, lines]`, amperes: currents of the field's terms, and of lines at rest
    `weights`   `[groups x states]` or `[inputs]`, amperes: weights of the sums that the field is solved from
    `error`     the largest expected deviation from nodal: the model's error plus the deviation from the model

    Lines are padded with zeros (norsim.solver.macro.reads.padded).
    """

    model: Macro
    modes: Singles
    rows: Singles
    factors: Singles
    shifts: Singles
    fixed: Singles
    weights: Singles
    error: float = np.inf

    @property
    def drive(self) -> Driven:
        """The kind of drive that the model is for."""
        return self.model.drive

    @property
    def summed(self) -> int:
        """Number of summing lines."""
        return self.model.own.shape[2]

    def lines(self, codes: NDArray[Any], passes: int = 1, top: float = 1.0) -> Singles:
        """Compute currents `[vectors x passes, lines]`, amperes, passes innermost, of codes `[vectors, inputs]`.

        On wordlines a pass drives one bit of the codes, least significant first; on bitlines `top` is full drive.
        """
        vectors, inputs = codes.shape
        found = np.empty((vectors * passes, self.summed), dtype=np.float32)
        places = np.arange(vectors, dtype=np.uint64) * np.uint64(inputs), np.arange(inputs, dtype=np.uint64)
        bits, drives = codes.astype(np.uint8).ravel(), NO_DRIVES
        if self.drive.direction == "bitlines":
            bits, drives = bits[:0], single(codes * np.float32(1 / top)).ravel()
        self.read((bits, *places), drives, passes, Wanted(lines=found))
        return found

    def read(
        self, vectors: Vectors, drives: Singles, passes: int, wanted: Wanted, readout: Readout = reads.NO_READOUT,
        noise: tuple[Singles, Singles] = reads.NO_NOISE,
    ) -> tuple[int, int]:  # fmt: skip
        """Read `vectors`, and fill what is `wanted`; return how many currents the converters clip at the low and at
        the high end.

        Input i of vector v has the code codes[begins[v] + offsets[i]], with vectors = (codes `[n]`, begins `[vectors]`,
        offsets `[inputs]`). On wordlines each of the `passes` drives one bit, least significant first, and `drives` is
        empty; on bitlines `drives` `[codes]` are the shares of full drive of the codes. `readout` has the arguments of
        the kernel that sense, convert and add, and `noise` is what is added to the outputs' amperes and to the
        converters' steps, each `[vectors x passes, outputs]` or empty.
        """
        model, (codes, begins, offsets) = self.model, vectors
        threads = max(min(get_num_threads(), len(begins) * passes // kernels.READS), 1)
        clipped = np.zeros((threads, 2), dtype=np.int64)
        # A row is followed by its constant, as many rows further on as there are weights.
        constants = 0 if len(self.rows) - 1 == len(self.weights) else len(self.weights)
        groups = (
            model.groups_per_block, model.field.rounds, model.rounds, self._layout.length,
            np.uint64(constants if self.drive.direction == "wordlines" else 0),
        )  # fmt: skip
        arguments = (
            (codes, drives, begins, offsets), passes, groups, self._tables, self._of_model, readout, noise,
            (*wanted, clipped),
        )  # fmt: skip
        in_threads(lambda thread: kernels.read(thread, threads, *arguments), threads)
        return tuple(clipped.sum(axis=0).tolist())

    @cached_property
    def _tables(self) -> tuple[NDArray[Any], ...]:
        """The kernel's arguments from these tables, with the node of each group."""
        layout = self._layout
        return (
            self.rows, self.factors, self.shifts, self.fixed, self.modes, self.weights, self.model.node_of(),
            layout.spots, layout.bases, layout.entries.ravel(), layout.counts, layout.weights.ravel(), layout.ends,
            layout.nodes, layout.blocks,
        )  # fmt: skip

    @cached_property
    def _layout(self) -> BitLayout:
        """The layout of bits; that of no inputs for volts."""
        model, inputs = self.model, self.model.field.weights.shape[0]
        if self.drive.direction == "bitlines":
            return no_bits()
        return bit_layout(inputs, model.rows_per_group, model.groups_per_block, model.node_of(), self.weights)

    @cached_property
    def _of_model(self) -> tuple[Singles, ...]:
        """The kernel's arguments from the model."""
        model, field = self.model, self.model.field
        of_field = (
            field.currents, field.slopes, field.local_slopes, field.bends, field.mean_slope, field.shared,
            field.nominal, field.to_blocks, field.at_blocks, field.shares, model.balance,
        )  # fmt: skip
        of_lines = (model.slopes.numpy(), model.own.numpy())
        return (
            *(single(part.numpy()) for part in of_field), *(padded(part) for part in of_lines),
            single(model.coupling.numpy()), single(model.sums.numpy()), padded(model.together.numpy()),
        )  # fmt: skip


def tabulate(model: Macro, drives: Floats) -> Tabulated:
    """Tabulate `model` to within `NEAR` on `drives` `[vectors, inputs]`; modes are fitted on half of these.

    The number of modes is the smallest that is near enough; if more modes no longer help, or if the model has currents
    that the field does not change, rows get constants. Raises SolveError if even all modes leave a deviation of more than 1e-2 of full scale from the model.
    """
    exact = model.lines(torch.from_numpy(drives)).numpy()
    state = _states(model, drives[::2])
    axes = _axes(model, state)
    best: Tabulated | None = None
    for constants in (True,) if model.still else (False, True):
        for count in range(1 if best is None else best.modes.shape[0], state.shape[1] + 1):
            if best is not None and best.error <= NEAR:
                break
            found = _with_modes(model, state, axes[:, : count - 1], constants)
            error = float(np.abs(found.lines(drives) - exact).max()) / model.full_scale_amps
            if best is not None and not error <= max(NEAR, WORTHWHILE * best.error):
                break
            best = replace(found, error=error)
    if best is None or not best.error <= REFUSED:
        raise SolveError(
            "the tables of a reduced model deviate from it by "
            f"{'nan' if best is None else format(best.error, '.1e')} of full scale, and the limit is {REFUSED:g}; use "
            "the nodal backend"
        )
    return replace(best, error=model.error + best.error)


def _states(model: Macro, drives: Floats) -> Floats:
    """Compute (1, currents, local slopes) `[vectors, 1 + 2 nodes]` of the mean field under `drives`."""
    _, current, local = model.field.solve(torch.from_numpy(drives).to(model.own))
    return np.hstack([np.ones((len(drives), 1)), current.double().numpy(), local.double().numpy()])


def _responses(model: Macro) -> tuple[Floats, Floats]:
    """Return what an input's factor and its shift take from the field, each `[1 + 2 nodes, inputs]`."""
    response = model.field.response.double().numpy()
    return response, model.field.shift.double().numpy() if model.field.shift.numel() else np.zeros_like(response)


def _axes(model: Macro, state: Floats) -> Floats:
    """Return the singular vectors `[2 inputs, n]` of the factors and shifts in fields `state` `[vectors, 1 + 2 nodes]`,
    those with the largest singular values first."""
    values = state @ np.hstack(_responses(model))
    axes: Floats = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)[2].T
    return axes


def _with_modes(model: Macro, state: Floats, axes: Floats, constants: bool = False) -> Tabulated:
    """Make tables with a mode that is 1 and one for each of the `axes` `[2 inputs, modes - 1]` of fields `state`
    `[vectors, 1 + 2 nodes]`, with or without constants in the rows of bits."""
    response, shift = _responses(model)
    both = np.hstack([response, shift])
    modes = np.hstack([np.eye(len(both))[:, :1], both @ axes])
    factors = _Factors(state @ modes, state @ response, state @ shift)
    fixed = np.pad(model.tables[-1].double().numpy(), ((0, 0), (0, modes.shape[1] - 1), (0, 0)))
    if model.drive.direction == "wordlines":
        rows, of_factors, of_shifts, weights = _tables_of_bits(model, factors, constants)
    else:
        rows, of_factors, of_shifts, weights, rest = _tables_of_volts(model, factors)
        fixed[:, 0] += rest[:, 0]
        fixed[:, TERMS:] = rest[:, 1:]
    return Tabulated(
        model, single(modes.T), padded(np.pad(rows, ((0, 1), (0, 0)))), single(of_factors.T), single(of_shifts.T),
        padded(fixed), single(weights),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Factors:
    """`phi` `[vectors, modes]`, and an input's factor and shift, each `[vectors, inputs]`, for the same reads."""

    phi: Floats
    factor: Floats
    shift: Floats

    def of(self, values: Floats) -> Floats:
        """Return the least-squares coefficients `[modes, n]` of `values` `[vectors, n]` in phi."""
        scale = np.maximum(np.abs(self.phi).max(axis=0), 1e-30)
        found: Floats = np.linalg.lstsq(self.phi / scale, values, rcond=1e-12)[0] / scale[:, None]
        return found


def _tables_of_bits(model: Macro, factors: _Factors, constants: bool) -> tuple[Floats, Floats, Floats, Floats]:
    """Return rows, factors, empty shifts, and weights: see `Tabulated`.

    A state's factor is that of the field on the sum of all lines; each line's row is fitted to it. With `constants`, a
    second row is the part that is independent of the factor.
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
    of_features = np.array([factor[:, feature, :].prod(axis=1) for feature in features])  # [features, groups, vectors]
    rows, shares = [], []
    for state in range(1, 2**count):
        parts = [k for k, own in enumerate(bits) if state & own == own]
        table = np.array([tables[k] for k in parts])  # [parts, groups, lines]
        weight = np.abs(table).sum(axis=2)
        weight = weight / np.maximum(weight.sum(axis=0), 1e-40)
        share = factors.of(np.einsum("pgv,pg->vg", of_features[parts], weight))
        # What a state draws is linear in its features, so these are fitted in place of the currents of lines.
        fitted = _least_squares((factors.phi @ share).T, of_features[parts].transpose(1, 2, 0), constants)
        rows.append(fitted @ table.transpose(1, 0, 2))
        if still:
            rows[-1][:, 1] += sum(still[k] for k in parts)
        shares.append(share.T)
    weights = by_group(model.field.weights.double().numpy().sum(axis=1, keepdims=True))[:, :, 0]
    has = np.array([[state >> row & 1 for row in range(count)] for state in range(1, 2**count)])
    lines, modes, nothing = rows[0].shape[-1], factors.phi.shape[1], np.empty((0, factors.phi.shape[1]))
    # Constants come after all other rows.
    table = np.stack(rows, axis=1).transpose(2, 0, 1, 3).reshape(-1, lines)
    psi = np.pad(np.stack(shares, axis=1).reshape(-1, modes), ((0, len(table) + 1 - groups * len(rows)), (0, 0)))
    psi[groups * len(rows) : -1, 0] = 1
    of_states = weights @ has.T
    for one, feature in zip(model.field.products.double().numpy().sum(axis=2), features[count:], strict=False):
        of_states += one[:, None] * has[:, feature].all(axis=1)
    return table, psi, nothing, of_states.ravel()


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


def _tables_of_volts(model: Macro, factors: _Factors) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return the same for x and x^2, line by line, and the currents at x = 0, `[blocks, modes, lines]`."""
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
