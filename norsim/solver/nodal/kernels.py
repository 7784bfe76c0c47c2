"""The inner loops of `nodal`, compiled by numba: sweeps over a block of reads, one read per lane of a vector.

The same functions compute in float32 and in float64, by the type of `like`, a vector of zeros. A block starts with
sweeps in float32, which bring volts to about 1e-7 of the drop, and ends with sweeps in float64. All arrays are
contiguous, with the lanes of a block innermost; a thread reuses its own. Bitlines are taken CHUNK at a time, so that
what their solution needs stays in the cache.

Longer than 300 lines because numba caches compiled code by the file of the outermost function: it would not notice a
change of inner functions or constants in another file.
"""

from __future__ import annotations

import numpy as np

from norsim.array.compiled import inner, njit
from norsim.solver.simd import (
    add,
    double_zero,
    higher,
    inside,
    load,
    lower,
    magnitude,
    multiply,
    narrow_zero,
    some,
    spread,
    spread_at,
    store,
    subtract,
)

# The first digits of the SHA-256 of simd.py: a change there must change this file, at which numba's cache looks.
SIMD = "1d878d225fb691ce"
# Reads of a block: lanes of float32, and of float64, which takes a block in two halves.
LANES, HALF = 16, 8
CHUNK = 16

# Allow fused multiply-add, and division by a constant as multiplication by its reciprocal.
FAST = {"contract", "nsz", "arcp"}
# For inner functions: no counting of references to arrays, which takes longer than the arithmetic; divisions unchecked.
HOT = {"fastmath": FAST, "error_model": "numpy", "_nrt": False, "forceinline": True}

# Sweeps in float32 end when the currents change by less than this share in a sweep, or by more than STALLED of their
# change in the sweep before: then what is left is rounding.
ROUGH, STALLED = 1e-6, 0.5
# The changes of all further sweeps add up to the last one times q / (1 - q), where q is its share of the one before;
# this times SLOW must be within the tolerance too.
SLOW = 10.0
# A block that float32 leaves with a larger change starts again from no drop: polynomials of high degree can be all
# rounding in float32, and take volts out of the box.
FAR = 1e-3
# The rise of straps that sweeps settle last is extrapolated, as if a sweep left at most this share of its error.
MOST_LEFT = 0.7


@inner(**HOT)
def _polynomial(like, coefficients, place, powers, fours, width, d, s):  # type: ignore[no-untyped-def]
    """Return sum_pq coefficients[place + p width + q] d^p s^q by Horner's rule, with p below `powers` and q below 4
    `fours`, or only q = 0 if `fours` is 0."""
    value = like
    if fours == 1:
        for p in range(powers - 1, -1, -1):
            value = add(multiply(value, d), _four(like, coefficients, place + p * width, s))
    elif fours == 0:
        for p in range(powers - 1, -1, -1):
            value = add(multiply(value, d), spread_at(like, coefficients, place + p * width))
    else:
        fourth = multiply(multiply(s, s), multiply(s, s))
        for p in range(powers - 1, -1, -1):
            row = like
            for four in range(fours - 1, -1, -1):
                row = add(multiply(row, fourth), _four(like, coefficients, place + p * width + 4 * four, s))
            value = add(multiply(value, d), row)
    return value


@inner(**HOT)
def _four(like, coefficients, at, s):  # type: ignore[no-untyped-def]
    """Return the sum of four powers of s."""
    row = add(multiply(spread_at(like, coefficients, at + 3), s), spread_at(like, coefficients, at + 2))
    row = add(multiply(row, s), spread_at(like, coefficients, at + 1))
    return add(multiply(row, s), spread_at(like, coefficients, at))


@inner(**HOT)
def _cell(like, coefficients, orders, sizes, piece, row, state, d, s, masks, present):  # type: ignore[no-untyped-def]
    """Return the currents of cells in a piece of the box, each at its lane's gate level."""
    levels, states, powers, width, lanes = sizes
    total = like
    for gate in range(levels):
        if present[row * levels + gate]:
            place = ((piece * levels + gate) * states + state) * powers * width
            amps = _polynomial(like, coefficients, place, orders[gate, 0], orders[gate, 1], width, d, s)
            total = add(total, multiply(load(like, masks, (row * levels + gate) * lanes), amps))
    return total


