"""The inner loops of norsim.solver.nodal.rows_up, compiled by numba: sweeps over a block of reads.

A read has the currents of the cells of its own wordlines as unknowns, and the lanes of a vector are cells side by side
on a wordline, within one segment of a source line between two straps. In the arrays of a block of reads, cells stand in
the order of segments, source lines, reads and wordlines, so that a sweep passes through them once, in order.

Longer than 300 lines because numba caches compiled code by the file of the outermost function: it would not notice a
change of inner functions or constants in another file.
"""

from __future__ import annotations

import numpy as np

from norsim.array.compiled import inner, njit
from norsim.solver.simd import (
    add,
    divide,
    double_zero,
    higher,
    load,
    lower,
    magnitude,
    multiply,
    narrow_zero,
    spread,
    spread_at,
    store,
    subtract,
    total,
)

# The first digits of the SHA-256 of simd.py: a change there must change this file, at which numba's cache looks.
SIMD = "1d878d225fb691ce"
# Cells side by side are padded to a multiple of the lanes of float32; those of float64 divide it.
LANES, HALF = 16, 8
# The most reads of a block.
READS = 128

# As in norsim.solver.nodal.kernels, but that float32 rounds more where volts follow from sums of currents alone.
FAST = {"contract", "nsz", "arcp"}
HOT = {"fastmath": FAST, "error_model": "numpy", "_nrt": False, "forceinline": True}
ROUGH, STALLED = 2e-6, 0.5
SLOW, FAR = 10.0, 1e-3


@inner(**HOT)
def _four(like, cells, at, width, s):  # type: ignore[no-untyped-def]
    """Return the sum of four powers of s, whose coefficients stand `width` apart."""
    row = add(multiply(load(like, cells, at + 3 * width), s), load(like, cells, at + 2 * width))
    row = add(multiply(row, s), load(like, cells, at + width))
    return add(multiply(row, s), load(like, cells, at))


@inner(**HOT)
def _polynomial(like, cells, at, width, fours, d, s):  # type: ignore[no-untyped-def]
    """Return sum_pq c_pq d^p s^q by Horner's rule, with q below 4 fours[p]."""
    fourth, value = multiply(multiply(s, s), multiply(s, s)), like
    for p in range(len(fours) - 1, -1, -1):
        row = like
        for four in range(fours[p] - 1, -1, -1):
            row = add(multiply(row, fourth), _four(like, cells, at + 4 * four * width, width, s))
        at += 4 * fours[p] * width
        value = add(multiply(value, d), row)
    return value


@inner(**HOT)
def _sums(like, lanes, width, amps, at, cells, along):  # type: ignore[no-untyped-def]
    """Set `along` `[width]` to the sum of `cells` rows of amps `[cells, width]`."""
    for lane in range(0, width, lanes):
        value = load(like, amps, at + lane)
        for cell in range(1, cells):
            value = add(value, load(like, amps, at + cell * width + lane))
        store(value, along, lane)


@inner(**HOT)
def _rise(like, tile, segment, lane, along, near, far):  # type: ignore[no-untyped-def]
    """Return by how many volts a source line rises at the cells from `lane` of a segment, for the currents `along` into
    it and straps at `near` and `far` volts."""
    width, place = tile.width, segment * tile.width + lane
    volts = multiply(spread(like, near), load(like, tile.before, place))
    volts = add(volts, multiply(spread(like, far), load(like, tile.after, place)))
    other, cells, place = like, tile.cells[segment], segment * width * width + lane
    # Two sums, because one addition would wait for the other.
    for cell in range(0, cells - 1, 2):
        volts = add(volts, multiply(spread_at(like, along, cell), load(like, tile.along, place)))
        other = add(other, multiply(spread_at(like, along, cell + 1), load(like, tile.along, place + width)))
        place += 2 * width
    if cells % 2:
        volts = add(volts, multiply(spread_at(like, along, cells - 1), load(like, tile.along, place)))
    return add(volts, other)


