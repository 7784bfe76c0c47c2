"""The inner loop of `macro`, compiled by numba: solve the field of a read, sum its rows, compute its lines' currents.

A thread takes `READS` reads at a time. Work per read is done for all of them in step, reads innermost in memory; work
per line is done read by read, lines innermost. Arrays are always indexed in place, as in norsim.solver.nodal_kernels,
and indices are unsigned where numba would otherwise check for negative ones.

Longer than 300 lines because numba caches compiled code by the file of the outermost function: it would not notice a
change of inner functions or constants in another file.
"""

from __future__ import annotations

import numpy as np
from numba import prange
from numba.cpython.unsafe.numbers import trailing_zeros

from norsim.array.compiled import njit

# A multiple of any processor's SIMD lanes, so that each read is computed by the same instructions at any position.
READS = 64
# As norsim.solver.nodal_kernels.FAST, and sums in any order.
SUMS = {"contract", "nsz", "arcp", "reassoc"}

# 1, share of full drive, volts, share volts, volts^2, share volts^2, balance current.
TERMS = 7

# Number of rows that are added at a time.
FOUR = 4

ZERO, ONE = np.uint64(0), np.uint64(1)
# The lowest bit of each byte of a word; multiplying by GATHER collects these bits in the word's top byte.
EACH_BYTE = np.uint64(0x0101010101010101)
GATHER = np.uint64(0x0102040810204080)
TOP_BYTE = np.uint64(56)