@inner(**HOT)
def _scaled(like, volts, pieces, piece):  # type: ignore[no-untyped-def]
    """Map volts to [-1, 1] over a piece."""
    return multiply(subtract(volts, spread_at(like, pieces, piece * 4 + 2)), spread_at(like, pieces, piece * 4 + 3))


@inner(**HOT)
def _currents(  # type: ignore[no-untyped-def]
    like, first, last, coefficients, orders, sizes, across_pieces, source_pieces, states, per_line, volts, source_volts,
    drop, rise, amps, masks, present, flowing, bounds, watched,
):  # fmt: skip
    """Set the cell currents of bitlines from `first` to `last` at bitline volts minus `drop` and source volts plus
    `rise`, and add their magnitudes to `flowing`. If `watched`, `bounds` are extended to the volts of cells."""
    wordlines, bitlines = states.shape
    lanes, one_piece = sizes[4], len(across_pieces) == 1 and len(source_pieces) == 1
    ground, flow = spread(like, source_volts), load(like, flowing, 0)
    lowest, highest, bottom, top = (
        load(like, bounds, 0), load(like, bounds, lanes), load(like, bounds, 2 * lanes), load(like, bounds, 3 * lanes)
    )  # fmt: skip
    for row in range(wordlines - 1, -1, -1):
        line = row // per_line * bitlines
        for j in range(first, last):
            at = (row * bitlines + j) * lanes
            source = add(ground, load(like, rise, (line + j) * lanes))
            across = subtract(subtract(load(like, volts, j * lanes), load(like, drop, at)), source)
            state = states[row, j]
            if one_piece:
                d, s = _scaled(like, across, across_pieces, 0), _scaled(like, source, source_pieces, 0)
                total = _cell(like, coefficients, orders, sizes, 0, row, state, d, s, masks, present)
            else:
                total = like
                for a in range(len(across_pieces)):
                    here = inside(across, across_pieces[a, 0], across_pieces[a, 1])
                    if not some(here):
                        continue
                    d = _scaled(like, across, across_pieces, a)
                    for b in range(len(source_pieces)):
                        both = multiply(here, inside(source, source_pieces[b, 0], source_pieces[b, 1]))
                        if some(both):
                            s, piece = _scaled(like, source, source_pieces, b), a * len(source_pieces) + b
                            value = _cell(like, coefficients, orders, sizes, piece, row, state, d, s, masks, present)
                            total = add(total, multiply(both, value))
            store(total, amps, at)
            flow = add(flow, magnitude(total))
            if watched:
                lowest, highest = lower(lowest, across), higher(highest, across)
                bottom, top = lower(bottom, source), higher(top, source)
    store(flow, flowing, 0)
    store(lowest, bounds, 0)
    store(highest, bounds, lanes)
    store(bottom, bounds, 2 * lanes)
    store(top, bounds, 3 * lanes)


@njit(**HOT)
def solve_bitlines(  # type: ignore[no-untyped-def]
    like, first, last, conductances, ohms, lost, ends, drop, amps, totals, lanes, up, moved
):  # fmt: skip
    """Solve the drops of bitlines from `first` to `last`, with cells linearised about the old ones.

    The currents of cells whose wordline is `up` follow their slope; `moved` receives what currents change by if all
    cells have the slope that the lines were factored for. `totals` `[wordlines, CHUNK, lanes]` is scratch.
    """
    wordlines, bitlines = conductances.shape
    for row in range(wordlines - 1, -1, -1):
        for j in range(first, last):
            at, here = (row * bitlines + j) * lanes, (row * CHUNK + j - first) * lanes
            total = add(load(like, amps, at), multiply(spread(like, conductances[row, j]), load(like, drop, at)))
            if row + 1 < wordlines:
                beyond = load(like, totals, here + CHUNK * lanes)
                total = add(total, subtract(beyond, multiply(spread(like, lost[row + 1, j]), beyond)))
            store(total, totals, here)
    change = load(like, moved, 0)
    for row in range(wordlines):
        follow = load(like, up, row * lanes)
        for j in range(first, last):
            at = (row * bitlines + j) * lanes
            total = load(like, totals, (row * CHUNK + j - first) * lanes)
            if row:
                share = lost[row, j]
                near = load(like, drop, at - bitlines * lanes)
                new = subtract(near, multiply(spread(like, share), near))
                new = add(new, multiply(spread(like, ohms - ohms * share), total))
            else:
                new = multiply(spread(like, ends[j]), total)
            fallen = multiply(spread(like, conductances[row, j]), subtract(new, load(like, drop, at)))
            change = add(change, magnitude(fallen))
            store(subtract(load(like, amps, at), multiply(follow, fallen)), amps, at)
            store(new, drop, at)
    store(change, moved, 0)