@inner(**HOT)
def _read_line(  # type: ignore[no-untyped-def]
    like, lanes, tile, segment, read, rows, places, first, last, before_row, near, far, coefficients, along, dropped,
    remaining, fresh, amps, at, flowing, moved, bounds, watched,
):  # fmt: skip
    """Evaluate the cells `first` to `last` of a read, which are on one source line, in a segment, and return their
    currents into its straps, which are at `near` and `far` volts.

    `amps` `[cells, width]` from `at` holds their currents, from which volts follow, and receives the new ones.
    """
    width, place = tile.width, read * lanes
    into_near = into_far = like
    flow, change = load(like, flowing, place), load(like, moved, place)
    lowest, highest, bottom, top = (
        load(like, bounds, 0), load(like, bounds, lanes), load(like, bounds, 2 * lanes), load(like, bounds, 3 * lanes)
    )  # fmt: skip
    for lane in range(0, width, lanes):
        source = add(_rise(like, tile, segment, lane, along, near, far), spread(like, tile.source_volts))
        s = multiply(subtract(source, spread(like, tile.source_middle)), spread(like, tile.source_scale))
        high = subtract(load(like, tile.volts, segment * width + lane), source)
        place = read * width + lane
        drop, left, summed = load(like, dropped, place), load(like, remaining, place), load(like, fresh, place)
        before, after = load(like, tile.before, segment * width + lane), load(like, tile.after, segment * width + lane)
        row = before_row
        for cell in range(first, last):
            drop = add(drop, multiply(spread(like, tile.ohms[rows[cell] - row]), left))
            row = rows[cell]
            across = subtract(high, drop)
            d = multiply(subtract(across, spread(like, tile.across_middle)), spread(like, tile.across_scale))
            new = _polynomial(like, coefficients, places[cell] * tile.terms * width + lane, width, tile.fours, d, s)
            here = at + (cell - first) * width + lane
            old = load(like, amps, here)
            store(new, amps, here)
            left, summed = subtract(left, old), add(summed, new)
            flow, change = add(flow, magnitude(new)), add(change, magnitude(subtract(new, old)))
            into_near, into_far = add(into_near, multiply(before, new)), add(into_far, multiply(after, new))
            if watched:
                lowest, highest = lower(lowest, across), higher(highest, across)
        if watched:
            bottom, top = lower(bottom, source), higher(top, source)
        store(drop, dropped, place)
        store(left, remaining, place)
        store(summed, fresh, place)
    place = read * lanes
    store(flow, flowing, place)
    store(change, moved, place)
    store(lowest, bounds, 0)
    store(highest, bounds, lanes)
    store(bottom, bounds, 2 * lanes)
    store(top, bounds, 3 * lanes)
    return total(into_near), total(into_far)


