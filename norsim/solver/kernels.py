"""The inner loops of `nodal`, compiled by numba. Vectors go through in blocks of LANES, innermost in memory.

Arrays are indexed in place throughout: a slice taken in an inner loop would count references, which costs
more than the arithmetic and makes threads wait for each other.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

LANES = 32

# Multiplications and additions may be fused, and divisions by one number become multiplications.
FAST = {"contract", "nsz", "arcp"}


@njit(cache=True, fastmath=FAST)
def _scale(volts, middle, factor, result):  # type: ignore[no-untyped-def]
    for lane in range(len(result)):
        result[lane] = (volts[lane] - middle) * factor


@njit(cache=True, fastmath=FAST)
def _polynomial(coefficients, piece, gate, state, d, s, row, value):  # type: ignore[no-untyped-def]
    """value[l] = sum_pq coefficients[piece, gate, state, p, q] d[l]^p s[l]^q by Horner's rule."""
    _, _, _, degrees, source_degrees = coefficients.shape
    lanes = len(value)
    for lane in range(lanes):
        value[lane] = 0.0
    for p in range(degrees - 1, -1, -1):
        c = coefficients[piece, gate, state, p, source_degrees - 1]
        for lane in range(lanes):
            row[lane] = c
        for q in range(source_degrees - 2, -1, -1):
            c = coefficients[piece, gate, state, p, q]
            for lane in range(lanes):
                row[lane] = row[lane] * s[lane] + c
        for lane in range(lanes):
            value[lane] = value[lane] * d[lane] + row[lane]


@njit(cache=True, fastmath=FAST)
def _currents(  # type: ignore[no-untyped-def]
    gates, states, per_line, conducting, coefficients, scales, bitline_volts, source_volts, drop, rise, amps, work
):
    """amps[i, j, l]: cell currents at bitline volts less `drop` and source volts plus `rise`."""
    wordlines, bitlines, lanes = drop.shape
    pieces, levels = coefficients.shape[:2]
    source, across, s, d, row, value, mask = work
    for i in range(wordlines):
        line = i // per_line
        for j in range(bitlines):
            for lane in range(lanes):
                amps[i, j, lane] = 0.0
        for gate in range(levels):
            here = 0
            for lane in range(lanes):
                mask[lane] = 1.0 if gates[i, lane] == gate else 0.0
                here += gates[i, lane] == gate
            if here == 0:
                continue
            for j in range(bitlines):
                state = states[i, j]
                if not conducting[gate, state]:
                    continue
                reversed_lanes = 0
                for lane in range(lanes):
                    source[lane] = source_volts + rise[line, j, lane]
                    across[lane] = bitline_volts[j, lane] - drop[i, j, lane] - source[lane]
                    reversed_lanes += across[lane] < 0.0
                _scale(source, scales[pieces, 0], 1 / scales[pieces, 1], s)
                _scale(across, scales[pieces - 1, 0], 1 / scales[pieces - 1, 1], d)
                _polynomial(coefficients, pieces - 1, gate, state, d, s, row, value)
                for lane in range(lanes):
                    amps[i, j, lane] += mask[lane] * value[lane]
                if pieces == 2 and reversed_lanes:
                    _scale(across, scales[0, 0], 1 / scales[0, 1], d)
                    _polynomial(coefficients, 0, gate, state, d, s, row, value)
                    for lane in range(lanes):
                        if across[lane] < 0.0 and mask[lane] > 0.0:
                            amps[i, j, lane] = value[lane]


@njit(cache=True, fastmath=FAST)
def _solve_bitlines(amps, conductances, ohms, share, last, drop, totals, updated):  # type: ignore[no-untyped-def]
    """drop[i, j, l] from cell currents linearised about the old drop, and `updated` currents at the new one.

    `totals` is scratch of the same shape.
    """
    wordlines, bitlines, lanes = drop.shape
    for i in range(wordlines - 1, -1, -1):
        beyond = min(i + 1, wordlines - 1)
        for j in range(bitlines):
            g = conductances[i, j]
            a = share[j, beyond] if beyond > i else 0.0
            for lane in range(lanes):
                total = a * totals[beyond, j, lane] if beyond > i else 0.0
                totals[i, j, lane] = total + amps[i, j, lane] + g * drop[i, j, lane]
    for i in range(wordlines):
        for j in range(bitlines):
            g = conductances[i, j]
            a = share[j, i] if i else 0.0
            b = a * ohms if i else last[j]
            near = max(i - 1, 0)
            for lane in range(lanes):
                new = b * totals[i, j, lane] + (a * drop[near, j, lane] if i else 0.0)
                fallen = g * (new - drop[i, j, lane])
                # A cell whose wordline is down draws nothing, whatever its linearisation says.
                updated[i, j, lane] = amps[i, j, lane] - (fallen if amps[i, j, lane] != 0.0 else 0.0)
                drop[i, j, lane] = new


@njit(cache=True, fastmath=FAST)
def _solve_source_lines(  # type: ignore[no-untyped-def]
    amps, per_line, conductances, ohms, cell, share, last, rise, totals
):
    """rise[k, j, l] from cell currents linearised about the old rise; `totals` is scratch for one line."""
    wordlines, _, lanes = amps.shape
    nodes = len(cell)
    for k in range(rise.shape[0]):
        for m in range(nodes - 1, -1, -1):
            j = cell[m]
            for lane in range(lanes):
                totals[m, lane] = share[k, m + 1] * totals[m + 1, lane] if m + 1 < nodes else 0.0
            if j >= 0:
                g = conductances[k, j]
                for lane in range(lanes):
                    totals[m, lane] += g * rise[k, j, lane]
                for i in range(k * per_line, min((k + 1) * per_line, wordlines)):
                    for lane in range(lanes):
                        totals[m, lane] += amps[i, j, lane]
        for lane in range(lanes):
            totals[0, lane] *= last[k]
        for m in range(1, nodes):
            a = share[k, m]
            b = a * ohms
            for lane in range(lanes):
                totals[m, lane] = a * totals[m - 1, lane] + b * totals[m, lane]
        for m in range(nodes):
            if cell[m] >= 0:
                for lane in range(lanes):
                    rise[k, cell[m], lane] = totals[m, lane]