@njit(**HOT)
def _by_matrix(like, matrix, k, values, place, result, at, lanes):  # type: ignore[no-untyped-def]
    """Store matrix[k] times the `[straps, lanes]` values from `place` in `result` from `at`."""
    straps = matrix.shape[1]
    for row in range(straps):
        total = like
        for column in range(straps):
            total = add(
                total, multiply(spread(like, matrix[k, row, column]), load(like, values, place + column * lanes))
            )
        store(total, result, at + row * lanes)


@njit(**HOT)
def _along(like, slowest, ports, lanes):  # type: ignore[no-untyped-def]
    """Return the size of the rise `slowest` in `ports`."""
    total, straps = like, slowest.shape[1]
    for k in range(len(slowest)):
        for s in range(straps):
            total = add(total, multiply(spread(like, slowest[k, s]), load(like, ports, (k * straps + s) * lanes)))
    return total


@njit(**HOT)
def solve_straps(  # type: ignore[no-untyped-def]
    like, per_line, wordlines, conductances, strap, before, after, contacts, shares, first, ohms, contact_ohms, slowest,
    beyond_solved, rise, amps, ports, beyond, metal, lanes,
):  # fmt: skip
    """Set `ports` `[source lines, straps, lanes]` to the volts of strap nodes, with cells linearised about the old
    rises: see norsim.solver.strap_metal. The change of the rise `slowest` is extrapolated by its share `beyond_solved`
    `[lanes]`. `beyond`, of the same shape as `ports`, and `metal` `[2, straps, lanes]` are scratch."""
    (lines, bitlines), straps = conductances.shape, first.shape[1]
    each = straps * lanes
    before_it = _along(like, slowest, ports, lanes)
    ports[:] = 0.0
    for k in range(lines - 1, -1, -1):
        for j in range(bitlines):
            here = multiply(spread(like, conductances[k, j]), load(like, rise, (k * bitlines + j) * lanes))
            for row in range(k * per_line, min((k + 1) * per_line, wordlines)):
                here = add(here, load(like, amps, (row * bitlines + j) * lanes))
            place = k * each + strap[j] * lanes
            store(add(load(like, ports, place), multiply(spread(like, before[k, j]), here)), ports, place)
            place += lanes
            store(add(load(like, ports, place), multiply(spread(like, after[k, j]), here)), ports, place)
        _by_matrix(like, contacts, k, ports, k * each, beyond, k * each, lanes)
        if k + 1 < lines:
            _by_matrix(like, shares, k + 1, beyond, (k + 1) * each, metal, 0, lanes)
            for s in range(straps):
                place = k * each + s * lanes
                store(add(load(like, beyond, place), load(like, metal, s * lanes)), beyond, place)
    for k in range(lines):
        for s in range(straps):
            place = k * each + s * lanes
            if k:
                near = multiply(spread(like, ohms), load(like, beyond, place))
                store(add(load(like, metal, s * lanes), near), metal, each + s * lanes)
            else:
                store(load(like, beyond, place), metal, each + s * lanes)
        _by_matrix(like, shares if k else first, k, metal, each, metal, 0, lanes)
        for s in range(straps):
            drop = multiply(spread(like, contact_ohms), load(like, ports, k * each + s * lanes))
            store(add(load(like, metal, s * lanes), drop), metal, each + s * lanes)
        _by_matrix(like, contacts, k, metal, each, ports, k * each, lanes)
    more = multiply(subtract(_along(like, slowest, ports, lanes), before_it), load(like, beyond_solved, 0))
    for k in range(lines):
        for s in range(straps):
            place = k * each + s * lanes
            store(add(load(like, ports, place), multiply(spread(like, slowest[k, s]), more)), ports, place)


