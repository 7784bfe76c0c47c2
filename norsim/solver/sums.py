"""The inner loop of `macro`, compiled by numba: a read's rows summed, the field solved, the lines' currents.

Arrays are indexed in place throughout, as in norsim.solver.kernels.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from norsim.solver.kernels import FAST

# Vectors that one thread takes at a time.
CHUNK = 16
SUMS = FAST | {"reassoc"}


@njit(cache=True, fastmath=SUMS)
def _choose_bits(codes, v, bit, count, per_block, states, places, starts):  # type: ignore[no-untyped-def]
    """The rows that a read sums, block by block from `starts`: one for each group of rows of which any is up."""
    inputs = codes.shape[1]
    whole = inputs // count
    if count == 2:
        for group in range(whole):
            states[group] = (codes[v, 2 * group] >> bit & 1) | (codes[v, 2 * group + 1] >> bit & 1) << 1
    else:
        for group in range(whole):
            state = 0
            for k in range(count):
                state |= (codes[v, group * count + k] >> bit & 1) << k
            states[group] = state
    if whole < len(states):
        state = 0
        for k in range(inputs - whole * count):
            state |= (codes[v, whole * count + k] >> bit & 1) << k
        states[whole] = state
    taken, many = 0, (1 << count) - 1
    for block in range(len(starts) - 1):
        starts[block] = taken
        for group in range(block * per_block, min((block + 1) * per_block, len(states))):
            places[taken] = group * many + states[group] - 1
            taken += states[group] != 0
    starts[len(starts) - 1] = taken


@njit(cache=True, fastmath=SUMS)
def _choose_volts(drives, v, per_block, places, values, starts):  # type: ignore[no-untyped-def]
    """The rows that a read sums, with their factors: x and x^2 of each line that is not at rest."""
    inputs = drives.shape[1]
    taken = 0
    for block in range(len(starts) - 1):
        starts[block] = taken
        for line in range(block * per_block, min((block + 1) * per_block, inputs)):
            x = drives[v, line]
            places[taken], places[taken + 1] = 2 * line, 2 * line + 1
            values[taken], values[taken + 1] = x, x * x
            taken += 2 if x != 0 else 0
    starts[len(starts) - 1] = taken


@njit(cache=True, fastmath=SUMS)
def _add_rows(rows, places, first, last, block, total):  # type: ignore[no-untyped-def]
    """total[block, c] = sum of rows[places, c] from `first` to `last`, four rows in a pass."""
    width = rows.shape[1]
    for c in range(width):
        total[block, c] = 0.0
    at = first
    while at + 4 <= last:
        i, j, k, m = places[at], places[at + 1], places[at + 2], places[at + 3]
        for c in range(width):
            total[block, c] += (rows[i, c] + rows[j, c]) + (rows[k, c] + rows[m, c])
        at += 4
    while at < last:
        i = places[at]
        for c in range(width):
            total[block, c] += rows[i, c]
        at += 1


@njit(cache=True, fastmath=SUMS)
def _add_multiples(rows, places, values, first, last, block, total):  # type: ignore[no-untyped-def]
    """total[block, c] = sum of values x rows[places, c] from `first` to `last`, which come in pairs."""
    width = rows.shape[1]
    for c in range(width):
        total[block, c] = 0.0
    at = first
    while at + 4 <= last:
        i, j, k, m = places[at], places[at + 1], places[at + 2], places[at + 3]
        a, b, d, e = values[at], values[at + 1], values[at + 2], values[at + 3]
        for c in range(width):
            total[block, c] += (a * rows[i, c] + b * rows[j, c]) + (d * rows[k, c] + e * rows[m, c])
        at += 4
    if at < last:
        i, j, a, b = places[at], places[at + 1], values[at], values[at + 1]
        for c in range(width):
            total[block, c] += a * rows[i, c] + b * rows[j, c]


@njit(cache=True, fastmath=SUMS)
def _solve_field(total, first, rounds, currents, slopes, local_slopes, mean_slope, shared, nominal, work):  # type: ignore[no-untyped-def]
    """`Field.solve` for one read, whose weighted sums are total[:, first:]: they, currents and local slopes go to
    work[0], work[1] and work[2], each `[nodes]`."""
    nodes = len(mean_slope)
    for n in range(nodes):
        drive = np.float32(0.0)
        for b in range(len(total)):
            drive += total[b, first + n]
        level = currents[0, n] + drive * (currents[1, n] + drive * currents[2, n])
        work[0, n], work[1, n], work[2, n] = drive, level, local_slopes[0, n] + drive * local_slopes[1, n]
        work[3, n], work[4, n] = level, slopes[0, n] + drive * slopes[1, n]
    for turn in range(rounds + 1):
        for n in range(nodes):
            work[5, n] = -nominal[n]
        for m in range(nodes):
            for n in range(nodes):
                work[5, n] += work[1, m] * shared[m, n]
        for n in range(nodes):
            mean = mean_slope[n] if turn < rounds else np.float32(0.0)
            work[1, n] = work[3, n] + (work[4, n] - mean) * work[5, n]


@njit(cache=True, fastmath=SUMS)
def _take_terms(work, to_blocks, at_blocks, shares, balance, terms):  # type: ignore[no-untyped-def]
    """`Field.terms` for one read, `[blocks, 7]`; what it returns is the sum of the balance currents."""
    blocks, nodes = to_blocks.shape[1], len(to_blocks)
    for b in range(blocks):
        share, volts = np.float32(0.0), -at_blocks[b]
        for n in range(nodes):
            share += work[0, n] * shares[n, b]
            volts += work[1, n] * to_blocks[n, b]
        terms[b, 0], terms[b, 1], terms[b, 2], terms[b, 3] = 1.0, share, volts, share * volts
        terms[b, 4], terms[b, 5] = volts * volts, share * volts * volts
    balanced = np.float32(0.0)
    for b in range(blocks):
        amps = np.float32(0.0)
        for c in range(blocks):
            amps += terms[c, 2] * balance[c, b]
        terms[b, 6] = amps
        balanced += amps
    return balanced


@njit(cache=True, parallel=True, fastmath=SUMS)
def lines(codes, passes, drives, count, per_block, rounds, modes, rows, rest, model, result):  # type: ignore[no-untyped-def]
    """result[v passes + p, l]: the currents of lines for bit p of `codes[v, i]`, or, if there are no codes, for
    `drives[v, i]` of full drive. See Tabulated for what the others are; lines are padded with zeros to what `rest`
    has of them."""
    (currents, slopes, local_slopes, mean_slope, shared, nominal, to_blocks, at_blocks, shares, balance, fixed,
     block_slopes, own, coupling, sums, together) = model  # fmt: skip
    bits = len(codes) > 0
    vectors, inputs = codes.shape if bits else drives.shape
    blocks, kept, many = rest.shape
    nodes, wanted = len(mean_slope), result.shape[1]
    for chunk in prange((vectors + CHUNK - 1) // CHUNK):
        places, values = np.empty(2 * inputs + 2, np.int64), np.empty(2 * inputs + 2, np.float32)
        states, starts = np.empty((inputs + count - 1) // count, np.int64), np.empty(blocks + 1, np.int64)
        work, phi, terms = (
            np.empty((6, nodes), np.float32), np.empty(kept, np.float32), np.empty((blocks, 7), np.float32)
        )  # fmt: skip
        total = np.empty((blocks, rows.shape[1]), np.float32)
        deviation, answer = np.empty((blocks, many), np.float32), np.empty((blocks, many), np.float32)
        settled, moved = np.empty((blocks, many), np.float32), np.empty((blocks, many), np.float32)
        for v in range(chunk * CHUNK, min((chunk + 1) * CHUNK, vectors)):
            for p in range(passes):
                if bits:
                    _choose_bits(codes, v, p, count, per_block, states, places, starts)
                    for b in range(blocks):
                        _add_rows(rows, places, starts[b], starts[b + 1], b, total)
                else:
                    _choose_volts(drives, v, per_block, places, values, starts)
                    for b in range(blocks):
                        _add_multiples(rows, places, values, starts[b], starts[b + 1], b, total)
                _solve_field(
                    total, kept * many, rounds[0], currents, slopes, local_slopes, mean_slope, shared, nominal, work
                )
                balanced = _take_terms(work, to_blocks, at_blocks, shares, balance, terms)
                for k in range(kept):
                    value = modes[k, 0]
                    for n in range(nodes):
                        value += work[1, n] * modes[k, 1 + n] + work[2, n] * modes[k, 1 + nodes + n]
                    phi[k] = value
                for b in range(blocks):
                    for j in range(many):
                        deviation[b, j] = total[b, j] + rest[b, 0, j]
                        answer[b, j] = 0.0
                    for k in range(1, kept):
                        factor = phi[k]
                        for j in range(many):
                            deviation[b, j] += factor * (total[b, k * many + j] + rest[b, k, j])
                    for t in range(7):
                        term = terms[b, t]
                        for j in range(many):
                            deviation[b, j] += term * fixed[b, t, j]
                            answer[b, j] += term * block_slopes[b, t, j]
                    for j in range(many):
                        answer[b, j] += deviation[b, j] * own[b, 0, j]
                        settled[b, j] = deviation[b, j]
                for _ in range(rounds[1]):
                    for b in range(blocks):
                        for j in range(many):
                            moved[b, j] = 0.0
                        for c in range(blocks):
                            factor = coupling[b, c]
                            for j in range(many):
                                moved[b, j] += factor * settled[c, j]
                    for b in range(blocks):
                        for j in range(many):
                            settled[b, j] = deviation[b, j] + answer[b, j] * moved[b, j]
                for j in range(many):
                    moved[0, j] = together[0, j] + balanced * together[1, j]
                for b in range(blocks):
                    factor = sums[0, b]
                    for j in range(many):
                        moved[0, j] += factor * settled[b, j]
                for j in range(wanted):
                    result[v * passes + p, j] = moved[0, j]