@njit(cache=True, fastmath=FAST)
def _change(amps, before, change, flowing):  # type: ignore[no-untyped-def]
    """Sums over the tile of |amps - before| and |amps|, by lane."""
    lanes = len(change)
    change[:] = 0.0
    flowing[:] = 0.0
    for i in range(amps.shape[0]):
        for j in range(amps.shape[1]):
            for lane in range(lanes):
                change[lane] += abs(amps[i, j, lane] - before[i, j, lane])
                flowing[lane] += abs(amps[i, j, lane])


@njit(cache=True, fastmath=FAST)
def _collect(amps, per_line, block, bitline_amps, source_amps):  # type: ignore[no-untyped-def]
    """Sums of cell currents along bitlines and along source lines."""
    lanes = amps.shape[2]
    bitline_amps[block] = 0.0
    source_amps[block] = 0.0
    for i in range(amps.shape[0]):
        for j in range(amps.shape[1]):
            for lane in range(lanes):
                bitline_amps[block, j, lane] += amps[i, j, lane]
                source_amps[block, i // per_line, lane] += amps[i, j, lane]


@njit(cache=True)
def _reach(bitline_volts, source_volts, drop, rise, per_line, block, bounds):  # type: ignore[no-untyped-def]
    """bounds[block] = lowest and highest drain-source volts, lowest and highest source volts of all cells."""
    lanes = drop.shape[2]
    lowest, highest, bottom, top = np.inf, -np.inf, np.inf, -np.inf
    for i in range(drop.shape[0]):
        for j in range(drop.shape[1]):
            for lane in range(lanes):
                source = source_volts + rise[i // per_line, j, lane]
                across = bitline_volts[j, lane] - drop[i, j, lane] - source
                lowest, highest = min(lowest, across), max(highest, across)
                bottom, top = min(bottom, source), max(top, source)
    bounds[block, 0], bounds[block, 1], bounds[block, 2], bounds[block, 3] = lowest, highest, bottom, top


@njit(cache=True)
def relax(  # type: ignore[no-untyped-def]
    up, volts, source_volts, cells, per_line, bitline_conductances, bitline, source_conductances, source,
    free_bitlines, free_source_lines, floor, tolerance, most_sweeps, drop, rise, residual,
):  # fmt: skip
    """Relaxes one block of vectors from `drop` and `rise`, which are changed in place; gives the cell currents.

    Lines that are not free keep their volts. `residual` `[lanes]` takes the last change of all currents over
    what flows, or over `floor` where less does.
    """
    states, conducting, coefficients, scales = cells
    lanes = drop.shape[2]
    amps, before, totals = np.empty(drop.shape), np.empty(drop.shape), np.empty(drop.shape)
    updated = np.empty(drop.shape)
    along = np.empty((len(source[1]), lanes))
    one, two = np.empty(lanes), np.empty(lanes)
    work = (one, two, np.empty(lanes), np.empty(lanes), np.empty(lanes), np.empty(lanes), np.empty(lanes))
    for sweep in range(most_sweeps):
        before, amps = amps, before
        _currents(up, states, per_line, conducting, coefficients, scales, volts, source_volts, drop, rise, amps, work)
        if sweep:
            _change(amps, before, one, two)
            worst = 0.0
            for lane in range(lanes):
                residual[lane] = one[lane] / max(two[lane], floor)
                worst = max(worst, residual[lane])
            if not worst > tolerance:
                break
        if free_bitlines:
            _solve_bitlines(amps, bitline_conductances, bitline[0], bitline[2], bitline[3], drop, totals, updated)
        else:
            updated[:] = amps
        if free_source_lines:
            _solve_source_lines(
                updated, per_line, source_conductances, source[0], source[1], source[2], source[3], rise, along
            )
    return amps


@njit(cache=True, parallel=True)
def solve(  # type: ignore[no-untyped-def]
    gates, bitline_volts, source_volts, cells, per_line, bitline_conductances, bitline,
    source_conductances, source, floor, tolerance, most_sweeps, bitline_amps, source_amps, residual, bounds,
):  # fmt: skip
    """Solves blocks of vectors, a thread each.

    In: gates `[blocks, wordlines, lanes]`, bitline_volts `[blocks, bitlines, lanes]`, cells = (states,
    conducting, coefficients, scales), and the factored lines (ohms, cell, share, last).
    Out: bitline_amps `[blocks, bitlines, lanes]`, source_amps `[blocks, source lines, lanes]`, residual
    `[blocks, lanes]`, bounds `[blocks, 4]` as `_reach` gives them.
    """
    wordlines, bitlines = cells[0].shape
    lanes = gates.shape[2]
    for block in prange(len(gates)):
        drop = np.zeros((wordlines, bitlines, lanes))
        rise = np.zeros((len(source_conductances), bitlines, lanes))
        amps = relax(
            gates[block], bitline_volts[block], source_volts, cells, per_line, bitline_conductances, bitline,
            source_conductances, source, True, True, floor, tolerance, most_sweeps, drop, rise, residual[block],
        )  # fmt: skip
        _collect(amps, per_line, block, bitline_amps, source_amps)
        _reach(bitline_volts[block], source_volts, drop, rise, per_line, block, bounds)
