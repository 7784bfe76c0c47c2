"""`nodal`: Kirchhoff's laws for a whole tile, solved to convergence, for many vectors at once.

The unknowns are the drop of every bitline node below its drive and the rise of every source-line node above
ground. Cell currents come from the `CellTable` of the tile's cell. One sweep evaluates the cells, solves all bitlines
with the cells linearised in their drain volts, and solves all source lines with the cells linearised in their source
volts. The linearisation is taken once per tile, with every wordline up, so lines are factored once
(norsim.solver.factored_line). Sweeps are in float32 until their rounding shows, then in float64. They end when a sweep
changes the cell currents, at the slopes that the lines were factored for, by at most 1e-8 of the total current.

Reads with few wordlines up, on source lines with straps, have the currents of the cells that are up as unknowns instead
(norsim.solver.nodal.rows_up).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import NDArray

from norsim.array.compiled import in_threads
from norsim.array.tile import Currents, Floats, Stimulus
from norsim.errors import SolveError
from norsim.solver.characterize import Box
from norsim.solver.nodal import kernels, rows_up
from norsim.solver.nodal.tile import Prepared, prepare

__all__ = [
    "Nodes",
    "OutsideBox",
    "Prepared",
    "check_box",
    "check_volts",
    "mean_volts",
    "nodes",
    "prepare",
    "relax",
    "solve",
]

TOLERANCE = 1e-8
MOST_SWEEPS = 400
# The lines that are solved.
Free = Literal["both", "bitlines", "source lines", "none"]
# One call of the kernel solves this number of blocks of reads, fewer on large tiles, because a call ends before it is
# interrupted.
BLOCKS_AT_ONCE, CELLS_AT_ONCE = 128, 2**25


def solve(prepared: Prepared, stimulus: Stimulus, threads: int | None = None, tolerance: float = TOLERANCE) -> Currents:
    """Return the currents of every read; `converged` and `residual` are the state after the last sweep.

    It takes `threads`, by default those of numba. `residual` is the violation of Kirchhoff's current law, over all
    cells, relative to the current (see FLOOR); reads have converged if it is at most `tolerance`. Raises SolveError if
    the volts of a cell are outside the box that it was characterised for.
    """
    threads = threads or numba.get_num_threads()
    if rows_up.suits(prepared, stimulus):
        bitline, residual, solved = rows_up.solve(prepared, stimulus, threads, tolerance)
        source = bitline.sum(axis=1, keepdims=True)
        left = np.flatnonzero(~solved)
        if len(left):
            bitline[left], source[left], residual[left] = _solve_all_cells(
                prepared, stimulus.take(left), threads, tolerance
            )  # fmt: skip
    else:
        bitline, source, residual = _solve_all_cells(prepared, stimulus, threads, tolerance)
    return Currents(prepared.tile.with_leaks(bitline), source, residual <= tolerance, residual, "nodal")


def _solve_all_cells(
    prepared: Prepared, stimulus: Stimulus, threads: int, tolerance: float
) -> tuple[Floats, Floats, Floats]:
    """Return currents of bitlines and of source lines, or of all straps together, and residuals, with all cells of the
    tile as unknowns."""
    parts = []
    cells = prepared.tile.thresholds.size * kernels.LANES
    blocks = min(max(CELLS_AT_ONCE // cells, threads), BLOCKS_AT_ONCE)
    size = blocks * kernels.LANES
    for start in range(0, stimulus.vectors, size):
        parts.append(_solve_some(prepared, stimulus.take(slice(start, start + size)), threads, tolerance))
    bitline, source, residual = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if prepared.tile.wires.strap_every is not None:
        source = source.sum(axis=1, keepdims=True)
    return bitline, source, residual


def relax(
    prepared: Prepared,
    gates: NDArray[np.int64],
    bitline_volts: Floats,
    drop: Floats | None,
    rise: Floats | None,
    free: Free,
    tolerance: float = TOLERANCE,
    straps: Floats | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Solve a few vectors; return cell currents, drops and rises, each `[wordlines, bitlines, lanes]`.

    Rises are by source line. `gates` `[wordlines, lanes]` are indices of the table's gate levels, `bitline_volts` is
    `[bitlines, lanes]`. The sweeps start from `drop` and `rise`; None is 0 V everywhere. Lines that are not `free` keep
    these volts, so one kind of line can be solved while the other is held. Straps with a resistance are solved with
    source lines, or held at `straps` `[source lines, straps, lanes]`, volts. It takes this thread only, so that several
    tiles can be solved at a time. Raises SolveError if the sweeps do not converge to `tolerance`.
    """
    found = _relax_blocks(prepared, gates, bitline_volts, drop, rise, free, tolerance, straps)
    lanes = gates.shape[1]
    if drop is None or free in ("both", "bitlines"):
        drop = _by_lane(found[1], lanes)
    if rise is None or free in ("both", "source lines"):
        rise = _by_lane(found[2], lanes)
    return _by_lane(found[0], lanes), drop, rise