@inner(**HOT)
def _factor_straps(like, lanes, tile, block, loads, shares):  # type: ignore[no-untyped-def]
    """Set the conductances `loads` of the cells of each read, and A of norsim.solver.strap_metal with them, both in
    the order of `_solve_straps`."""
    reads, line_starts, reads_of, cells_of, rows = block[0], block[2], block[3], block[4], block[5]
    lines, straps, one = len(line_starts) - 1, len(tile.between), spread(like, tile.one)
    loads[:] = 0.0
    for k in range(lines):
        for entry in range(line_starts[k], line_starts[k + 1]):
            read = reads_of[entry]
            at = (read // LANES * lines + k) * straps * LANES + read % LANES
            for cell in range(cells_of[entry], cells_of[entry + 1]):
                for q in range(straps):
                    loads[at + q * LANES] += tile.loads[rows[cell], q]
    for group in range((reads + LANES - 1) // LANES):
        for read in range(0, LANES, lanes):
            for q in range(straps):
                beyond = like
                for k in range(lines - 1, -1, -1):
                    at = ((group * lines + k) * straps + q) * LANES + read
                    beyond = add(beyond, add(spread(like, tile.between[q]), load(like, loads, at)))
                    share = like
                    if k == lines - 1 and tile.far:
                        if tile.ground_ohms == 0:
                            # The last node is at ground, so the one before it sees only the metal between them.
                            store(share, shares, at)
                            beyond = divide(one, spread(like, tile.metal_ohms))
                            continue
                        beyond = add(beyond, divide(one, spread(like, tile.ground_ohms)))
                    if k:
                        share = divide(one, add(one, multiply(spread(like, tile.metal_ohms), beyond)))
                        beyond = multiply(share, beyond)
                    elif tile.ground_ohms:
                        share = divide(one, add(beyond, divide(one, spread(like, tile.ground_ohms))))
                    store(share, shares, at)


@inner(**HOT)
def _solve_straps(like, lanes, tile, reads, ports, volts, modal, loads, shares, beyond, work):  # type: ignore[no-untyped-def]
    """Set the `volts` of strap nodes for the currents `ports` into them, both `[groups, source lines, straps, LANES]`,
    with cells linearised about the old volts: see norsim.solver.strap_metal. `modal` are the volts in coordinates in
    which straps of lines without cells are not coupled; that cells couple them is left to further sweeps."""
    straps = len(tile.between)
    lines = len(ports) // (straps * READS)
    for group in range((reads + LANES - 1) // LANES):
        for read in range(0, LANES, lanes):
            for k in range(lines - 1, -1, -1):
                at = (group * lines + k) * straps * LANES + read
                for q in range(straps):
                    here = at + q * LANES
                    value = multiply(load(like, loads, here), load(like, modal, here))
                    for s in range(straps):
                        value = add(value, multiply(spread(like, tile.modes[s, q]), load(like, ports, at + s * LANES)))
                    if k + 1 < lines:
                        behind = multiply(load(like, shares, here + straps * LANES), load(like, work, q * lanes))
                        value = add(value, behind)
                    store(value, work, q * lanes)
                    store(value, beyond, (k * straps + q) * lanes)
            for k in range(lines):
                at = (group * lines + k) * straps * LANES + read
                for q in range(straps):
                    here, value = at + q * LANES, load(like, beyond, (k * straps + q) * lanes)
                    if k:
                        value = add(load(like, work, q * lanes), multiply(spread(like, tile.metal_ohms), value))
                    value = multiply(load(like, shares, here), value)
                    store(value, work, q * lanes)
                    store(value, modal, here)
                for s in range(straps):
                    value = like
                    for q in range(straps):
                        value = add(value, multiply(spread(like, tile.modes[s, q]), load(like, work, q * lanes)))
                    store(value, volts, at + s * LANES)


@inner(**HOT)
def _fill(like, lanes, tile, block, amps):  # type: ignore[no-untyped-def]
    """Set `amps` to the currents of cells in the middle of their volts."""
    rows, width, segments = block[5], tile.width, len(tile.cells)
    for segment in range(segments):
        for cell in range(len(rows)):
            for lane in range(0, width, lanes):
                middle = load(like, tile.middle, (rows[cell] * segments + segment) * width + lane)
                store(middle, amps, (segment * len(rows) + cell) * width + lane)


@inner(**HOT)
def _sum_up(like, lanes, tile, block, amps, totals, ports):  # type: ignore[no-untyped-def]
    """Sum the currents of cells along bitlines, and into straps."""
    line_starts, reads_of, cells_of, cells = block[2], block[3], block[4], len(block[5])
    width, straps, lines = tile.width, len(tile.cells) + 1, len(line_starts) - 1
    totals[:], ports[:] = 0.0, 0.0
    for segment in range(len(tile.cells)):
        for k in range(lines):
            for entry in range(line_starts[k], line_starts[k + 1]):
                read, into_near, into_far = reads_of[entry], like, like
                for lane in range(0, width, lanes):
                    before = load(like, tile.before, segment * width + lane)
                    after = load(like, tile.after, segment * width + lane)
                    place = (segment * READS + read) * width + lane
                    summed = load(like, totals, place)
                    for cell in range(cells_of[entry], cells_of[entry + 1]):
                        here = load(like, amps, (segment * cells + cell) * width + lane)
                        summed = add(summed, here)
                        into_near, into_far = (
                            add(into_near, multiply(before, here)),
                            add(into_far, multiply(after, here)),
                        )
                    store(summed, totals, place)
                node = ((read // LANES * lines + k) * straps + segment) * LANES + read % LANES
                ports[node] += total(into_near)
                ports[node + LANES] += total(into_far)


@inner(**HOT)
def _cells_of(tile, k, used, segment, coefficients):  # type: ignore[no-untyped-def]
    """Set `coefficients` `[rows of a source line, terms, width]` for the cells of a source line in a segment."""
    # Indices are unsigned where numba would otherwise check for negative ones.
    width, terms = np.uint64(tile.width), np.uint64(tile.terms)
    for row in range(k * tile.per_line, min((k + 1) * tile.per_line, len(used))):
        if used[row]:
            start = np.uint64(row - k * tile.per_line) * terms * width
            for lane in range(width):
                at, to = (
                    np.uint64(tile.states[row, segment * tile.width + np.int64(lane)]) * terms,
                    start + np.uint64(lane),
                )
                for term in range(terms):
                    coefficients[to] = tile.coefficients[at + np.uint64(term)]
                    to += width


@inner(**HOT)
def _sweep(like, lanes, tile, block, state, factors, scratch, watched):  # type: ignore[no-untyped-def]
    """Evaluate all cells of a block once, at the volts that follow from their currents."""
    reads, used, line_starts, reads_of, cells_of, rows, places = block
    totals, amps, strap_volts, modal, ports, flowing, moved, bounds = state
    coefficients, along, dropped, remaining, fresh, last_row, beyond, work = scratch
    width, straps = tile.width, len(tile.cells) + 1
    flowing[:], moved[:], ports[:] = 0.0, 0.0, 0.0
    for segment in range(len(tile.cells)):
        of_segment = segment * READS * width
        for read in range(reads):
            last_row[read] = 0
            for lane in range(read * width, (read + 1) * width, lanes):
                value = load(like, totals, of_segment + lane)
                store(value, remaining, lane)
                store(multiply(spread(like, tile.end_ohms), value), dropped, lane)
                store(like, fresh, lane)
        for k in range(len(line_starts) - 1):
            if line_starts[k] == line_starts[k + 1]:
                continue
            _cells_of(tile, k, used, segment, coefficients)
            for entry in range(line_starts[k], line_starts[k + 1]):
                read, first, last = reads_of[entry], cells_of[entry], cells_of[entry + 1]
                at = (segment * len(rows) + first) * width
                node = ((read // LANES * (len(line_starts) - 1) + k) * straps + segment) * LANES + read % LANES
                _sums(like, lanes, width, amps, at, last - first, along)
                into_near, into_far = _read_line(
                    like, lanes, tile, segment, read, rows, places, first, last, last_row[read], strap_volts[node],
                    strap_volts[node + LANES], coefficients, along, dropped, remaining, fresh, amps, at, flowing,
                    moved, bounds, watched,
                )  # fmt: skip
                last_row[read] = rows[last - 1]
                ports[node] += into_near
                ports[node + LANES] += into_far
        for lane in range(0, reads * width, lanes):
            store(load(like, fresh, lane), totals, of_segment + lane)
    if tile.metal:
        _solve_straps(like, lanes, tile, reads, ports, strap_volts, modal, factors[0], factors[1], beyond, work)


@inner(**HOT)
def _start(like, lanes, tile, block, state, factors, scratch):  # type: ignore[no-untyped-def]
    """Set all that a sweep starts from but the currents of cells."""
    totals, amps, strap_volts, modal, ports = state[0], state[1], state[2], state[3], state[4]
    _sum_up(like, lanes, tile, block, amps, totals, ports)
    if tile.metal:
        _solve_straps(
            like, lanes, tile, block[0], ports, strap_volts, modal, factors[0], factors[1], scratch[6], scratch[7]
        )  # fmt: skip


@inner()
def _settle(  # type: ignore[no-untyped-def]
    like, lanes, tile, block, state, factors, scratch, floor, tolerance, stalled, most_sweeps, residual, pace, watched
):  # fmt: skip
    """Sweep until `residual` `[READS]`, the change of currents over the total current or `floor`, is at most
    `tolerance`, or more than `stalled` times that of the sweep before; return the number of sweeps. `pace` `[1]` is the
    share of a change that the next sweep leaves, as known before, and then as found."""
    flowing, moved = state[5], state[6]
    before = np.inf
    for sweep in range(most_sweeps):
        _sweep(like, lanes, tile, block, state, factors, scratch, watched)
        worst = 0.0
        for read in range(block[0]):
            flow = change = 0.0
            for lane in range(read * lanes, (read + 1) * lanes):
                flow += flowing[lane]
                change += moved[lane]
            residual[read] = change / max(flow, floor)
            worst = max(worst, residual[read])
        if sweep and worst < min(stalled, 1.0) * before:
            pace[0] = worst / before
        left = worst * max(SLOW * pace[0] / (1 - pace[0]), 1.0)
        if not (left > tolerance and worst < stalled * before):
            return sweep + 1
        before = worst
    return most_sweeps


@inner()
def _block(up, start, stop, per_line):  # type: ignore[no-untyped-def]
    """Return the reads of a block, which wordlines are up in any of them, and its cells in order: entries are reads
    that have wordlines up on a source line, first of line 0; `line_starts` `[source lines + 1]` are the first entries
    of lines, `reads_of` and `cells_of` the read and the first wordline of each, in `rows`."""
    reads, wordlines = stop - start, up.shape[1]
    lines = (wordlines + per_line - 1) // per_line
    used = np.zeros(wordlines, np.bool_)
    cells = 0
    for read in range(start, start + reads):
        for row in range(wordlines):
            if up[read, row]:
                used[row] = True
                cells += 1
    line_starts, rows, places = np.zeros(lines + 1, np.int64), np.empty(cells, np.int64), np.empty(cells, np.int64)
    reads_of, cells_of = np.empty(cells, np.int64), np.zeros(cells + 1, np.int64)
    entry = cell = 0
    for k in range(lines):
        for read in range(reads):
            before = cell
            for row in range(k * per_line, min((k + 1) * per_line, wordlines)):
                if up[start + read, row]:
                    rows[cell], places[cell] = row, row - k * per_line
                    cell += 1
            if cell > before:
                reads_of[entry] = read
                entry += 1
                cells_of[entry] = cell
        line_starts[k + 1] = entry
    return reads, used, line_starts, reads_of, cells_of, rows, places


@inner()
def _arrays(tile, lanes, lines, cells, kind):  # type: ignore[no-untyped-def]
    """Return the state of a block of up to `cells` cells, factors of its straps, and scratch, as `_sweep` takes
    them."""
    segments, width = len(tile.cells), tile.width
    lot, nodes = READS * width, lines * (segments + 1) * READS
    state = (
        np.zeros(segments * lot, kind), np.zeros(segments * cells * width, kind), np.zeros(nodes, kind),
        np.zeros(nodes, kind), np.zeros(nodes, kind), np.zeros(READS * lanes, kind), np.zeros(READS * lanes, kind),
        np.zeros(4 * lanes, kind),
    )  # fmt: skip
    factors = np.zeros(nodes, kind), np.zeros(nodes, kind)
    scratch = (
        np.zeros(tile.per_line * tile.terms * width, kind), np.zeros(width, kind), np.zeros(lot, kind),
        np.zeros(lot, kind), np.zeros(lot, kind), np.zeros(READS, np.int64),
        np.zeros(nodes // READS * lanes, kind), np.zeros((segments + 1) * lanes, kind),
    )  # fmt: skip
    return state, factors, scratch


@njit(nogil=True)
def solve(  # type: ignore[no-untyped-def]
    start, step, up, starts, most_cells, single, double, floor, tolerance, most_sweeps, bitline_amps, residual, extremes
):  # fmt: skip
    """Solve every `step`th block of up to READS reads from `start`.

    In: up `[reads, wordlines]`, starts `[blocks + 1]`, the first reads of blocks, which have at most `most_cells` cells
    each, the tile in both precisions. Out: bitline_amps `[reads, places]`, residual `[blocks, READS]`, extremes
    `[blocks, 4, HALF]`, the lowest and highest drain-source volts and source volts of cells.
    """
    sixteen, eight, change, pace = narrow_zero(), double_zero(), np.empty(READS), np.empty(1)
    lines = (up.shape[1] + double.per_line - 1) // double.per_line
    rough, rough_factors, rough_scratch = _arrays(single, LANES, lines, most_cells, np.float32)
    fine, fine_factors, fine_scratch = _arrays(double, HALF, lines, most_cells, np.float64)
    width, count = double.width, len(double.cells)
    for place in range(start, len(starts) - 1, step):
        block = _block(up, starts[place], starts[place + 1], double.per_line)
        used = count * len(block[5]) * width
        _fill(sixteen, LANES, single, block, rough[1])
        rough[2][:], rough[3][:], pace[0] = 0.0, 0.0, 0.0
        if double.metal:
            _factor_straps(sixteen, LANES, single, block, rough_factors[0], rough_factors[1])
            _factor_straps(eight, HALF, double, block, fine_factors[0], fine_factors[1])
        _start(sixteen, LANES, single, block, rough, rough_factors, rough_scratch)
        sweeps = _settle(
            sixteen, LANES, single, block, rough, rough_factors, rough_scratch, floor, ROUGH, STALLED, most_sweeps - 1,
            change, pace, False,
        )  # fmt: skip
        near = True
        for read in range(block[0]):
            near &= change[read] < FAR
        if near:
            fine[1][:used], fine[3][:] = rough[1][:used], rough[3]
        else:
            _fill(eight, HALF, double, block, fine[1])
            fine[3][:] = 0.0
        _start(eight, HALF, double, block, fine, fine_factors, fine_scratch)
        for lane in range(HALF):
            fine[7][lane] = fine[7][2 * HALF + lane] = np.inf
            fine[7][HALF + lane] = fine[7][3 * HALF + lane] = -np.inf
        _settle(
            eight, HALF, double, block, fine, fine_factors, fine_scratch, floor, tolerance, np.inf,
            most_sweeps - sweeps, residual[place], pace, True,
        )  # fmt: skip
        extremes[place] = fine[7].reshape(4, HALF)
        for segment in range(count):
            for read in range(block[0]):
                for lane in range(width):
                    here = (segment * READS + read) * width + lane
                    bitline_amps[starts[place] + read, segment * width + lane] = fine[0][here]
