"""The inner loop of `macro`, compiled by numba: from activation codes to the currents of lines, and on to sums.

A read is solved in these steps: its codes are copied from where they are; the rows of the table that it adds are
chosen; the field is solved; the rows are added; the lines are sensed, converted and added to the layer's sums. Nothing
but the sums goes to memory, unless the caller asks for currents and converter codes too.

A thread takes `READS` reads at a time. The field is solved for all of them in step, reads innermost in memory; the rest
is done read by read, lines innermost. Arrays are always indexed in place, as in norsim.solver.nodal_kernels, and
indices are unsigned where numba would otherwise check for negative ones.

Longer than 300 lines because numba caches compiled code by the file of the outermost function: it would not notice a
change of inner functions or constants in another file.
"""

from __future__ import annotations

import numpy as np
from numba import prange
from numba.cpython.unsafe.numbers import trailing_zeros

from norsim.array.compiled import njit
from norsim.solver.macro.simd import add, add_product, bits_of, narrow_zero, store, wide_zero

# A multiple of any processor's SIMD lanes, so that each read is computed by the same instructions at any position.
READS = 64
# As norsim.solver.nodal_kernels.FAST, and sums in any order.
SUMS = {"contract", "nsz", "arcp", "reassoc"}

# 1, share of full drive, volts, share volts, volts^2, share volts^2, balance current.
TERMS = 7

# Number of rows that are added at a time.
FOUR = 4

ZERO, ONE, TWO, THREE, STEP = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
# Lanes of norsim.solver.macro.simd.WIDE and NARROW, and codes per word of bits.
WIDE, NARROW, WORD = np.uint64(32), np.uint64(16), np.uint64(64)


@njit(error_model="numpy")
def _copy(codes, start, offsets, spots, row):  # type: ignore[no-untyped-def]
    """Set row[spots[i]] to the code of input i of the vector that starts at `start`."""
    for i in range(len(offsets)):
        row[spots[i]] = codes[start + offsets[i]]


@njit(error_model="numpy")
def _copy_drives(codes, drives, start, offsets, row):  # type: ignore[no-untyped-def]
    """Set row[i] to the drive of the code of input i, or, without codes, to the drive of input i itself."""
    for i in range(len(offsets)):
        at = start + offsets[i]
        row[i] = drives[codes[at]] if len(codes) else drives[at]