@njit(**HOT)
def solve_source_lines(  # type: ignore[no-untyped-def]
    like, per_line, wordlines, conductances, ohms, lost, ends, cell, slopes, strap, before, after, ports, straps, rise,
    amps, along, lanes, up, moved,
):  # fmt: skip
    """Solve the rises of source lines, with cells linearised about the old ones. The currents of cells whose wordline
    is `up` follow their `slopes` `[wordlines, bitlines]`; `along` is scratch for one line. `ports` has the volts of
    strap nodes; without metal, `straps` is 0."""
    (lines, bitlines), nodes = conductances.shape, len(cell)
    change = load(like, moved, 0)
    for k in range(lines):
        total = like
        for m in range(nodes - 1, -1, -1):
            if m + 1 < nodes:
                total = subtract(total, multiply(spread(like, lost[k, m + 1]), total))
            j = cell[m]
            if j >= 0:
                here = multiply(spread(like, conductances[k, j]), load(like, rise, (k * bitlines + j) * lanes))
                for row in range(k * per_line, min((k + 1) * per_line, wordlines)):
                    here = add(here, load(like, amps, (row * bitlines + j) * lanes))
                total = add(total, here)
            store(total, along, m * lanes)
        volts = multiply(spread(like, ends[k]), total)
        for m in range(nodes):
            if m:
                share = lost[k, m]
                volts = subtract(volts, multiply(spread(like, share), volts))
                volts = add(volts, multiply(spread(like, ohms - ohms * share), load(like, along, m * lanes)))
            j = cell[m]
            if j >= 0:
                at, new = (k * bitlines + j) * lanes, volts
                if straps:
                    place = (k * straps + strap[j]) * lanes
                    new = add(new, multiply(spread(like, before[k, j]), load(like, ports, place)))
                    new = add(new, multiply(spread(like, after[k, j]), load(like, ports, place + lanes)))
                lifted = subtract(new, load(like, rise, at))
                change = add(change, magnitude(multiply(spread(like, conductances[k, j]), lifted)))
                store(new, rise, at)
                for row in range(k * per_line, min((k + 1) * per_line, wordlines)):
                    place = (row * bitlines + j) * lanes
                    follow = multiply(spread(like, slopes[row, j]), load(like, up, row * lanes))
                    store(subtract(load(like, amps, place), multiply(follow, lifted)), amps, place)
    store(change, moved, 0)


@inner()
def _sweep(like, tile, block, free_bitlines, free_source_lines, free_straps, watched):  # type: ignore[no-untyped-def]
    """Evaluate all cells, then solve the lines that are free."""
    (
        volts,
        source_volts,
        drop,
        rise,
        amps,
        masks,
        present,
        up,
        totals,
        along,
        flowing,
        moved,
        bounds,
        ports,
        beyond,
        metal,
        beyond_solved,
    ) = block
    (wordlines, bitlines), lanes = tile.states.shape, tile.sizes[4]
    flowing[:], moved[:] = 0.0, 0.0
    for first in range(0, bitlines, CHUNK):
        last = min(first + CHUNK, bitlines)
        _currents(
            like, first, last, tile.coefficients, tile.orders, tile.sizes, tile.across_pieces, tile.source_pieces,
            tile.states, tile.per_line, volts, source_volts, drop, rise, amps, masks, present, flowing, bounds, watched,
        )  # fmt: skip
        if free_bitlines:
            solve_bitlines(
                like, first, last, tile.conductances, tile.ohms, tile.lost, tile.ends, drop, amps, totals, lanes, up,
                moved,
            )  # fmt: skip
    if free_source_lines:
        straps = tile.first.shape[1]
        if straps and free_straps:
            solve_straps(
                like, tile.per_line, wordlines, tile.source_conductances, tile.strap, tile.before, tile.after,
                tile.contacts, tile.shares, tile.first, tile.metal_ohms, tile.contact_ohms, tile.slowest, beyond_solved,
                rise, amps, ports, beyond, metal, lanes,
            )  # fmt: skip
        solve_source_lines(
            like, tile.per_line, wordlines, tile.source_conductances, tile.source_ohms, tile.source_lost,
            tile.source_ends, tile.cell, tile.cell_slopes, tile.strap, tile.before, tile.after, ports, straps, rise,
            amps, along, lanes, up, moved,
        )  # fmt: skip


