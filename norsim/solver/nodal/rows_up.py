"""`nodal` for reads whose wordlines are up or down, on source lines with straps.

A cell whose wordline is down carries next to nothing. So a read has the currents J of the cells of its own wordlines as
unknowns, which are a tenth of all cells in the layers of a network. The volts of their nodes follow from J by the
resistances of the wires alone: with wordlines a < b < ... up, the nodes of a bitline drop by

    u_a = (r_end + a r) S_a,    u_b = u_a + (b - a) r S_b,

with S_b the currents of all its cells from b on, and source lines rise as norsim.solver.factored_line and
norsim.solver.strap_metal have it for cells without conductances. A sweep evaluates all cells at these volts, which
gives the next J. Wires drop a few hundredths of a read's volts, so a sweep leaves about that share of an error; straps,
which drop most, are solved with the conductances of the read's cells. Sweeps are in float32 until their rounding shows,
then in float64. They end when one changes currents by at most `tolerance` of the total, by which Kirchhoff's current
law is violated.

Currents are largest without any drop, so those of lossless wires bound all drops. The polynomials of cells are expanded
about the middle of these volts, where few powers count, for reads of similar drops together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from norsim.array.compiled import in_threads
from norsim.array.tile import Floats, Stimulus
from norsim.solver.nodal import rows_up_kernels
from norsim.solver.nodal.rows_up_tile import ohms_along, padded, tile_rows
from norsim.solver.nodal.tile import Prepared
from norsim.solver.strap_metal import own_ohms, unloaded_straps

Bools = NDArray[np.bool_]
# Cells that are down count as constant currents if these are at most this share of the largest one.
MOST_DOWN = 1e-7
# What has not converged after these is left to the sweeps that take all cells for conducting.
MOST_SWEEPS = 40
# Volts are expected within the bounds by lossless wires, times this, and this much more.
MARGIN, LEAST_VOLTS = 1.05, 1e-6
# Reads are solved here if their cells, with those of padding, are at most this share of all cells of the tile.
MOST_CELLS = 0.6
# Cells of a block of reads, so that a thread's arrays take a few tens of megabytes.
CELLS = 2**20
# Reads whose largest drops differ by less than this factor are solved together, and at least so many of them.
ALIKE, LEAST_READS = 2.0, 512
ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Bounds:
    """What lossless wires bound.

    `drops`, `rises`    `[wordlines]`, volts: the most by which a wordline that is up lowers bitlines and raises straps
    `along`             volts by which a source line rises above its straps at most
    """

    drops: Floats
    rises: Floats
    along: float


def suits(prepared: Prepared, stimulus: Stimulus) -> bool:
    """Return whether reads can be solved here: up or down, at one voltage of bitlines, on source lines with ideally
    contacted straps, and with cells that one polynomial describes for each state."""
    wires, table, up = prepared.tile.wires, prepared.table, np.flatnonzero(prepared.conducting)
    if wires.strap_every is None or wires.source_end_ohms or len(up) != 1 or len(table.gates) > 2:
        return False
    if len(prepared.double.across_pieces) > 1 or len(prepared.double.source_pieces) > 1:
        return False
    down = _down_amps(prepared, stimulus)
    return bool(down.max() <= MOST_DOWN * table.top_amps) and bool(
        (stimulus.bitline_volts == stimulus.bitline_volts[0]).all()
    )


def solve(prepared: Prepared, stimulus: Stimulus, threads: int, tolerance: float) -> tuple[Floats, Floats, Bools]:
    """Return the currents of bitlines `[vectors, bitlines]`, amperes, residuals `[vectors]`, and which reads are
    solved: the others have too many cells, have not converged, or reached volts beyond their bounds."""
    up = prepared.conducting[np.searchsorted(prepared.table.gates, stimulus.wordline_volts)]
    bounds = _bounds(prepared, stimulus)
    drops, rises = up @ bounds.drops, up @ bounds.rises + bounds.along
    amps, residual = np.empty((len(up), prepared.tile.bitlines)), np.full(len(up), np.inf)
    solved = up.sum(axis=1) * padded(prepared) <= MOST_CELLS * prepared.tile.thresholds.size
    few = np.flatnonzero(solved)
    for chosen in _alike((drops + rises)[few]):
        some = few[chosen]
        across, source = _ranges(prepared, stimulus, float(drops[some].max()), float(rises[some].max()))
        amps[some], residual[some], solved[some] = _solve(
            prepared, stimulus, np.ascontiguousarray(up[some]), across, source, threads, tolerance
        )  # fmt: skip
    down = _down_amps(prepared, stimulus)[prepared.double.states]
    return amps + ~up @ down, residual, solved & (residual <= tolerance)


def _solve(
    prepared: Prepared, stimulus: Stimulus, up: Bools, across: Floats, source: Floats, threads: int, tolerance: float
) -> tuple[Floats, Floats, Bools]:  # fmt: skip
    """Solve reads with wordlines `up` `[reads, wordlines]`; return the currents of their bitlines, residuals, and
    whether their volts stay within the ranges `across` and `source` `[2]`."""
    single, double, places = tile_rows(prepared, stimulus, across, source)
    cells = up.sum(axis=1)
    starts = _block_starts(cells * len(double.volts))
    most, reads = int(np.add.reduceat(cells, starts[:-1]).max()), rows_up_kernels.READS
    amps = np.empty((len(up), len(double.volts)))
    residual, extremes = np.zeros((len(starts) - 1, reads)), np.empty((len(starts) - 1, 4, rows_up_kernels.HALF))
    solver: Any = rows_up_kernels.solve
    threads = min(threads, len(starts) - 1)

    def work(thread: int) -> None:
        solver(
            thread, threads, up, starts, most, single, double, prepared.floor_amps, tolerance, MOST_SWEEPS, amps,
            residual, extremes,
        )  # fmt: skip

    in_threads(work, threads)
    low, high = extremes.min(axis=2), extremes.max(axis=2)
    within = (low[:, 0] >= across[0]) & (high[:, 1] <= across[1]) & (low[:, 2] >= source[0]) & (high[:, 3] <= source[1])
    sizes = np.diff(starts)
    return amps[:, places], residual[np.arange(reads) < sizes[:, None]], np.repeat(within, sizes)


def _down_amps(prepared: Prepared, stimulus: Stimulus) -> Floats:
    """Return the currents of cells `[states]` whose wordlines are down, amperes, without drops."""
    down = np.flatnonzero(~prepared.conducting)
    return (
        np.abs(_lossless(prepared, stimulus, int(down[0]))) if len(down) else np.zeros(len(prepared.table.thresholds))
    )


def _lossless(prepared: Prepared, stimulus: Stimulus, gate: int) -> Floats:
    """Return the currents of cells `[states]` at a gate level, amperes, on lossless wires."""
    ground = np.array([stimulus.source_volts])
    across = np.array([prepared.tile.applied(stimulus.bitline_volts[0]).max()]) - ground
    found: Floats = prepared.table.amps(gate, ALL, across, ground)[:, 0]
    return found


def _bounds(prepared: Prepared, stimulus: Stimulus) -> Bounds:
    tile, wires = prepared.tile, prepared.tile.wires
    most = _lossless(prepared, stimulus, int(np.flatnonzero(prepared.conducting)[0]))[prepared.double.states]
    to_end = wires.bitline_end_ohms + wires.bitline_ohms * np.arange(tile.wordlines)
    line, rises = np.arange(tile.wordlines) // wires.rows_per_source_line, np.zeros(tile.wordlines)
    on_lines = np.zeros((tile.source_lines, tile.bitlines))
    np.add.at(on_lines, line, most)
    if wires.has_strap_metal:
        # Of all nodes, those where a current enters rise most.
        ports = unloaded_straps(wires, tile.source_lines, tile.bitlines).at_ports()[line] @ most[:, :, None]
        rises = (own_ohms(wires, tile.source_lines, tile.bitlines)[line] @ ports).max(axis=(1, 2))
    along = on_lines @ ohms_along(wires, tile.bitlines)
    return Bounds(most.max(axis=1) * to_end, rises, float(along.max()))


def _alike(sizes: Floats) -> Iterator[NDArray[np.int64]]:
    """Yield the indices of `sizes` in groups of similar ones."""
    order = np.argsort(sizes, kind="stable")
    stop = len(order)
    while stop:
        first = int(np.searchsorted(sizes[order], sizes[order[stop - 1]] / ALIKE))
        first = min(first, max(stop - LEAST_READS, 0))
        yield order[first if first >= LEAST_READS else 0 : stop]
        stop = first if first >= LEAST_READS else 0


def _ranges(prepared: Prepared, stimulus: Stimulus, drop: float, rise: float) -> tuple[Floats, Floats]:
    """Return the lowest and highest volts across cells and at their sources, within those that they are characterised
    for, where bitlines drop and source lines rise at most so much."""
    box, ground = prepared.table.box, stimulus.source_volts
    volts = prepared.tile.applied(stimulus.bitline_volts[0]) - ground
    across = volts.min() - MARGIN * (drop + rise) - LEAST_VOLTS, volts.max() + LEAST_VOLTS
    source = ground - LEAST_VOLTS, ground + MARGIN * rise + LEAST_VOLTS
    return np.clip(across, box.across_low, box.across_high), np.clip(source, box.source_low, box.source_high)


def _block_starts(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first reads of blocks, and the end, for reads of so many `cells`."""
    total, starts, lanes = np.concatenate([[0], np.cumsum(cells)]), [0], rows_up_kernels.LANES
    while starts[-1] < len(cells):
        first = starts[-1]
        fit = int(np.searchsorted(total, total[first] + CELLS, side="right")) - 1 - first
        size = min(max(fit // lanes * lanes, lanes), rows_up_kernels.READS)
        starts.append(min(first + size, len(cells)))
    return np.array(starts)