@njit(fastmath=SUMS, error_model="numpy")
def _choose_bits(row, bit, span, log, many, each, per_block, weights, node_of, nothing, r, places, starts, running):  # type: ignore[no-untyped-def]
    """Choose the rows that read `r` sums, `each` of them for every group with a row up, by block from `starts[r]`;
    each block's rows are padded with the row `nothing` to a multiple of FOUR.

    `row` has the codes of the vector, each group of inputs at a multiple of `span` = 2^`log`. running[n, r] is set to
    the running sum of weights up to the last group of node n, if it has any.
    """
    chosen = (ONE << span) - ONE
    firsts = ~ZERO // chosen
    block, end, weight = 0, np.uint64(per_block), np.float32(0.0)
    taken = starts[r, 0]
    for word in range(len(row) // 64):
        first = np.uint64(word) * WORD
        up = bits_of(row, first, bit)
        left, fold = up, ONE
        while fold < span:
            left |= left >> fold
            fold += fold
        left &= firsts
        while left:
            place = trailing_zeros(left)  # type: ignore[call-arg, var-annotated]
            left &= left - ONE
            group = (first + place) >> log
            at = group * many + (up >> place & chosen) - ONE
            while group >= end:
                end += np.uint64(per_block)
                block += 1
                taken = _fill(places, starts[r, block - 1], taken, nothing)
                starts[r, block] = taken
            if each == 1:
                places[taken] = at
                taken += ONE
            else:
                places[taken], places[taken + ONE] = at + at, at + at + ONE
                taken += TWO
            weight += weights[at]
            running[node_of[group], r] = weight
    taken = _fill(places, starts[r, block], taken, nothing)
    for b in range(block + 1, starts.shape[1]):
        starts[r, b] = taken


@njit(error_model="numpy")
def _fill(places, first, taken, nothing):  # type: ignore[no-untyped-def]
    """Pad the rows from `first` on with `nothing` to a multiple of FOUR; return the place after them."""
    for k in range(FOUR - 1):
        places[taken + np.uint64(k)] = nothing
    return first + ((taken - first + THREE) >> TWO << TWO)


@njit(fastmath=SUMS, error_model="numpy")
def _choose_volts(row, per_block, weights, node_of, nothing, r, places, starts, running):  # type: ignore[no-untyped-def]
    """Do the same for lines under volts, as shares of full drive: two rows for each line that is not at rest."""
    taken, weight = starts[r, 0], np.float32(0.0)
    for block in range(starts.shape[1] - 1):
        starts[r, block] = taken
        for line in range(block * per_block, min((block + 1) * per_block, len(row))):
            x = row[line]
            places[taken], places[taken + ONE] = 2 * line, 2 * line + 1
            taken += TWO if x != 0 else ZERO
            weight += x * weights[line]
            running[node_of[line], r] = weight
        taken = _fill(places, starts[r, block], taken, nothing)
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
    """Set values[i] = sum of phi[k, r] x table[k, i], from the modes of read `r`; phi[0, r] = 1."""
    factor, second = (phi[1, r], 1) if len(phi) > 1 else (np.float32(0.0), 0)
    for i in range(table.shape[1]):
        values[i] = table[0, i] + factor * table[second, i]
    for k in range(2, len(phi)):
        factor = phi[k, r]
        for i in range(table.shape[1]):
            values[i] += factor * table[k, i]


@njit(fastmath=SUMS, error_model="numpy")
def _raise(row, factors, shifts, weighed):  # type: ignore[no-untyped-def]
    """Set `weighed` to ((x + shift) factor)^n minus its value at rest, x = 0, for n = 1 and 2, line by line."""
    for line in range(len(factors)):
        x, factor = row[line], factors[line]
        weighed[2 * line] = x * factor
        weighed[2 * line + 1] = x * (x + 2 * shifts[line]) * factor * factor


@njit(error_model="numpy")
def _add_wide(rows, width, weighed, places, first, last, lane):  # type: ignore[no-untyped-def]
    """Return the sum of weighed[p] x rows[p width + lane ...] over places[first:last] as a wide vector."""
    one, other = wide_zero(), wide_zero()
    for at in range(first, last, STEP):
        p, q, s, t = places[at], places[at + ONE], places[at + TWO], places[at + THREE]
        one = add_product(one, weighed[p], rows, p * width + lane)
        other = add_product(other, weighed[q], rows, q * width + lane)
        one = add_product(one, weighed[s], rows, s * width + lane)
        other = add_product(other, weighed[t], rows, t * width + lane)
    return add(one, other)


@njit(error_model="numpy")
def _add_narrow(rows, width, weighed, places, first, last, lane):  # type: ignore[no-untyped-def]
    """Return the same as a narrow vector, with more sums at a time."""
    one, two, three, four = narrow_zero(), narrow_zero(), narrow_zero(), narrow_zero()
    for at in range(first, last, STEP):
        p, q, s, t = places[at], places[at + ONE], places[at + TWO], places[at + THREE]
        one = add_product(one, weighed[p], rows, p * width + lane)
        two = add_product(two, weighed[q], rows, q * width + lane)
        three = add_product(three, weighed[s], rows, s * width + lane)
        four = add_product(four, weighed[t], rows, t * width + lane)
    return add(add(one, two), add(three, four))


@njit(error_model="numpy")
def _add_terms(total, table, width, values, first, lane):  # type: ignore[no-untyped-def]
    """Return the vector `total` plus the sum of values[k] x table[(first + k) width + lane ...]."""
    for k in range(len(values)):
        total = add_product(total, values[k], table, (first + np.uint64(k)) * width + lane)
    return total


@njit(error_model="numpy")
def _add_block(tables, width, weighed, places, first, last, values, slope_values, b, deviation, slope):  # type: ignore[no-untyped-def]
    """Set deviation[b width + j] and slope[b width + j] to sums of table rows and of the field's terms of block b."""
    rows, fixed, slopes = tables
    of_fixed, of_slopes = np.uint64(b * len(values)), np.uint64(b * len(slope_values))
    lane, at = ZERO, np.uint64(b) * width
    while lane + WIDE <= width:
        total = _add_wide(rows, width, weighed, places, first, last, lane)
        store(_add_terms(total, fixed, width, values, of_fixed, lane), deviation, at + lane)
        store(_add_terms(wide_zero(), slopes, width, slope_values, of_slopes, lane), slope, at + lane)
        lane += WIDE
    while lane < width:
        rest = _add_narrow(rows, width, weighed, places, first, last, lane)
        store(_add_terms(rest, fixed, width, values, of_fixed, lane), deviation, at + lane)
        store(_add_terms(narrow_zero(), slopes, width, slope_values, of_slopes, lane), slope, at + lane)
        lane += NARROW


@njit(fastmath=SUMS, error_model="numpy")
def _close(deviation, slope, own, ohms, share, together, balanced, line_amps):  # type: ignore[no-untyped-def]
    """Set `line_amps` to the currents of lines with one block, whose fixed point has a closed form."""
    for j in range(len(line_amps)):
        settled = deviation[0, j] / (1 - ohms * (slope[0, j] + deviation[0, j] * own[0, 0, j]))
        line_amps[j] = together[0, j] + balanced * together[1, j] + share * settled


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
def _finish(settled, shares, together, balanced, line_amps):  # type: ignore[no-untyped-def]
    """Set `line_amps` to the currents of the lines."""
    for j in range(len(line_amps)):
        line_amps[j] = together[0, j] + balanced * together[1, j]
    for b in range(len(settled)):
        share = shares[0, b]
        for j in range(len(line_amps)):
            line_amps[j] += share * settled[b, j]


@njit(error_model="numpy")
def _sense(line_amps, lines, signs, amps):  # type: ignore[no-untyped-def]
    """Set amps[j] to the sum of signs[k, j] x line_amps[lines[k, j]]."""
    for j in range(len(amps)):
        amps[j] = signs[0, j] * line_amps[lines[0, j]]
    for k in range(1, len(lines)):
        for j in range(len(amps)):
            amps[j] += signs[k, j] * line_amps[lines[k, j]]


@njit(error_model="numpy")
def _convert(amps, converters, noise, read, place, adc, total):  # type: ignore[no-untyped-def]
    """Convert `amps` as norsim.periphery.readout does: set the codes `adc`, and add what they stand for to `total`.

    Return the numbers of currents that the converters clip at the low and at the high end.
    """
    low, step, top, gain, offset, bow, scale, shift, least, most = converters
    below, above = 0, 0
    for j in range(len(amps)):
        ideal = (amps[j] * gain[j] - low) / step
        share = ideal / top
        seen = ideal + offset[j] + bow[j] * share * (1 - share)
        if len(noise):
            seen += noise[read, j]
        code = min(max(np.rint(seen), 0), top)
        adc[j] = code
        total[j] += place * (code * scale[j] + shift[j])
        below += 1 if amps[j] < least[j] else 0
        above += 1 if amps[j] > most[j] else 0
    return below, above


@njit(fastmath=SUMS, error_model="numpy")
def _read_of(thread, threads, vectors, passes, groups, tables, model, readout, noise, results):  # type: ignore[no-untyped-def]
    """Do one thread's share of `read`."""
    codes, drives, begins, offsets = vectors
    count, per_block, field_rounds, rounds = groups
    rows, factors, shifts, fixed, modes, weights, node_of = tables
    (currents, slopes, local_slopes, mean_slope, shared, nominal, to_blocks, at_blocks, shares, balance, block_slopes,
     own, coupling, sums, together) = model  # fmt: skip
    (sense_lines, sense_signs, place_values), converters = readout[:3], readout[3:]
    noise_amps, noise_steps = noise
    of_lines, of_amps, of_codes, of_sums, first_output, first_vector, clipped = results
    bits = len(drives) == 0
    lanes, nodes, blocks, outputs = rows.shape[1], len(mean_slope), len(coupling), sense_lines.shape[1]
    each, span, log = (len(rows) - 1) // len(weights), ONE, ZERO
    while span < np.uint64(count):
        span, log = span + span, log + ONE
    many, width, nothing = np.uint64(2**count - 1), np.uint64(lanes), np.uint32(len(rows) - 1)
    at_once = READS // passes
    chunks = (len(begins) + at_once - 1) // at_once
    spots = np.empty(len(offsets), np.uint64)
    for i in range(len(offsets)):
        spots[i] = i // count * np.int64(span) + i % count
    row = np.zeros((len(node_of) * np.int64(span) + 63) // 64 * 64, np.uint8)
    drive_row = np.zeros(0 if bits else len(offsets), np.float32)
    most = 2 * len(node_of) + FOUR * blocks
    places, starts = np.empty(READS * most, np.uint32), np.zeros((READS, blocks + 1), np.uint64)
    before = np.empty(READS, np.float32)
    of_factors, of_shifts = np.empty(factors.shape[1], np.float32), np.empty(shifts.shape[1], np.float32)
    weighed, of_terms = np.ones(len(rows), np.float32), np.zeros(fixed.shape[1], np.float32)
    slope_terms = np.zeros(block_slopes.shape[1], np.float32)
    field, phi = np.empty((6, nodes, READS), np.float32), np.empty((len(modes), READS), np.float32)
    terms, running = np.empty((blocks, TERMS, READS), np.float32), field[0]
    deviation, slope = np.empty((blocks, lanes), np.float32), np.empty((blocks, lanes), np.float32)
    settled, moved = np.empty((blocks, lanes), np.float32), np.empty((blocks, lanes), np.float32)
    flat_tables = (rows.reshape(-1), fixed.reshape(-1), block_slopes.reshape(-1))
    flat_deviation, flat_slope = deviation.reshape(-1), slope.reshape(-1)
    line_amps, amps, adc = np.empty(lanes, np.float32), np.empty(outputs, np.float32), np.empty(outputs, np.float32)
    total, below, above = np.empty(outputs, np.float32), 0, 0
    for chunk in range(chunks * thread // threads, chunks * (thread + 1) // threads):
        first = chunk * at_once
        reads = (min(first + at_once, len(begins)) - first) * passes
        for n in range(nodes):
            for r in range(READS):
                running[n, r] = np.nan
        for r in range(reads):
            v, p = first + r // passes, r % passes
            starts[r, 0] = np.uint64(r * most)
            if not bits:
                _copy_drives(codes, drives, begins[v], offsets, drive_row)
                _choose_volts(drive_row, per_block, weights, node_of, nothing, r, places, starts, running)
                continue
            if p == 0:
                _copy(codes, begins[v], offsets, spots, row)
            _choose_bits(
                row, np.uint8(p), span, log, many, each, per_block, weights, node_of, nothing, r, places, starts,
                running,
            )  # fmt: skip
        _take_differences(running, before)
        _solve_field(field_rounds, currents, slopes, local_slopes, mean_slope, shared, nominal, field)
        _take_terms(field, to_blocks, at_blocks, shares, balance, terms)
        _take_modes(field, modes, phi)
        for r in range(reads):
            v, p = first + r // passes, r % passes
            if bits and each == 1:
                _follow(factors, phi, r, weighed)
            else:
                _follow(factors, phi, r, of_factors)
                _follow(shifts, phi, r, of_shifts)
                if bits:
                    for i in range(len(of_factors)):
                        weighed[2 * i] = of_factors[i]
                else:
                    _copy_drives(codes, drives, begins[v], offsets, drive_row)
                    _raise(drive_row, of_factors, of_shifts, weighed)
            balanced = np.float32(0.0)
            for k in range(1, len(phi)):
                of_terms[TERMS - 1 + k] = phi[k, r]
            for b in range(blocks):
                for k in range(TERMS):
                    of_terms[k] = terms[b, k, r]
                    slope_terms[k] = terms[b, k, r]
                balanced += of_terms[TERMS - 1]
                _add_block(
                    flat_tables, width, weighed, places, starts[r, b], starts[r, b + 1], of_terms, slope_terms, b,
                    flat_deviation, flat_slope,
                )  # fmt: skip
            if blocks == 1:
                _close(deviation, slope, own, coupling[0, 0], sums[0, 0], together, balanced, line_amps)
            else:
                for b in range(blocks):
                    for j in range(lanes):
                        settled[b, j] = deviation[b, j]
                for _ in range(rounds):
                    _settle(deviation, slope, own, coupling, settled, moved)
                _finish(settled, sums, together, balanced, line_amps)
            read = v * passes + p
            if len(of_lines):
                for j in range(of_lines.shape[1]):
                    of_lines[read, j] = line_amps[j]
            if not outputs:
                continue
            _sense(line_amps, sense_lines, sense_signs, amps)
            if len(noise_amps):
                for j in range(outputs):
                    amps[j] += noise_amps[read, j]
            if p == 0:
                total[:] = 0.0
            low, high = _convert(amps, converters, noise_steps, read, place_values[p], adc, total)
            below, above = below + low, above + high
            if len(of_amps):
                for j in range(outputs):
                    of_amps[read, j], of_codes[read, j] = amps[j], adc[j]
            if p == passes - 1:
                for j in range(outputs):
                    of_sums[first_output + j, first_vector + v] += total[j]
    clipped[thread, 0], clipped[thread, 1] = below, above


@njit(parallel=True, fastmath=SUMS, error_model="numpy")
def read(threads, vectors, passes, groups, tables, model, readout, noise, results):  # type: ignore[no-untyped-def]
    """Read vectors through a tile; see Tabulated for `groups`, `tables` and `model`, whose lines are padded with zeros
    to the width of `rows`.

    vectors = (codes `[n]`, drives, begins `[vectors]`, offsets `[inputs]`): input i of vector v has the code
    codes[begins[v] + offsets[i]], of which pass p drives bit p. With drives `[codes]`, shares of full drive, it is
    driven by that of its code, in one pass; with drives `[n]` and no codes, by drives[begins[v] + offsets[i]].

    readout = (lines and signs `[parts, outputs]`, place values `[passes]`, and the arguments of `_convert`): output j
    senses signs[k, j] times the current of lines[k, j], for each part k. noise = (amperes, converter steps), each `[reads, outputs]` or
    empty.

    results = (currents of lines `[reads, lines]`, amperes and codes `[reads, outputs]`, sums `[m, n]`, first output,
    first vector, clipped `[threads, 2]`): each read is v passes + p; the first three are empty if they are not wanted;
    sums of output j and vector v are added to sums[first output + j, first vector + v].
    """
    for thread in prange(threads):
        _read_of(np.int64(thread), threads, vectors, passes, groups, tables, model, readout, noise, results)