@inner()
def _extrapolation(left, up, beyond_solved):  # type: ignore[no-untyped-def]
    """Set `beyond_solved` `[lanes]`: a sweep leaves a share q of an error in the slowest rise, those of the wordlines
    that are not `up`, so the rest of the change is q / (1 - q) of it."""
    lanes = len(beyond_solved)
    beyond_solved[:] = 0.0
    for row in range(len(left)):
        for lane in range(lanes):
            beyond_solved[lane] += left[row] * (1 - up[row * lanes + lane])
    for lane in range(lanes):
        share = min(beyond_solved[lane], MOST_LEFT)
        beyond_solved[lane] = share / (1 - share)


@inner()
def _settle(  # type: ignore[no-untyped-def]
    like, tile, block, free_bitlines, free_source_lines, free_straps, floor, tolerance, stalled, most_sweeps, residual,
    pace, watched,
):  # fmt: skip
    """Sweep until `residual` `[lanes]`, the change of currents over the total current or `floor`, is at most
    `tolerance`, or more than `stalled` times that of the sweep before; return the number of sweeps. `pace` `[1]` is the
    share of a change that the next sweep leaves, as known before, and then as found."""
    flowing, moved = block[10], block[11]
    _extrapolation(tile.left, block[7], block[16])
    before = np.inf
    for sweep in range(most_sweeps):
        _sweep(like, tile, block, free_bitlines, free_source_lines, free_straps, watched)
        worst = 0.0
        for lane in range(len(residual)):
            residual[lane] = moved[lane] / max(flowing[lane], floor)
            worst = max(worst, residual[lane])
        if sweep and worst < min(stalled, 1.0) * before:
            pace[0] = worst / before
        left = worst * max(SLOW * pace[0] / (1 - pace[0]), 1.0)
        if not (left > tolerance and worst < stalled * before):
            return sweep + 1
        before = worst
    return most_sweeps


@inner()
def _gates(gates, first, lanes, orders, conducting, masks, present, up):  # type: ignore[no-untyped-def]
    """Set `masks` `[wordlines, levels, lanes]` to 1 at the gate level of each lane, `present` `[wordlines, levels]` to
    whether any lane has a level at which current flows, and `up` `[wordlines, lanes]` to 1 where a cell conducts."""
    levels = len(orders)
    for row in range(len(gates)):
        for lane in range(lanes):
            up[row * lanes + lane] = 1.0 if conducting[gates[row, first + lane]] else 0.0
        for gate in range(levels):
            found = False
            for lane in range(lanes):
                here = gates[row, first + lane] == gate
                masks[(row * levels + gate) * lanes + lane] = 1.0 if here else 0.0
                found |= here
            present[row * levels + gate] = found and orders[gate, 0] > 0


@inner()
def _scratch(tile, source_volts):  # type: ignore[no-untyped-def]
    """Return arrays for one block at a time, in the precision of the tile, as `_sweep` takes them."""
    (levels, _, _, _, lanes), kind = tile.sizes, tile.coefficients.dtype
    (wordlines, bitlines), straps = tile.states.shape, tile.contacts.shape[0] * tile.contacts.shape[1]
    return (
        np.zeros(bitlines * lanes, kind), source_volts, np.zeros(wordlines * bitlines * lanes, kind),
        np.zeros(tile.source_conductances.size * lanes, kind), np.zeros(wordlines * bitlines * lanes, kind),
        np.zeros(wordlines * levels * lanes, kind), np.zeros(wordlines * levels, np.bool_),
        np.zeros(wordlines * lanes, kind), np.zeros(wordlines * CHUNK * lanes, kind),
        np.zeros(len(tile.cell) * lanes, kind), np.zeros(lanes, kind), np.zeros(lanes, kind), np.zeros(4 * lanes, kind),
        np.zeros(straps * lanes, kind), np.zeros(straps * lanes, kind),
        np.zeros(2 * tile.contacts.shape[1] * lanes, kind), np.zeros(lanes, kind),
    )  # fmt: skip