def mean_volts(
    prepared: Prepared, gates: NDArray[np.int64], bitline_volts: Floats, tolerance: float
) -> tuple[Floats, Floats, Floats]:
    """Return drops `[wordlines, bitlines]`, rises `[source lines, bitlines]`, and rises of strap nodes `[source lines,
    straps]`, volts, as the mean over a few vectors of the same arguments as those of `relax`, whose errors it
    raises."""
    _, *found = _relax_blocks(prepared, gates, bitline_volts, None, None, "both", tolerance)
    lanes, half = gates.shape[1], kernels.HALF
    # The last block repeats the last vector.
    shares = (np.arange(len(found[0]) * half) < lanes).astype(np.float64).reshape(-1, 1, half, 1) / lanes
    drop, rise, straps = ((values @ shares).sum(axis=(0, 3)) for values in found)
    return drop, rise, straps


def _relax_blocks(
    prepared: Prepared, gates: NDArray[np.int64], bitline_volts: Floats, drop: Floats | None, rise: Floats | None,
    free: Free, tolerance: float, straps: Floats | None = None,
) -> tuple[Floats, Floats, Floats, Floats]:  # fmt: skip
    """Do `relax`, and return what it returns in blocks, `[blocks, wordlines, bitlines, HALF]`, and the volts of strap
    nodes, `[blocks, source lines, straps, HALF]`."""
    tile, half = prepared.tile, kernels.HALF
    gates, bitline_volts = _in_blocks(gates), _in_blocks(tile.applied(bitline_volts.T).T)
    size = len(gates), tile.wordlines, tile.bitlines, half
    drop = np.zeros(size) if drop is None else _in_blocks(drop)
    rise = np.zeros((len(gates), tile.source_lines, tile.bitlines, half)) if rise is None else _in_blocks(rise)
    amps, residual = np.empty(size), np.zeros((len(gates), half))
    size_of_straps = (len(gates), *prepared.straps.contacts.shape[:2], half)
    metal = np.zeros(size_of_straps) if straps is None else _in_blocks(straps)
    kernel: Any = kernels.relax
    kernel(
        gates, bitline_volts, 0.0, prepared.double, prepared.conducting, free in ("both", "bitlines"),
        free in ("both", "source lines"), straps is None, prepared.floor_amps, tolerance,
        MOST_SWEEPS, drop, rise, metal, amps, residual,
    )  # fmt: skip
    if free != "none" and not residual.max() <= tolerance:
        raise SolveError(
            f"the lines of {tile.name} do not converge: Kirchhoff's current law is violated by "
            f"{residual.max():.1e} of the total current; use the ngspice backend"
        )
    return amps, drop, rise, metal


