"""The inner loops of `nodal`, compiled by numba. Vectors are processed in blocks of LANES, innermost in memory.

Arrays are always indexed in place: taking a slice in an inner loop would update reference counts, which costs
more than the arithmetic and makes threads wait for each other.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from norsim.array.compiled import njit

LANES = 32

# Allow fused multiply-add, and division by a constant as multiplication by its reciprocal.
FAST = {"contract", "nsz", "arcp"}


@njit(fastmath=FAST)
def _scale(volts, middle, factor, result):  # type: ignore[no-untyped-def]
    for lane in range(len(result)):
        result[lane] = (volts[lane] - middle) * factor


@njit(fastmath=FAST)
def _polynomial(coefficients, orders, piece, gate, state, d, s, row, value):  # type: ignore[no-untyped-def]
    """Set value[l] = sum_pq coefficients[piece, gate, state, p, q] d[l]^p s[l]^q, p and q below orders (Horner's rule),
    four powers of s in one loop: a loop over a few lanes costs as much as several multiplications."""
    degrees, source_degrees = orders[gate, state, 0], orders[gate, state, 1]
    lanes = len(d)
    for lane in range(lanes):
        value[lane] = 0.0
    for p in range(degrees - 1, -1, -1):
        lowest = 4 * ((source_degrees - 1) // 4)
        if lowest:
            for lane in range(lanes):
                row[lane] = 0.0
            for q in range(lowest, 0, -4):
                a, b, c, e = _four(coefficients, source_degrees, piece, gate, state, p, q)
                for lane in range(lanes):
                    x = s[lane]
                    row[lane] = (((row[lane] * x + e) * x + c) * x + b) * x + a
            a, b, c, e = _four(coefficients, source_degrees, piece, gate, state, p, 0)
            for lane in range(lanes):
                x = s[lane]
                value[lane] = value[lane] * d[lane] + ((((row[lane] * x + e) * x + c) * x + b) * x + a)
        else:
            a, b, c, e = _four(coefficients, source_degrees, piece, gate, state, p, 0)
            for lane in range(lanes):
                x = s[lane]
                value[lane] = value[lane] * d[lane] + (((e * x + c) * x + b) * x + a)


@njit(inline="always")
def _four(coefficients, source_degrees, piece, gate, state, p, q):  # type: ignore[no-untyped-def]
    """Return the coefficients of s^q to s^(q + 3), 0 beyond the last."""
    a = coefficients[piece, gate, state, p, q]
    b = coefficients[piece, gate, state, p, q + 1] if q + 1 < source_degrees else 0.0
    c = coefficients[piece, gate, state, p, q + 2] if q + 2 < source_degrees else 0.0
    e = coefficients[piece, gate, state, p, q + 3] if q + 3 < source_degrees else 0.0
    return a, b, c, e


@njit()
def _locate(volts, edges, pieces):  # type: ignore[no-untyped-def]
    """Set pieces[l] to the piece that volts[l] lie in, outside volts at the ends; return the lowest and the highest."""
    pieces[:] = 0
    if len(edges) == 2:
        return 0, 0
    for edge in edges[1:-1]:
        for lane in range(len(volts)):
            pieces[lane] += 1 if volts[lane] >= edge else 0
    first, last = pieces[0], pieces[0]
    for lane in range(len(volts)):
        first, last = min(first, pieces[lane]), max(last, pieces[lane])
    return first, last


@njit()
def _in_piece(of_across, of_source, a, b, mask):  # type: ignore[no-untyped-def]
    """Set mask[l] to whether lane l lies in piece (a, b); return how many do."""
    found = 0.0
    for lane in range(len(of_across)):
        mask[lane] = 1.0 if of_across[lane] == a and of_source[lane] == b else 0.0
        found += mask[lane]
    return found


@njit(fastmath=FAST)
def _currents(  # type: ignore[no-untyped-def]
    gates, states, per_line, orders, coefficients, across_edges, source_edges, bitline_volts, source_volts, drop, rise,
    amps, work, change, flowing,
):  # fmt: skip
    """Set amps[i, j, l], the cell currents at bitline volts minus `drop` and source volts plus `rise`.

    `change` and `flowing` receive the sums over the tile, by lane, of the magnitudes of the currents' changes and of
    the currents.
    """
    wordlines, bitlines, lanes = drop.shape
    source_pieces, levels = len(source_edges) - 1, coefficients.shape[1]
    source, across, s, d, row, value, total, here, masks, of_across, of_source = work
    change[:] = 0.0
    flowing[:] = 0.0
    for i in range(wordlines):
        line = i // per_line
        for gate in range(levels):
            masks[gate, lanes] = 0.0
            for lane in range(lanes):
                masks[gate, lane] = 1.0 if gates[i, lane] == gate else 0.0
                masks[gate, lanes] += masks[gate, lane]
        for j in range(bitlines):
            state = states[i, j]
            for lane in range(lanes):
                source[lane] = source_volts + rise[line, j, lane]
                across[lane] = bitline_volts[j, lane] - drop[i, j, lane] - source[lane]
                total[lane] = 0.0
            first_a, last_a = _locate(across, across_edges, of_across)
            first_b, last_b = _locate(source, source_edges, of_source)
            alone = first_a == last_a and first_b == last_b
            for a in range(first_a, last_a + 1):
                middle = (across_edges[a] + across_edges[a + 1]) / 2
                _scale(across, middle, 1 / (across_edges[a + 1] - middle), d)
                for b in range(first_b, last_b + 1):
                    if not alone and _in_piece(of_across, of_source, a, b, here) == 0.0:
                        continue
                    middle = (source_edges[b] + source_edges[b + 1]) / 2
                    _scale(source, middle, 1 / (source_edges[b + 1] - middle), s)
                    piece = a * source_pieces + b
                    for gate in range(levels):
                        if masks[gate, lanes] == 0.0 or orders[gate, state, 0] == 0:
                            continue
                        _polynomial(coefficients, orders, piece, gate, state, d, s, row, value)
                        if alone:
                            for lane in range(lanes):
                                total[lane] += masks[gate, lane] * value[lane]
                        else:
                            for lane in range(lanes):
                                total[lane] += here[lane] * masks[gate, lane] * value[lane]
            for lane in range(lanes):
                change[lane] += abs(total[lane] - amps[i, j, lane])
                flowing[lane] += abs(total[lane])
                amps[i, j, lane] = total[lane]


@njit(fastmath=FAST)
def _solve_bitlines(amps, conductances, ohms, share, last, drop, totals, missed):  # type: ignore[no-untyped-def]
    """Solve drop[i, j, l] with cell currents linearised about the old drop; update `amps` to the new drop.

    A cell whose wordline is down draws nothing, whatever its linearisation: `missed` receives the sum, by lane,
    of the currents that the line was solved with there. `totals` is scratch of the same shape as the drops.
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
    missed[:] = 0.0
    for i in range(wordlines):
        for j in range(bitlines):
            g = conductances[i, j]
            a = share[j, i] if i else 0.0
            b = a * ohms if i else last[j]
            near = max(i - 1, 0)
            for lane in range(lanes):
                new = b * totals[i, j, lane] + (a * drop[near, j, lane] if i else 0.0)
                fallen = g * (new - drop[i, j, lane])
                missed[lane] += abs(fallen) if amps[i, j, lane] == 0.0 else 0.0
                amps[i, j, lane] -= fallen if amps[i, j, lane] != 0.0 else 0.0
                drop[i, j, lane] = new


@njit(fastmath=FAST)
def _solve_source_lines(  # type: ignore[no-untyped-def]
    amps, per_line, conductances, ohms, cell, share, last, rise, totals
):
    """Solve rise[k, j, l] with cell currents linearised about the old rise; `totals` is scratch for one line."""
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


@njit(fastmath=FAST)
def _collect(amps, per_line, block, bitline_amps, source_amps):  # type: ignore[no-untyped-def]
    """Sum cell currents along bitlines and along source lines."""
    lanes = amps.shape[2]
    bitline_amps[block] = 0.0
    source_amps[block] = 0.0
    for i in range(amps.shape[0]):
        for j in range(amps.shape[1]):
            for lane in range(lanes):
                bitline_amps[block, j, lane] += amps[i, j, lane]
                source_amps[block, i // per_line, lane] += amps[i, j, lane]


@njit()
def reach(bitline_volts, source_volts, drop, rise, per_line, block, bounds):  # type: ignore[no-untyped-def]
    """Set bounds[block] to the lowest and highest drain-source volts and source volts of all cells."""
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


@njit(nogil=True)
def relax(  # type: ignore[no-untyped-def]
    up, volts, source_volts, cells, per_line, bitline_conductances, bitline, source_conductances, source,
    free_bitlines, free_source_lines, floor, tolerance, most_sweeps, drop, rise, residual,
):  # fmt: skip
    """Relax one block of vectors from `drop` and `rise`, which are changed in place; return the cell currents.

    Lines that are not free keep their volts. `residual` `[lanes]` receives the difference between the cell currents and
    those that the lines were last solved with, relative to the total current or to `floor`, whichever is larger.
    """
    states, orders, coefficients, across_edges, source_edges = cells
    lanes, levels = drop.shape[2], coefficients.shape[1]
    amps, totals = np.zeros(drop.shape), np.empty(drop.shape)
    along = np.empty((len(source[1]), lanes))
    change, flowing, total, missed = np.empty(lanes), np.empty(lanes), np.empty(lanes), np.zeros(lanes)
    source_volts_here, across, s, d = np.empty(lanes), np.empty(lanes), np.empty(lanes), np.empty(lanes)
    row, value, here = np.empty(lanes), np.empty(lanes), np.empty(lanes)
    masks = np.empty((levels, lanes + 1))
    of_across, of_source = np.empty(lanes, dtype=np.int64), np.empty(lanes, dtype=np.int64)
    work = (source_volts_here, across, s, d, row, value, total, here, masks, of_across, of_source)
    for sweep in range(most_sweeps):
        _currents(
            up, states, per_line, orders, coefficients, across_edges, source_edges, volts, source_volts, drop, rise,
            amps, work, change, flowing,
        )  # fmt: skip
        if sweep:
            worst = 0.0
            for lane in range(lanes):
                residual[lane] = (change[lane] + missed[lane]) / max(flowing[lane], floor)
                worst = max(worst, residual[lane])
            if not worst > tolerance:
                break
        if free_bitlines:
            _solve_bitlines(amps, bitline_conductances, bitline[0], bitline[2], bitline[3], drop, totals, missed)
        if free_source_lines:
            _solve_source_lines(
                amps, per_line, source_conductances, source[0], source[1], source[2], source[3], rise, along
            )
    return amps


@njit(parallel=True)
def solve(  # type: ignore[no-untyped-def]
    gates, bitline_volts, source_volts, cells, per_line, bitline_conductances, bitline,
    source_conductances, source, floor, tolerance, most_sweeps, bitline_amps, source_amps, residual, bounds,
):  # fmt: skip
    """Solve blocks of vectors, one per thread.

    In: gates `[blocks, wordlines, lanes]`, bitline_volts `[blocks, bitlines, lanes]`, cells = (states,
    orders, coefficients, across_edges, source_edges), and the factored lines (ohms, cell, share, last).
    Out: bitline_amps `[blocks, bitlines, lanes]`, source_amps `[blocks, source lines, lanes]`, residual
    `[blocks, lanes]`, bounds `[blocks, 4]` as set by `reach`.
    """
    (wordlines, bitlines), lanes = cells[0].shape, gates.shape[2]
    for unsigned in prange(len(gates)):
        block = np.int64(unsigned)
        drop = np.zeros((wordlines, bitlines, lanes))
        rise = np.zeros((len(source_conductances), bitlines, lanes))
        amps = relax(
            gates[block], bitline_volts[block], source_volts, cells, per_line, bitline_conductances, bitline,
            source_conductances, source, True, True, floor, tolerance, most_sweeps, drop, rise, residual[block],
        )  # fmt: skip
        _collect(amps, per_line, block, bitline_amps, source_amps)
        reach(bitline_volts[block], source_volts, drop, rise, per_line, block, bounds)
