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
from torch.nn import functional

from norsim.array.compiled import in_threads
from norsim.array.tile import Floats
from norsim.errors import SolveError
from norsim.solver.input_lines import Driven
from norsim.solver.macro import kernels, reads
from norsim.solver.macro.bit_layout import BitLayout, bit_layout, no_bits
from norsim.solver.macro.build import REFUSED, WORTHWHILE
from norsim.solver.macro.model import Macro, corrections
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
                bit; for volts, two rows for each input, for x and for x^2; the last row is zero
    `changes`   `[n + 1, lines]`, amperes: what a row gains if its group's factor grows by 1; empty if rows are
                multiplied by their factors
    `factors`   `[modes, n + 1]`: psi of a row, `[modes, inputs]`: of an input, or, with `changes`, `[modes, groups]`:
                of a group's factor minus 1
    `shifts`    `[modes, inputs]`: the same for the term that the field adds to an input's volts; empty for bits
    `fixed`     `[blocks, terms, lines]`, amperes: currents of the field's terms
    `rest`      `[blocks, modes, lines]`, amperes: currents of lines at rest; for bits, which draw none, without modes
    `weights`   `[groups x states]` or `[inputs]`, amperes: weights of the sums that the field is solved from
    `error`     the largest expected deviation from nodal: the model's error plus the deviation from the model

    Lines are padded with zeros (norsim.solver.macro.reads.padded).
    """

    model: Macro
    modes: Singles
    rows: Singles
    changes: Singles
    factors: Singles
    shifts: Singles
    fixed: Singles
    rest: Singles
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
        groups = model.groups_per_block, model.field.rounds, model.rounds, self._layout.length, self.summed
        arguments = (
            (codes, drives, begins, offsets), passes, groups, self._tables, self._of_model, self._of_straps, readout,
            noise, (*wanted, clipped),
        )  # fmt: skip
        in_threads(lambda thread: kernels.read(thread, threads, *arguments), threads)
        return tuple(clipped.sum(axis=0).tolist())

    @cached_property
    def _tables(self) -> tuple[NDArray[Any], ...]:
        """The kernel's arguments from these tables, with the node of each group."""
        layout, groups = self._layout, np.arange(len(self.rows)) // (2**self.model.rows_per_group - 1)
        # The last row is zero, so any factor is right for it.
        groups[-1] = 0
        return (
            self.rows, self.changes, padded(self.factors), groups.astype(np.uint32), padded(self.shifts), self.rest,
            single(self.modes[:, 0]), single(self.modes[:, 1:].T), self.weights, self.model.node_of()[0],
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
        # Volts of lines and of straps beside each other: `[1 + nodes, 2 nodes]`.
        lifts = torch.cat([*field.lifts], dim=1) if field.lifts.numel() else field.lifts.new_empty(1, 0)
        of_field = (
            field.currents, field.slopes, field.local_slopes, field.bends, field.mean_slope, field.shared,
            -field.nominal, field.to_blocks, field.at_blocks, field.shares, -lifts[0], lifts[1:], model.balance,
        )  # fmt: skip
        of_lines = (self.fixed, model.slopes.numpy(), model.own.numpy())
        return (
            *(single(part.numpy()) for part in of_field), *(padded(part) for part in of_lines),
            single(model.coupling.numpy()), single(model.sums.numpy()), padded(model.together.numpy()),
        )  # fmt: skip

    @cached_property
    def _of_straps(self) -> tuple[Singles, ...]:
        """The kernel's arguments from the response of straps."""
        straps = self.model.straps
        ohms, along = torch.cat([straps.of_parts, straps.of_field]), functional.pad(straps.modes, (1, 0), value=1)
        lanes = functional.pad(straps.of_straps, (0, self.rows.shape[1] - straps.of_straps.shape[1]))
        parts = straps.at_rest, ohms, along.new_zeros(along.shape[1]), along, lanes
        return tuple(single(part.numpy()) for part in parts)


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
    added, left = corrections(model, drives, exact - best.lines(drives))
    error = model.error + float(np.abs(left).max()) / model.full_scale_amps
    return replace(best, fixed=best.fixed + padded(added), error=error)


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
    rest = np.empty((model.blocks, 0, model.own.shape[2]))
    if model.drive.direction == "wordlines":
        rows, changes, of_factors, weights = tables_of_bits(model, factors, constants)
        of_shifts = np.empty((0, modes.shape[1]))
    else:
        rows, of_factors, of_shifts, weights, rest = tables_of_volts(model, factors)
        changes = rows[:0]
    return Tabulated(
        model, single(modes.T), _with_zeros(rows), _with_zeros(changes), single(of_factors.T), single(of_shifts.T),
        padded(model.tables[-1].double().numpy()), padded(rest), single(weights),
    )  # fmt: skip


def _with_zeros(rows: Floats) -> Singles:
    """Return rows `[n, lines]`, if there are any, with padded lines and a further row of zeros."""
    return padded(np.pad(rows, ((0, int(len(rows) > 0)), (0, 0))))