def _in_blocks(values: NDArray[Any]) -> NDArray[Any]:
    """Return `[..., lanes]` as `[blocks, ..., HALF]`, a copy; the last lane is repeated to fill the last block."""
    lanes, half = values.shape[-1], kernels.HALF
    found = np.empty((-(-lanes // half), *values.shape[:-1], half), values.dtype)
    for block, part in enumerate(found):
        some = values[..., block * half : (block + 1) * half]
        part[..., : some.shape[-1]], part[..., some.shape[-1] :] = some, some[..., -1:]
    return found


def _by_lane(blocks: Floats, lanes: int) -> Floats:
    """Return `[blocks, ..., HALF]` as `[..., lanes]`, a copy."""
    found, half = np.empty((*blocks.shape[1:-1], lanes)), kernels.HALF
    for block, values in enumerate(blocks):
        some = found[..., block * half : (block + 1) * half]
        some[:] = values[..., : some.shape[-1]]
    return found


@dataclass(frozen=True, eq=False)
class Nodes:
    """One read, cell by cell.

    `amps`   `[wordlines, bitlines]`, amperes through each cell
    `drop`   `[wordlines, bitlines]`, volts by which a bitline's node lies below the bitline's drive
    `rise`   `[source lines, bitlines]`, volts by which a source line's node lies above ground
    """

    amps: Floats
    drop: Floats
    rise: Floats


def nodes(prepared: Prepared, stimulus: Stimulus, free: Literal["both", "none"] = "both") -> Nodes:
    """Solve the first read of `stimulus` node by node; with `free` "none", as if wires were lossless.

    Raises SolveError if the sweeps do not converge, or if they leave the volts that the cell was characterised for.
    """
    gates, volts = np.searchsorted(prepared.table.gates, stimulus.wordline_volts[:1]).T, stimulus.bitline_volts[:1].T
    amps, drop, rise = relax(prepared, gates, volts, None, None, free)
    check_volts(prepared, prepared.tile.applied(volts.T).T, drop, rise)
    return Nodes(amps[:, :, 0], drop[:, :, 0], rise[:, :, 0])


def check_volts(prepared: Prepared, bitline_volts: Floats, drop: Floats, rise: Floats) -> None:
    """Raise OutsideBox if a cell's volts, as `relax` takes `[bitlines, lanes]` and returns drops and rises, are outside
    those that it was characterised for."""
    source = np.repeat(rise, prepared.tile.wires.rows_per_source_line, axis=0)[: len(drop)]
    across = bitline_volts - drop - source
    check_box(prepared.table.box, np.array([[across.min(), across.max(), source.min(), source.max()]]))


def _solve_some(
    prepared: Prepared, stimulus: Stimulus, threads: int, tolerance: float
) -> tuple[Floats, Floats, Floats]:
    vectors, lanes, half = stimulus.vectors, kernels.LANES, kernels.HALF
    blocks = -(-vectors // lanes)
    # The last block is padded with its last vector.
    order = np.minimum(np.arange(blocks * lanes), vectors - 1)
    gates = np.searchsorted(prepared.table.gates, stimulus.wordline_volts)[order]
    gates = np.ascontiguousarray(gates.reshape(blocks, lanes, -1).transpose(0, 2, 1))
    volts = prepared.tile.applied(stimulus.bitline_volts)
    volts = np.ascontiguousarray(volts[order].reshape(blocks, lanes, -1).transpose(0, 2, 1))
    bitline = np.empty((blocks, 2, prepared.tile.bitlines, half))
    source = np.empty((blocks, 2, prepared.tile.source_lines, half))
    residual, extremes = np.empty((blocks, 2, half)), np.empty((blocks, 2, 4, half))
    extremes[:, :, ::2], extremes[:, :, 1::2] = np.inf, -np.inf
    solver: Any = kernels.solve
    threads = min(threads, blocks)

    def work(thread: int) -> None:
        solver(
            thread, threads, gates, volts, float(stimulus.source_volts), prepared.single, prepared.double,
            prepared.conducting, prepared.floor_amps, tolerance,
            MOST_SWEEPS, bitline, source, residual, extremes,
        )  # fmt: skip

    in_threads(work, threads)
    check_box(prepared.table.box, extremes.transpose(0, 1, 3, 2).reshape(-1, 4))
    flat = [values.transpose(0, 1, 3, 2).reshape(blocks * lanes, -1)[:vectors] for values in (bitline, source)]
    return flat[0], flat[1], residual.ravel()[:vectors]


def check_box(box: Box, extremes: Floats) -> None:
    """Raise OutsideBox if any row of `extremes` `[n, 4]`, the lowest and highest volts across cells and at their
    sources, is outside the box."""
    low, high = extremes.min(axis=0), extremes.max(axis=0)
    found = Box(float(low[0]), float(high[1]), float(low[2]), float(high[3]))
    margin = 1e-9
    inside = (
        box.across_low - margin <= found.across_low and found.across_high <= box.across_high + margin
        and box.source_low - margin <= found.source_low and found.source_high <= box.source_high + margin
    )  # fmt: skip
    if not inside:
        raise OutsideBox(
            f"cells reach {found}, outside the {box} that they were characterised for: no current is extrapolated"
        )


class OutsideBox(SolveError):
    """A solution is outside the volts that its cell was characterised for."""
