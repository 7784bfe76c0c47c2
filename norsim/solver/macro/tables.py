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
from norsim.solver.macro.reads import NO_DRIVES, Readout, Singles, Vectors, Wanted, padded, single
from norsim.solver.macro.rows import Factors, tables_of_bits, tables_of_volts

NEAR = 2.5e-5
# The first number of modes that is tried, the steps of it, and how many are tried in vain; with metal straps few modes
# never suffice, and a mode may help only with the next one.
TRIED, TRIED_WITH_METAL = (1, 1, 1), (6, 2, 2)


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
        return self.model.summed

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
            (codes, drives, begins, offsets), passes, groups, self._tables, self._of_model, self._of_straps, readout,
            noise, (*wanted, clipped),
        )  # fmt: skip
        in_threads(lambda thread: kernels.read(thread, threads, *arguments), threads)
        return tuple(clipped.sum(axis=0).tolist())

    @cached_property
    def _tables(self) -> tuple[NDArray[Any], ...]:
        """The kernel's arguments from these tables, with the node of each group."""
        layout = self._layout
        return (
            self.rows, self.factors, self.shifts, self.fixed, self.modes, self.weights, self.model.node_of()[0],
            layout.spots, layout.bases, layout.entries.ravel(), layout.counts, layout.weights.ravel(),
            layout.moments.ravel(), layout.ends, layout.nodes, layout.blocks,
        )  # fmt: skip

    @cached_property
    def _layout(self) -> BitLayout:
        """The layout of bits; that of no inputs for volts."""
        model, inputs = self.model, self.model.field.weights.shape[0]
        if self.drive.direction == "bitlines":
            return no_bits()
        return bit_layout(inputs, model.rows_per_group, model.groups_per_block, *model.node_of(), self.weights)

    @cached_property
    def _of_model(self) -> tuple[Singles, ...]:
        """The kernel's arguments from the model."""
        model, field = self.model, self.model.field
        of_field = (
            field.currents, field.slopes, field.local_slopes, field.bends, field.mean_slope, field.shared,
            field.nominal, field.to_blocks, field.at_blocks, field.shares, field.lifts, model.balance,
        )  # fmt: skip
        of_lines = (model.slopes.numpy(), model.own.numpy())
        return (
            *(single(part.numpy()) for part in of_field), *(padded(part) for part in of_lines),
            single(model.coupling.numpy()), single(model.sums.numpy()), padded(model.together.numpy()),
        )  # fmt: skip

    @cached_property
    def _of_straps(self) -> tuple[Singles, ...]:
        """The kernel's arguments from the response of straps."""
        return tuple(single(part.numpy()) for part in vars(self.model.straps).values())


def tabulate(model: Macro, drives: Floats) -> Tabulated:
    """Tabulate `model` to within `NEAR` on `drives` `[vectors, inputs]`; modes are fitted on half of these.

    The number of modes is the smallest tried that is near enough; if more modes no longer help, or if the model has
    currents that the field does not change, rows get constants.

    Raises SolveError if even all modes leave a deviation of more than 1e-2 of full scale from the model.
    """
    exact = model.lines(torch.from_numpy(drives)).numpy()
    state = _states(model, drives[::2])
    axes = _axes(model, state)
    best: Tabulated | None = None
    first, step, patience = TRIED_WITH_METAL if model.still else TRIED
    last = state.shape[1]
    for constants in (True,) if model.still else (False, True):
        vain = 0
        for count in range(min(first, last) if best is None else best.modes.shape[0], last + 1, step):
            if vain == patience or (best is not None and best.error <= NEAR):
                break
            found = _with_modes(model, state, axes[:, : count - 1], constants)
            error = float(np.abs(found.lines(drives) - exact).max()) / model.full_scale_amps
            if best is not None and not error <= max(NEAR, WORTHWHILE * best.error):
                vain += 1
                continue
            best, vain = replace(found, error=error), 0
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
    factors = Factors(state @ modes, state @ response, state @ shift)
    fixed = np.pad(model.tables[-1].double().numpy(), ((0, 0), (0, modes.shape[1] - 1), (0, 0)))
    if model.drive.direction == "wordlines":
        rows, of_factors, of_shifts, weights = tables_of_bits(model, factors, constants)
    else:
        rows, of_factors, of_shifts, weights, rest = tables_of_volts(model, factors)
        fixed[:, 0] += rest[:, 0]
        fixed[:, TERMS:] = rest[:, 1:]
    return Tabulated(
        model, single(modes.T), padded(np.pad(rows, ((0, 1), (0, 0)))), single(of_factors.T), single(of_shifts.T),
        padded(fixed), single(weights),
    )  # fmt: skip