@inner(**HOT)
def _collect(like, states, per_line, amps, bitline_amps, source_amps):  # type: ignore[no-untyped-def]
    """Sum cell currents along bitlines and along source lines, to `[lines, HALF]`."""
    wordlines, bitlines = states.shape
    bitline_amps[:] = 0.0
    source_amps[:] = 0.0
    for row in range(wordlines):
        along, line = load(like, source_amps, row // per_line * HALF), row // per_line
        for j in range(bitlines):
            here = load(like, amps, (row * bitlines + j) * HALF)
            store(add(load(like, bitline_amps, j * HALF), here), bitline_amps, j * HALF)
            along = add(along, here)
        store(along, source_amps, line * HALF)


@inner(**HOT)
def _half(like, values, first, result):  # type: ignore[no-untyped-def]
    """Copy the HALF lanes from `first` of a block of LANES."""
    for place in range(result.size // HALF):
        store(load(like, values, place * LANES + first), result, place * HALF)


@njit(nogil=True)
def solve(  # type: ignore[no-untyped-def]
    start, step, gates, bitline_volts, source_volts, single, double, conducting, floor, tolerance, most_sweeps,
    bitline_amps, source_amps, residual, bounds,
):  # fmt: skip
    """Solve every `step`th block of LANES reads from `start`.

    In: gates `[blocks, wordlines, LANES]`, bitline_volts `[blocks, bitlines, LANES]`, the tile in both precisions,
    `conducting` `[levels]`. Out: bitline_amps `[blocks, 2, bitlines, HALF]`, source_amps `[blocks, 2, source lines,
    HALF]`, residual `[blocks, 2, HALF]`; bounds `[blocks, 2, 4, HALF]`, the lowest and highest drain-source volts and
    source volts of cells, are extended.
    """
    rough, fine = _scratch(single, np.float32(source_volts)), _scratch(double, source_volts)
    sixteen, eight, change, pace = narrow_zero(), double_zero(), np.empty(LANES), np.empty(1)
    states, per_line = double.states, double.per_line
    for block in range(start, len(gates), step):
        rough[0][:] = bitline_volts[block].ravel()
        rough[2][:], rough[3][:], rough[13][:] = 0.0, 0.0, 0.0
        _gates(gates[block], 0, LANES, single.orders, conducting, rough[5], rough[6], rough[7])
        pace[0] = 0.0
        sweeps = _settle(
            sixteen, single, rough, True, True, True, floor, ROUGH, STALLED, most_sweeps - 1, change, pace, False
        )  # fmt: skip
        near, paced = True, pace[0]
        for lane in range(LANES):
            near &= change[lane] < FAR
        if not near:
            rough[2][:], rough[3][:], rough[13][:] = 0.0, 0.0, 0.0
        for half in range(2):
            first = half * HALF
            _half(eight, bitline_volts[block], first, fine[0])
            _half(eight, rough[2], first, fine[2])
            _half(eight, rough[3], first, fine[3])
            _half(eight, rough[13], first, fine[13])
            _gates(gates[block], first, HALF, double.orders, conducting, fine[5], fine[6], fine[7])
            fine[12][:], pace[0] = bounds[block, half].ravel(), paced
            _settle(
                eight, double, fine, True, True, True, floor, tolerance, np.inf, most_sweeps - sweeps,
                residual[block, half], pace, True,
            )  # fmt: skip
            bounds[block, half] = fine[12].reshape(4, HALF)
            _collect(eight, states, per_line, fine[4], bitline_amps[block, half], source_amps[block, half])


@njit(nogil=True)
def relax(  # type: ignore[no-untyped-def]
    gates, volts, source_volts, tile, conducting, free_bitlines, free_source_lines, free_straps, floor, tolerance,
    most_sweeps, drop, rise, straps, amps, residual,
):  # fmt: skip
    """Solve blocks of HALF reads from `drop`, `rise` and `straps`, which are changed in place; what is not free keeps
    its volts. `amps` receives the currents of cells at these volts. Arrays are `[blocks, ..., HALF]`."""
    eight, work = double_zero(), _scratch(tile, source_volts)
    free = free_bitlines or free_source_lines
    for block in range(len(gates)):
        work[0][:], work[2][:], work[3][:] = volts[block].ravel(), drop[block].ravel(), rise[block].ravel()
        _gates(gates[block], 0, HALF, tile.orders, conducting, work[5], work[6], work[7])
        work[13][:] = straps[block].ravel()
        if free:
            _settle(
                eight, tile, work, free_bitlines, free_source_lines, free_straps, floor, tolerance, np.inf,
                most_sweeps, residual[block], np.zeros(1), False,
            )  # fmt: skip
        _sweep(eight, tile, work, False, False, False, False)
        drop[block], rise[block] = work[2].reshape(drop[block].shape), work[3].reshape(rise[block].shape)
        straps[block] = work[13].reshape(straps[block].shape)
        amps[block] = work[4].reshape(drop[block].shape)