@njit(fastmath=SUMS, error_model="numpy")
def _spread(codes, v, count, span, padded):  # type: ignore[no-untyped-def]
    """Copy the codes of a vector so that each group of `count` starts at a multiple of `span`."""
    inputs = codes.shape[1]
    if count == span:
        for i in range(inputs):
            padded[i] = codes[v, i]
    else:
        for i in range(inputs):
            padded[i // count * np.int64(span) + i % count] = codes[v, i]


@njit(fastmath=SUMS, error_model="numpy")
def _choose_bits(words, bit, span, many, each, per_block, weights, node_of, nothing, r, places, starts, running):  # type: ignore[no-untyped-def]
    """Choose the rows that read `r` sums, `each` of them for every group with a row up, by block from `starts[r]`;
    each block's rows are padded with the row `nothing` to a multiple of FOUR.

    running[n, r] is set to the running sum of weights up to the last group of node n, if it has any.
    """
    log, fold = ZERO, ONE
    while ONE << log < span:
        log += ONE
    chosen = (ONE << span) - ONE
    firsts = ~ZERO // chosen
    shift = np.uint64(bit)
    taken, block, end, weight = 0, 0, np.uint64(per_block), np.float32(0.0)
    starts[r, 0] = 0
    for word in range(0, len(words), 8):
        up = ZERO
        for k in range(8):
            up |= ((words[word + k] >> shift & EACH_BYTE) * GATHER >> TOP_BYTE) << np.uint64(8 * k)
        left, fold = up, ONE
        while fold < span:
            left |= left >> fold
            fold += fold
        left &= firsts
        first = np.uint64(word * 8)
        while left:
            place = trailing_zeros(left)  # type: ignore[call-arg, var-annotated]
            left &= left - ONE
            group = (first + place) >> log
            at = group * many + (up >> place & chosen) - ONE
            while group >= end:
                end += np.uint64(per_block)
                block += 1
                taken = _fill(places, r, taken, nothing)
                starts[r, block] = taken
            if each == 1:
                places[r, taken] = at
                taken += 1
            else:
                places[r, taken], places[r, taken + 1] = at + at, at + at + ONE
                taken += 2
            weight += weights[at]
            running[node_of[group], r] = weight
    taken = _fill(places, r, taken, nothing)
    for b in range(block + 1, starts.shape[1]):
        starts[r, b] = taken


@njit(fastmath=SUMS, error_model="numpy")
def _fill(places, r, taken, nothing):  # type: ignore[no-untyped-def]
    """Pad rows with `nothing` to a multiple of FOUR; return their new number."""
    for k in range(FOUR - 1):
        places[r, taken + k] = nothing
    return (taken + FOUR - 1) // FOUR * FOUR


@njit(fastmath=SUMS, error_model="numpy")
def _choose_volts(drives, v, per_block, weights, node_of, nothing, r, places, starts, running):  # type: ignore[no-untyped-def]
    """Do the same for lines under volts: two rows for each line that is not at rest."""
    inputs = drives.shape[1]
    taken, weight = 0, np.float32(0.0)
    for block in range(starts.shape[1] - 1):
        starts[r, block] = taken
        for line in range(block * per_block, min((block + 1) * per_block, inputs)):
            x = drives[v, line]
            places[r, taken], places[r, taken + 1] = 2 * line, 2 * line + 1
            taken += 2 if x != 0 else 0
            weight += x * weights[line]
            running[node_of[line], r] = weight
        taken = _fill(places, r, taken, nothing)
    starts[r, starts.shape[1] - 1] = taken


@njit(fastmath=SUMS, error_model="numpy")
def _take_differences(running, before):  # type: ignore[no-untyped-def]
    """Convert running sums, NaN for a node without own groups, to sums by node; `before` `[READS]` is scratch."""
    for r in range(READS):
        before[r] = 0.0
    for n in range(len(running)):
        for r in range(READS):
            sum_to_here = before[r] if np.isnan(running[n, r]) else running[n, r]
            running[n, r] = sum_to_here - before[r]
            before[r] = sum_to_here


@njit(fastmath=SUMS, error_model="numpy")
def _solve_field(rounds, currents, slopes, local_slopes, mean_slope, shared, nominal, field):  # type: ignore[no-untyped-def]
    """Do `Field.solve` for READS reads with weighted sums field[0]: currents and local slopes go to field[1] and
    field[2], each `[nodes, READS]`."""
    nodes = len(mean_slope)
    for n in range(nodes):
        for r in range(READS):
            drive = field[0, n, r]
            level = currents[0, n] + drive * (currents[1, n] + drive * currents[2, n])
            field[1, n, r], field[3, n, r] = level, level
            field[2, n, r] = local_slopes[0, n] + drive * local_slopes[1, n]
            field[4, n, r] = slopes[0, n] + drive * slopes[1, n]
    for turn in range(rounds + 1):
        for n in range(nodes):
            for r in range(READS):
                field[5, n, r] = -nominal[n]
            for m in range(nodes):
                ohms = shared[m, n]
                for r in range(READS):
                    field[5, n, r] += field[1, m, r] * ohms
        for n in range(nodes):
            mean = mean_slope[n] if turn < rounds else np.float32(0.0)
            for r in range(READS):
                field[1, n, r] = field[3, n, r] + (field[4, n, r] - mean) * field[5, n, r]


@njit(fastmath=SUMS, error_model="numpy")
def _take_terms(field, to_blocks, at_blocks, shares, balance, terms):  # type: ignore[no-untyped-def]
    """Do `Field.terms`: set `terms` `[blocks, TERMS, READS]`."""
    nodes, blocks = to_blocks.shape
    for b in range(blocks):
        for r in range(READS):
            terms[b, 0, r], terms[b, 1, r], terms[b, 2, r] = 1.0, 0.0, -at_blocks[b]
        for n in range(nodes):
            share, ohms = shares[n, b], to_blocks[n, b]
            for r in range(READS):
                terms[b, 1, r] += field[0, n, r] * share
                terms[b, 2, r] += field[1, n, r] * ohms
        for r in range(READS):
            share, volts = terms[b, 1, r], terms[b, 2, r]
            terms[b, 3, r], terms[b, 4, r], terms[b, 5, r] = share * volts, volts * volts, share * volts * volts
            terms[b, 6, r] = 0.0
    for b in range(blocks):
        for c in range(blocks):
            siemens = balance[c, b]
            for r in range(READS):
                terms[b, 6, r] += terms[c, 2, r] * siemens


@njit(fastmath=SUMS, error_model="numpy")
def _take_modes(field, modes, phi):  # type: ignore[no-untyped-def]
    """Set `phi` `[modes, READS]` to the modes of the field."""
    nodes = field.shape[1]
    for k in range(len(modes)):
        for r in range(READS):
            phi[k, r] = modes[k, 0]
        for n in range(nodes):
            of_current, of_slope = modes[k, 1 + n], modes[k, 1 + nodes + n]
            for r in range(READS):
                phi[k, r] += field[1, n, r] * of_current + field[2, n, r] * of_slope


@njit(fastmath=SUMS, error_model="numpy")
def _follow(table, phi, r, values):  # type: ignore[no-untyped-def]
    """Set values[i] = sum of phi[k, r] x table[k, i], from the modes of read `r`."""
    for i in range(table.shape[1]):
        values[i] = table[0, i]
    for k in range(1, len(phi)):
        factor = phi[k, r]
        for i in range(table.shape[1]):
            values[i] += factor * table[k, i]


@njit(fastmath=SUMS, error_model="numpy")
def _raise(drives, v, factors, shifts, weighed):  # type: ignore[no-untyped-def]
    """Set `weighed` to ((x + shift) factor)^n minus its value at rest, x = 0, for n = 1 and 2, line by line."""
    for line in range(len(factors)):
        x, factor = drives[v, line], factors[line]
        weighed[2 * line] = x * factor
        weighed[2 * line + 1] = x * (x + 2 * shifts[line]) * factor * factor


@njit(fastmath=SUMS, error_model="numpy")
def _add_rows(rows, weighed, places, r, first, last, block, total):  # type: ignore[no-untyped-def]
    """Set total[block, j] = sum of weighed[p] x rows[p, j] over places[r, first:last], FOUR rows at a time."""
    width = rows.shape[1]
    for j in range(width):
        total[block, j] = 0.0
    for at in range(first, last, FOUR):
        p, q, s, t = places[r, at], places[r, at + 1], places[r, at + 2], places[r, at + 3]
        a, b, c, d = weighed[p], weighed[q], weighed[s], weighed[t]
        for j in range(width):
            total[block, j] += (a * rows[p, j] + b * rows[q, j]) + (c * rows[s, j] + d * rows[t, j])


@njit(fastmath=SUMS, error_model="numpy")
def _add_terms(table, values, block, total):  # type: ignore[no-untyped-def]
    """Add to total[block, j] the sum of values[k] x table[block, k, j], FOUR terms at a time."""
    for k in range(0, table.shape[1], FOUR):
        a, b, c, d = values[k], values[k + 1], values[k + 2], values[k + 3]
        for j in range(table.shape[2]):
            total[block, j] += (a * table[block, k, j] + b * table[block, k + 1, j]) + (
                c * table[block, k + 2, j] + d * table[block, k + 3, j]
            )


@njit(fastmath=SUMS, error_model="numpy")
def _close(deviation, slope, own, ohms, share, together, balanced, at, result):  # type: ignore[no-untyped-def]
    """Set result[at] to the currents of lines with one block, whose fixed point has a closed form."""
    for j in range(result.shape[1]):
        settled = deviation[0, j] / (1 - ohms * (slope[0, j] + deviation[0, j] * own[0, 0, j]))
        result[at, j] = together[0, j] + balanced * together[1, j] + share * settled


@njit(fastmath=SUMS, error_model="numpy")
def _settle(deviation, slope, own, coupling, settled, moved):  # type: ignore[no-untyped-def]
    """Do one round of the fixed point between blocks."""
    blocks, many = deviation.shape
    for b in range(blocks):
        for j in range(many):
            moved[b, j] = 0.0
        for c in range(blocks):
            ohms = coupling[b, c]
            for j in range(many):
                moved[b, j] += ohms * settled[c, j]
    for b in range(blocks):
        for j in range(many):
            answer = slope[b, j] + deviation[b, j] * own[b, 0, j]
            settled[b, j] = deviation[b, j] + answer * moved[b, j]


@njit(fastmath=SUMS, error_model="numpy")
def _finish(settled, shares, together, balanced, at, result):  # type: ignore[no-untyped-def]
    """Set result[at] to the currents of the lines."""
    for j in range(result.shape[1]):
        result[at, j] = together[0, j] + balanced * together[1, j]
    for b in range(len(settled)):
        share = shares[0, b]
        for j in range(result.shape[1]):
            result[at, j] += share * settled[b, j]


@njit(fastmath=SUMS, error_model="numpy")
def _lines_of(thread, threads, codes, passes, drives, count, per_block, rounds, tables, model, result):  # type: ignore[no-untyped-def]
    """Do one thread's share of `lines`."""
    rows, factors, shifts, fixed, modes, weights, node_of = tables
    (currents, slopes, local_slopes, mean_slope, shared, nominal, to_blocks, at_blocks, shares, balance, block_slopes,
     own, coupling, sums, together) = model  # fmt: skip
    bits = len(codes) > 0
    vectors = len(codes) if bits else len(drives)
    lanes, nodes, blocks = rows.shape[1], len(mean_slope), len(coupling)
    each, span, many_states = (len(rows) - 1) // len(weights), ONE, np.uint64(2**count - 1)
    while span < count:
        span += span
    at_once = READS // passes
    chunks, nothing = (vectors + at_once - 1) // at_once, np.uint32(len(rows) - 1)
    padded = np.zeros((len(node_of) * np.int64(span) + 63) // 64 * 64, np.uint8)
    words = padded.view(np.uint64)
    places = np.empty((READS, 2 * len(node_of) + FOUR * blocks), np.uint32)
    starts, before = np.zeros((READS, blocks + 1), np.int64), np.empty(READS, np.float32)
    of_factors, of_shifts = np.empty(factors.shape[1], np.float32), np.empty(shifts.shape[1], np.float32)
    weighed, of_terms = np.ones(len(rows), np.float32), np.zeros(fixed.shape[1], np.float32)
    field, phi = np.empty((6, nodes, READS), np.float32), np.empty((len(modes), READS), np.float32)
    terms, running = np.empty((blocks, TERMS, READS), np.float32), field[0]
    deviation, slope = np.empty((blocks, lanes), np.float32), np.empty((blocks, lanes), np.float32)
    settled, moved = np.empty((blocks, lanes), np.float32), np.empty((blocks, lanes), np.float32)
    for chunk in range(chunks * thread // threads, chunks * (thread + 1) // threads):
        first = chunk * at_once
        reads = (min(first + at_once, vectors) - first) * passes
        for n in range(nodes):
            for r in range(READS):
                running[n, r] = np.nan
        for r in range(reads):
            v, p = first + r // passes, r % passes
            if not bits:
                _choose_volts(drives, v, per_block, weights, node_of, nothing, r, places, starts, running)
                continue
            if p == 0:
                _spread(codes, v, count, span, padded)
            _choose_bits(
                words, p, span, many_states, each, per_block, weights, node_of, nothing, r, places, starts, running
            )
        _take_differences(running, before)
        _solve_field(rounds[0], currents, slopes, local_slopes, mean_slope, shared, nominal, field)
        _take_terms(field, to_blocks, at_blocks, shares, balance, terms)
        _take_modes(field, modes, phi)
        for r in range(reads):
            if bits and each == 1:
                _follow(factors, phi, r, weighed)
            else:
                _follow(factors, phi, r, of_factors)
                _follow(shifts, phi, r, of_shifts)
                if bits:
                    for i in range(len(of_factors)):
                        weighed[2 * i] = of_factors[i]
                else:
                    _raise(drives, first + r, of_factors, of_shifts, weighed)
            balanced = np.float32(0.0)
            for k in range(1, len(phi)):
                of_terms[TERMS - 1 + k] = phi[k, r]
            for b in range(blocks):
                for k in range(TERMS):
                    of_terms[k] = terms[b, k, r]
                balanced += of_terms[TERMS - 1]
                _add_rows(rows, weighed, places, r, starts[r, b], starts[r, b + 1], b, deviation)
                _add_terms(fixed, of_terms, b, deviation)
                for j in range(lanes):
                    slope[b, j] = 0.0
                _add_terms(block_slopes, of_terms, b, slope)
            at = first * passes + r
            if blocks == 1:
                _close(deviation, slope, own, coupling[0, 0], sums[0, 0], together, balanced, at, result)
                continue
            for b in range(blocks):
                for j in range(lanes):
                    settled[b, j] = deviation[b, j]
            for _ in range(rounds[1]):
                _settle(deviation, slope, own, coupling, settled, moved)
            _finish(settled, sums, together, balanced, at, result)


@njit(parallel=True, fastmath=SUMS, error_model="numpy")
def lines(codes, passes, drives, count, per_block, rounds, tables, model, threads, result):  # type: ignore[no-untyped-def]
    """Set result[v passes + p, l] to the currents of lines for bit p of `codes[v, i]`, or, without codes, for
    `drives[v, i]` as shares of full drive. See Tabulated for the other arguments; lines are padded with zeros to the
    width of `rows`."""
    for thread in prange(threads):
        _lines_of(np.int64(thread), threads, codes, passes, drives, count, per_block, rounds, tables, model, result)
