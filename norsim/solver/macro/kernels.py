"""The inner loop of `macro`, compiled by numba: from activation codes to the currents of lines, and on to sums.

A read is solved in these steps: its codes are copied from where they are; the rows of the table that it adds are
chosen; the field is solved; the rows are added; the lines are sensed, converted and added to the layer's sums. Nothing
but the sums goes to memory, unless the caller asks for currents and converter codes too.

Threads of Python share the chunks: with numba's own, the kernel would be compiled twice, and take twice as long.
A thread takes a chunk of `READS` reads at a time, pass after pass: a call takes all of them, because passing arrays to
a function takes as long as some ten rows. The field is solved and currents are converted for all of them in step, reads
innermost in memory; rows are added read by read, lines innermost. Arrays are always indexed in place, as in
norsim.solver.nodal.kernels, and indices are unsigned where numba would otherwise check for negative ones.

Longer than 300 lines because numba caches compiled code by the file of the outermost function: it would not notice a
change of inner functions or constants in another file.
"""

from __future__ import annotations

import numpy as np

from norsim.array.compiled import inner, njit
from norsim.solver.simd import (
    add,
    add_product,
    bits_of,
    divide,
    load,
    multiply,
    narrow_zero,
    spread,
    store,
    store_sums,
    subtract,
    wide_zero,
)

# The start of the SHA-256 of simd.py, without which a cache would keep the code of an older one.
SIMD = "1d878d225fb691ce"
# A multiple of any processor's SIMD lanes, so that each read is computed by the same instructions at any position.
READS = 64
# As norsim.solver.nodal.kernels.FAST, and sums in any order.
SUMS = {"contract", "nsz", "arcp", "reassoc"}

# 1, share of full drive, volts, share volts, volts^2, share volts^2, balance current.
TERMS = 7
# Of which the slope of a line has the first.
SLOPE_TERMS = 3
BALANCE = TERMS - 1
# With metal straps also the sums over nodes of their drive times m, m^2, m v and v^2, with m the volts of straps, and v
# those of lines.
TERMS_OF_STRAPS = 4

# Number of rows that are added at a time.
FOUR = 4

ZERO, ONE, TWO, THREE, STEP, EIGHT = (np.uint64(number) for number in (0, 1, 2, 3, 4, 8))
# With an integer, numba would compute in 64 bits.
NOUGHT, UNIT = np.float32(0), np.float32(1)
# The least sum that is divided by.
LEAST = np.finfo(np.float32).tiny
# Lanes of norsim.solver.simd.WIDE and NARROW, and codes per word of bits.
WIDE, NARROW, WORD = np.uint64(32), np.uint64(16), np.uint64(64)


@inner(fastmath=SUMS, error_model="numpy")
def _choose_bits(  # type: ignore[no-untyped-def]
    codes, begins, offsets, spots, first, count, at_once, passes, row, words, bytes_of, bases, entries, counts, weights,
    moments, ends, nodes, blocks, nothing, most, places, starts, running, moved,
):  # fmt: skip
    """Choose the rows that each read of a chunk sums, by block from starts[r]; each block's rows are padded with the
    row `nothing` to a multiple of FOUR. Read r = p at_once + v is that of bit p of vector first + v.

    `row` receives the codes of a vector in the places of a norsim.solver.macro.bit_layout; `words` is scratch for their
    bits, and `bytes_of` the same memory. running[n, r] is set to the running sum of weights up to the last group of
    node n, if it has any, and moved[n, r] to that of `moments`, unless these are empty.
    """
    inputs, segments = np.uint64(len(offsets)), np.uint64(len(nodes))
    shared = len(moments) > 0
    for v in range(count):
        begin = begins[first + v]
        for i in range(inputs):
            row[spots[i]] = codes[begin + offsets[i]]
        for p in range(passes):
            r = p * at_once + v
            for word in range(len(words)):
                words[word] = bits_of(row, np.uint64(word) * WORD, np.uint8(p))
            origin = np.uint64(r * most)
            taken, weight, moment, block = origin, NOUGHT, NOUGHT, 0
            starts[r, 0] = origin
            for segment in range(segments):
                if blocks[segment] != block:
                    taken = _end_block(places, starts[r, block], taken, nothing)
                    block += 1
                    starts[r, block] = taken
                for at in range(ends[segment], ends[segment + ONE]):
                    state = np.uint64(bytes_of[at])
                    store_sums(places, taken, entries, state << THREE, bases[at])
                    taken += counts[state]
                    weight += weights[(at << EIGHT) + state]
                    if shared:
                        moment += moments[(at << EIGHT) + state]
                running[nodes[segment], r] = weight
                moved[nodes[segment], r] = moment
            starts[r, block + 1] = _end_block(places, starts[r, block], taken, nothing)


@inner(error_model="numpy")
def _end_block(places, first, taken, nothing):  # type: ignore[no-untyped-def]
    """Pad the rows from `first` on with `nothing`, and return the place after them."""
    for k in range(STEP - ONE):
        places[taken + k] = nothing
    return first + ((taken - first + THREE) >> TWO << TWO)


@inner(fastmath=SUMS, error_model="numpy")
def _choose_volts(  # type: ignore[no-untyped-def]
    codes, drives, begins, offsets, first, count, per_block, weights, node_of, nothing, most, volts, places, starts,
    running,
):  # fmt: skip
    """Do the same for lines under volts, as shares of full drive: two rows for each line that is not at rest. Read r,
    in the only pass, is vector first + r; volts[r] receives its drives."""
    lines = len(offsets)
    for r in range(count):
        taken, weight = np.uint64(r * most), NOUGHT
        for line in range(lines):
            at = begins[first + r] + offsets[line]
            volts[r, line] = drives[codes[at]] if len(codes) else drives[at]
        for block in range(starts.shape[1] - 1):
            starts[r, block] = taken
            for line in range(block * per_block, min((block + 1) * per_block, lines)):
                x = volts[r, line]
                places[taken], places[taken + ONE] = 2 * line, 2 * line + 1
                taken += TWO if x != NOUGHT else ZERO
                weight += x * weights[line]
                running[node_of[line], r] = weight
            taken = _end_block(places, starts[r, block], taken, nothing)
        starts[r, starts.shape[1] - 1] = taken


@inner(fastmath=SUMS, error_model="numpy")
def _take_differences(running, before):  # type: ignore[no-untyped-def]
    """Convert running sums, NaN for a node without own groups, to sums by node; `before` `[READS]` is scratch."""
    for r in range(READS):
        before[r] = 0.0
    for n in range(len(running)):
        for r in range(READS):
            sum_to_here = before[r] if np.isnan(running[n, r]) else running[n, r]
            running[n, r] = sum_to_here - before[r]
            before[r] = sum_to_here


@inner(fastmath=SUMS, error_model="numpy")
def _share_with_next(sums, moments):  # type: ignore[no-untyped-def]
    """Move `moments` `[nodes, READS]`, a part of the sums of each node, to the next node."""
    for n in range(len(sums) - 1):
        for r in range(READS):
            sums[n, r] -= moments[n, r]
            sums[n + 1, r] += moments[n, r]


@inner(error_model="numpy")
def _add_products(start, matrix, values, results):  # type: ignore[no-untyped-def]
    """Set results[n, r] to start[n] + the sum of matrix[m, n] x values[m READS + r], with a contiguous `results`."""
    found, reads = results.reshape(-1), np.uint64(READS)
    for n in range(len(start)):
        one = spread(wide_zero(), start[n])
        other, at = one, np.uint64(n) * reads
        for m in range(len(matrix)):
            factor, place = matrix[m, n], np.uint64(m) * reads
            one = add_product(one, factor, values, place)
            other = add_product(other, factor, values, place + WIDE)
        store(one, found, at)
        store(other, found, at + WIDE)


@inner(fastmath=SUMS, error_model="numpy")
def _solve_field(  # type: ignore[no-untyped-def]
    rounds, currents, slopes, local_slopes, bends, mean_slope, shared, at_rest, field
):  # fmt: skip
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
            field[6, n, r] = drive * bends[n]
    settled = field[1].reshape(-1)
    for turn in range(rounds + 1):
        _add_products(at_rest, shared, settled, field[5])
        for n in range(nodes):
            mean = mean_slope[n] if turn < rounds else NOUGHT
            for r in range(READS):
                slope = field[4, n, r] - mean + field[6, n, r] * field[5, n, r]
                field[1, n, r] = field[3, n, r] + slope * field[5, n, r]


@inner(fastmath=SUMS, error_model="numpy")
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


@inner(fastmath=SUMS, error_model="numpy")
def _take_terms_of_straps(field, at_rest, lifts, shares, terms):  # type: ignore[no-untyped-def]
    """Set the terms of metal straps, after all others; field[3] and field[4] are scratch."""
    nodes, blocks = shares.shape
    _add_products(at_rest, lifts, field[1].reshape(-1), field[3:5])
    for b in range(blocks):
        for k in range(TERMS_OF_STRAPS):
            for r in range(READS):
                terms[b, TERMS + k, r] = NOUGHT
        for n in range(nodes):
            share = shares[n, b]
            for r in range(READS):
                drive, of_lines, of_straps = share * field[0, n, r], field[3, n, r], field[4, n, r]
                terms[b, TERMS, r] += drive * of_straps
                terms[b, TERMS + 1, r] += drive * of_straps * of_straps
                terms[b, TERMS + 2, r] += drive * of_straps * of_lines
                terms[b, TERMS + 3, r] += drive * of_lines * of_lines


@inner(error_model="numpy")
def _follow(table, width, phi, r, values):  # type: ignore[no-untyped-def]
    """Set values[i] = sum of phi[k, r] x table[k width + i], for i up to `width`, from the modes of read `r`."""
    for lane in range(ZERO, width, NARROW):
        total = load(narrow_zero(), table, lane)
        for k in range(1, len(phi)):
            total = add_product(total, phi[k, r], table, np.uint64(k) * width + lane)
        store(total, values, lane)


@inner(fastmath=SUMS, error_model="numpy")
def _weigh_volts(volts, r, factors, shifts, phi, of_factors, of_shifts, of_rows):  # type: ignore[no-untyped-def]
    """Set `of_rows` to ((x + shift) factor)^n minus its value at rest, x = 0, for n = 1 and 2, line by line."""
    _follow(factors, np.uint64(len(of_factors)), phi, r, of_factors)
    _follow(shifts, np.uint64(len(of_shifts)), phi, r, of_shifts)
    for line in range(volts.shape[1]):
        x, factor = volts[r, line], of_factors[line]
        of_rows[2 * line] = x * factor
        of_rows[2 * line + 1] = x * (x + of_shifts[line] + of_shifts[line]) * factor * factor


@inner(error_model="numpy")
def _add_wide(rows, width, weighed, places, first, last, lane):  # type: ignore[no-untyped-def]
    """Return the sum of weighed[k] x rows[p width + lane ...] over p = places[first + k] up to `last` as a wide
    vector."""
    one, other = wide_zero(), wide_zero()
    for k in range(ZERO, last - first, STEP):
        at = first + k
        p, q, s, t = places[at], places[at + ONE], places[at + TWO], places[at + THREE]
        one = add_product(one, weighed[k], rows, p * width + lane)
        other = add_product(other, weighed[k + ONE], rows, q * width + lane)
        one = add_product(one, weighed[k + TWO], rows, s * width + lane)
        other = add_product(other, weighed[k + THREE], rows, t * width + lane)
    return add(one, other)


@inner(error_model="numpy")
def _add_narrow(rows, width, weighed, places, first, last, lane):  # type: ignore[no-untyped-def]
    """Return the same as a narrow vector, with more sums at a time."""
    one, two, three, four = narrow_zero(), narrow_zero(), narrow_zero(), narrow_zero()
    for k in range(ZERO, last - first, STEP):
        at = first + k
        p, q, s, t = places[at], places[at + ONE], places[at + TWO], places[at + THREE]
        one = add_product(one, weighed[k], rows, p * width + lane)
        two = add_product(two, weighed[k + ONE], rows, q * width + lane)
        three = add_product(three, weighed[k + TWO], rows, s * width + lane)
        four = add_product(four, weighed[k + THREE], rows, t * width + lane)
    return add(add(one, two), add(three, four))


@inner(error_model="numpy")
def _add_wide_changed(rows, changes, width, weighed, places, first, last, lane):  # type: ignore[no-untyped-def]
    """Return the sum of rows[p width + lane ...] + weighed[k] x changes[p width + lane ...] over the same p as a wide
    vector."""
    one, other = wide_zero(), wide_zero()
    for k in range(ZERO, last - first, TWO):
        at = first + k
        p, q = places[at] * width + lane, places[at + ONE] * width + lane
        one = add(one, load(one, rows, p))
        other = add_product(other, weighed[k], changes, p)
        one = add(one, load(one, rows, q))
        other = add_product(other, weighed[k + ONE], changes, q)
    return add(one, other)


@inner(error_model="numpy")
def _add_narrow_changed(rows, changes, width, weighed, places, first, last, lane):  # type: ignore[no-untyped-def]
    """Return the same as a narrow vector, with more sums at a time."""
    one, two, three, four = narrow_zero(), narrow_zero(), narrow_zero(), narrow_zero()
    for k in range(ZERO, last - first, TWO):
        at = first + k
        p, q = places[at] * width + lane, places[at + ONE] * width + lane
        one = add(one, load(one, rows, p))
        two = add_product(two, weighed[k], changes, p)
        three = add(three, load(three, rows, q))
        four = add_product(four, weighed[k + ONE], changes, q)
    return add(add(one, two), add(three, four))


@inner(inline="always", error_model="numpy")
def _add_terms(total, table, width, values, count, block, lane):  # type: ignore[no-untyped-def]
    """Return `total` + the sum of the first `count` values[k] x table[block, k, lane ...], of a table `[blocks, count,
    width]`."""
    first = block * np.uint64(count)
    for k in range(count):
        total = add_product(total, values[k], table, (first + np.uint64(k)) * width + lane)
    return total


@inner(inline="always", error_model="numpy")
def _solve_lanes(  # type: ignore[no-untyped-def]
    total, rest, fixed, slopes, width, of_rest, values, b, lane, alone, own, ohms, share, together, balanced, deviation,
    slope, at,
):  # fmt: skip
    """Add what lines draw at rest and the field's terms of block b to `total`, the sum of rows of the lines from `lane`
    on. Then set the currents deviation[at ...] of lines with one block, whose fixed point has a closed form, or else
    deviation and slope."""
    zero, block = subtract(total, total), np.uint64(b)
    drawn = add(total, _add_terms(zero, rest, width, of_rest, len(of_rest), block, lane))
    moved = add(drawn, _add_terms(zero, fixed, width, values, len(values), block, lane))
    own_slope = multiply(drawn, load(zero, own, block * width + lane))
    steep = _add_terms(own_slope, slopes, width, values, SLOPE_TERMS, block, lane)
    if alone:
        settled = divide(moved, subtract(spread(zero, UNIT), multiply(spread(zero, ohms), steep)))
        others = add_product(load(zero, together, lane), balanced, together, width + lane)
        store(add(others, multiply(spread(zero, share), settled)), deviation, at)
    else:
        store(moved, deviation, at)
        store(steep, slope, at)


@inner(error_model="numpy")
def _add_rows(  # type: ignore[no-untyped-def]
    rows, changes, rest, fixed, slopes, width, bits, factors, group_of, phi, volts, shifts, of_factors, of_shifts,
    of_rows, weighed, places, starts, terms, of_rest, of_terms, at_once, count, passes, own, ohms, share, together,
    balanced, deviation, slope,
):  # fmt: skip
    """Sum the chosen rows of each read of a chunk, each times its factor in the field, and the field's terms.

    Set deviation[(r blocks + b) width + j] and `slope` of each block, or, with one block, deviation to the currents of
    the lines; balanced[r] to the sum of the balance currents.
    """
    blocks, changed = starts.shape[1] - 1, len(changes) > 0
    count_terms = terms.shape[1]
    for p in range(passes):
        for v in range(count):
            r = p * at_once + v
            if bits:
                _follow(factors, np.uint64(len(of_rows)), phi, r, of_rows)
            else:
                _weigh_volts(volts, r, factors, shifts, phi, of_factors, of_shifts, of_rows)
            for k in range(len(of_rest)):
                of_rest[k] = phi[k, r]
            balance = NOUGHT
            for b in range(blocks):
                balance += terms[b, BALANCE, r]
            balanced[r] = balance
            for b in range(blocks):
                for k in range(count_terms):
                    of_terms[k] = terms[b, k, r]
                first, last = starts[r, b], starts[r, b + 1]
                if changed:
                    for k in range(last - first):
                        weighed[k] = of_rows[group_of[places[first + k]]]
                else:
                    for k in range(last - first):
                        weighed[k] = of_rows[places[first + k]]
                lane, at = ZERO, np.uint64(r * blocks + b) * width
                while lane + WIDE <= width:
                    if changed:
                        wide = _add_wide_changed(rows, changes, width, weighed, places, first, last, lane)
                    else:
                        wide = _add_wide(rows, width, weighed, places, first, last, lane)
                    _solve_lanes(
                        wide, rest, fixed, slopes, width, of_rest, of_terms, b, lane, blocks == 1, own, ohms, share,
                        together, balance, deviation, slope, at + lane,
                    )  # fmt: skip
                    lane += WIDE
                while lane < width:
                    if changed:
                        narrow = _add_narrow_changed(rows, changes, width, weighed, places, first, last, lane)
                    else:
                        narrow = _add_narrow(rows, width, weighed, places, first, last, lane)
                    _solve_lanes(
                        narrow, rest, fixed, slopes, width, of_rest, of_terms, b, lane, blocks == 1, own, ohms, share,
                        together, balance, deviation, slope, at + lane,
                    )  # fmt: skip
                    lane += NARROW


@inner(fastmath=SUMS, error_model="numpy")
def _settle(rounds, deviation, slope, coupling, shares, together, balanced, settled, moved, line_amps):  # type: ignore[no-untyped-def]
    """Do the fixed point between blocks for each read of a chunk: set line_amps[r] to the currents of its lines.

    `deviation` and `slope` are `[READS, blocks, lanes]`; `settled` and `moved` `[blocks, lanes]` are scratch.
    """
    reads, blocks, lanes = deviation.shape
    for r in range(reads):
        for b in range(blocks):
            for j in range(lanes):
                settled[b, j] = deviation[r, b, j]
        for _ in range(rounds):
            for b in range(blocks):
                for j in range(lanes):
                    moved[b, j] = NOUGHT
                for c in range(blocks):
                    ohms = coupling[b, c]
                    for j in range(lanes):
                        moved[b, j] += ohms * settled[c, j]
            for b in range(blocks):
                for j in range(lanes):
                    settled[b, j] = deviation[r, b, j] + slope[r, b, j] * moved[b, j]
        for j in range(lanes):
            line_amps[r, j] = together[0, j] + balanced[r] * together[1, j]
        for b in range(blocks):
            share = shares[0, b]
            for j in range(lanes):
                line_amps[r, j] += share * settled[b, j]


@inner(fastmath=SUMS, error_model="numpy")
def _change_by_straps(straps, first_part, field, line_amps, lanes, amps, rise, along, mean):  # type: ignore[no-untyped-def]
    """Do `StrapResponse.changed` for each read of a chunk: change line_amps[r lanes ...] of lines by the rises of
    straps, whose parts are the lines from `first_part` on.

    `amps` `[parts + nodes, READS]`, `rise` `[modes x straps, READS]`, `along` `[1 + modes, READS]` and `mean`
    `[straps, READS]` are scratch.
    """
    at_rest, ohms, nothing, modes, of_lines = straps
    nodes, count, width = len(modes), len(mean), np.uint64(lanes)
    parts = len(amps) - nodes
    for part in range(parts):
        for r in range(READS):
            amps[part, r] = line_amps[r * lanes + first_part + part]
    for n in range(nodes):
        for r in range(READS):
            amps[parts + n, r] = field[1, n, r]
    _add_products(at_rest, ohms, amps.reshape(-1), rise)
    _add_products(nothing, modes, field[0].reshape(-1), along)
    for s in range(count):
        for r in range(READS):
            mean[s, r] = NOUGHT
        for kind in range(1, len(along)):
            for r in range(READS):
                mean[s, r] += along[kind, r] * rise[(kind - 1) * count + s, r]
        for r in range(READS):
            mean[s, r] /= max(along[0, r], LEAST)
    for r in range(READS):
        for lane in range(ZERO, width, NARROW):
            factor = spread(narrow_zero(), UNIT)
            for s in range(count):
                factor = add_product(factor, mean[s, r], of_lines, np.uint64(s) * width + lane)
            at = np.uint64(r) * width + lane
            store(multiply(load(factor, line_amps, at), factor), line_amps, at)


@inner(error_model="numpy")
def _sense(line_amps, width, lines, signs, amps):  # type: ignore[no-untyped-def]
    """Set amps[j, r] to the sum of signs[k, j] x line_amps[r width + lines[k, j]]."""
    for j in range(lines.shape[1]):
        at, sign = lines[0, j], signs[0, j]
        for r in range(READS):
            amps[j, r] = sign * line_amps[at]
            at += width
        for k in range(1, len(lines)):
            at, sign = lines[k, j], signs[k, j]
            for r in range(READS):
                amps[j, r] += sign * line_amps[at]
                at += width


@inner(error_model="numpy")
def _add_noise(noise, first, at_once, count, passes, values):  # type: ignore[no-untyped-def]
    """Add the noise `[reads, outputs]` of the reads of a chunk to values `[outputs, READS]`."""
    for v in range(count):
        for p in range(passes):
            for j in range(len(values)):
                values[j, p * at_once + v] += noise[(first + v) * passes + p, j]


@inner(error_model="numpy")
def _meet_converters(amps, top, low, step, gain, offset, bow, seen):  # type: ignore[no-untyped-def]
    """Set seen[j, r] to what the converter of output j sees of amps[j, r], in steps: see norsim.periphery.readout."""
    for j in range(len(amps)):
        for r in range(READS):
            ideal = (amps[j, r] * gain[j] - low[j]) / step[j]
            share = ideal / top
            seen[j, r] = ideal + offset[j] + bow[j] * share * (UNIT - share)


@inner(error_model="numpy")
def _convert(seen, top, scale, shift, places_of, adc, values):  # type: ignore[no-untyped-def]
    """Set adc[j, r] to the code of seen[j, r], and values[j, r] to what it stands for, times the place value of its
    pass, places_of[r]."""
    for j in range(len(seen)):
        for r in range(READS):
            code = min(max(np.rint(seen[j, r]), NOUGHT), top)
            adc[j, r] = code
            values[j, r] = places_of[r] * (code * scale[j] + shift[j])


@inner(fastmath=SUMS, error_model="numpy")
def _count_clipped(amps, least, most, used, clipped, thread):  # type: ignore[no-untyped-def]
    """Count the currents that converters clip at the low and the high end, of reads whose used[r] is 1 and not 0."""
    below, above = NOUGHT, NOUGHT
    for j in range(len(amps)):
        low, high = least[j], most[j]
        for r in range(READS):
            below += used[r] if amps[j, r] < low else NOUGHT
            above += used[r] if amps[j, r] > high else NOUGHT
    clipped[thread, 0] += int(below)
    clipped[thread, 1] += int(above)


@inner(error_model="numpy")
def _add_sums(values, slices, first, at_once, count, passes, of_sums, first_output, first_vector):  # type: ignore[no-untyped-def]
    """Add the values of all passes and slices to the sums of the layer."""
    for j in range(len(values)):
        output, vector = first_output + j // slices, first_vector + first
        for p in range(passes):
            for v in range(count):
                of_sums[output, vector + v] += values[j, p * at_once + v]


@inner(error_model="numpy")
def _keep(values, first, at_once, count, passes, found):  # type: ignore[no-untyped-def]
    """Set found[v passes + p] to the values `[outputs, READS]` of the reads of a chunk."""
    for j in range(len(values)):
        for v in range(count):
            for p in range(passes):
                found[(first + v) * passes + p, j] = values[j, p * at_once + v]


@inner(error_model="numpy")
def _keep_lines(line_amps, first, at_once, count, passes, found):  # type: ignore[no-untyped-def]
    """Set found[v passes + p] to the currents of the lines of the reads of a chunk."""
    for v in range(count):
        for p in range(passes):
            for j in range(found.shape[1]):
                found[(first + v) * passes + p, j] = line_amps[p * at_once + v, j]


@njit(nogil=True, fastmath=SUMS, error_model="numpy")
def read(thread, threads, vectors, passes, groups, tables, model, straps, readout, noise, results):  # type: ignore[no-untyped-def]
    """Do a thread's share of reading vectors through a tile, one of `threads` shares; see Tabulated for `groups`,
    `tables`, `model` and `straps`, whose lines are padded with zeros to the width of `rows`.

    vectors = (codes `[n]`, drives, begins `[vectors]`, offsets `[inputs]`): input i of vector v has the code
    codes[begins[v] + offsets[i]], of which pass p drives bit p. With drives `[codes]`, shares of full drive, it is
    driven by that of its code, in one pass; with drives `[n]` and no codes, by drives[begins[v] + offsets[i]].

    readout = (lines and signs `[parts, conversions]`, place values `[passes]`, slices of an output, and the arguments
    of `_convert`): conversion j is of signs[k, j] times the current of lines[k, j], for each part k. noise = (amperes,
    converter steps), each `[reads, conversions]` or empty. The conversions are of slices of outputs, those of an output
    next to each other.

    results = (currents of lines `[reads, lines]`, amperes and codes `[reads, conversions]`, sums `[m, n]`, first
    output, first vector, clipped `[threads, 2]`): each read is v passes + p; the first three are empty if they are not
    wanted; sums of output o and vector v are added to sums[first output + o, first vector + v].
    """
    codes, drives, begins, offsets = vectors
    per_block, field_rounds, rounds, length, summed = groups
    rows, changes, factors, group_of, shifts, rest, modes_at_rest, modes, weights, node_of, spots = tables[:11]
    bases, entries, counts, byte_weights, moments, ends, segment_nodes, segment_blocks = tables[11:]
    (currents, slopes, local_slopes, bends, mean_slope, shared, at_rest, to_blocks, at_blocks, shares, lifts_at_rest,
     lifts, balance, fixed, block_slopes, own, coupling, sums, together) = model  # fmt: skip
    metal = len(lifts) > 0
    (sense_lines, sense_signs, place_values, slices, top, low, step, gain, offset, bow, scale, shift, least,
     highest) = readout  # fmt: skip
    noise_amps, noise_steps = noise
    of_lines, of_amps, of_codes, of_sums, first_output, first_vector, clipped = results
    bits = len(drives) == 0
    lanes, nodes, blocks, outputs = rows.shape[1], len(mean_slope), len(coupling), sense_lines.shape[1]
    width, nothing = np.uint64(lanes), np.uint32(len(rows) - 1)
    at_once = READS // passes
    chunks = (len(begins) + at_once - 1) // at_once
    row, words = np.zeros(length, np.uint8), np.zeros(length // 64, np.uint64)
    bytes_of, volts = words.view(np.uint8), np.empty((0 if bits else READS, len(offsets)), np.float32)
    # The most rows of a read, and those that are stored at a time beyond its last.
    most = (len(node_of) if bits else 2 * len(node_of)) + FOUR * blocks + 8
    places, starts = np.empty(READS * most, np.uint32), np.zeros((READS, blocks + 1), np.uint64)
    before, balanced = np.empty(READS, np.float32), np.zeros(READS, np.float32)
    of_factors, of_shifts = np.empty(0 if bits else factors.shape[1], np.float32), np.empty(shifts.shape[1], np.float32)
    of_rows, weighed = np.zeros(factors.shape[1] if bits else len(rows), np.float32), np.empty(most, np.float32)
    of_rest, of_terms = np.zeros(rest.shape[1], np.float32), np.zeros(fixed.shape[1], np.float32)
    field, phi = np.empty((7, nodes, READS), np.float32), np.empty((modes.shape[1], READS), np.float32)
    terms, running, moved_on = np.empty((blocks, fixed.shape[1], READS), np.float32), field[0], field[1]
    rises, kinds = straps[1].shape[1], straps[3].shape[1]
    strap_amps, rise = np.empty((len(straps[1]), READS), np.float32), np.empty((rises, READS), np.float32)
    along, mean = np.empty((kinds, READS), np.float32), np.empty((rises // max(kinds - 1, 1), READS), np.float32)
    deviation, slope = np.zeros((READS, blocks, lanes), np.float32), np.zeros((READS, blocks, lanes), np.float32)
    line_amps = np.zeros((READS, lanes), np.float32)
    first_amps, of_metal = line_amps.reshape(-1), (*straps[:4], straps[4].reshape(-1))
    first_found = first_amps if blocks == 1 else deviation.reshape(-1)
    settled, moved = np.empty((blocks, lanes), np.float32), np.empty((blocks, lanes), np.float32)
    amps, seen = np.zeros((outputs, READS), np.float32), np.zeros((outputs, READS), np.float32)
    adc, values = np.zeros((outputs, READS), np.float32), np.zeros((outputs, READS), np.float32)
    places_of, used = np.zeros(READS, np.float32), np.zeros(READS, np.float32)
    for chunk in range(chunks * thread // threads, chunks * (thread + 1) // threads):
        first = chunk * at_once
        count = min(first + at_once, len(begins)) - first
        for n in range(nodes):
            for r in range(READS):
                running[n, r], moved_on[n, r] = np.nan, np.nan
        if bits:
            _choose_bits(
                codes, begins, offsets, spots, first, count, at_once, passes, row, words, bytes_of, bases, entries,
                counts, byte_weights, moments, ends, segment_nodes, segment_blocks, nothing, most, places, starts,
                running, moved_on,
            )  # fmt: skip
        else:
            _choose_volts(
                codes, drives, begins, offsets, first, count, per_block, weights, node_of, nothing, most, volts, places,
                starts, running,
            )  # fmt: skip
        _take_differences(running, before)
        if len(moments):
            _take_differences(moved_on, before)
            _share_with_next(running, moved_on)
        _solve_field(field_rounds, currents, slopes, local_slopes, bends, mean_slope, shared, at_rest, field)
        _take_terms(field, to_blocks, at_blocks, shares, balance, terms)
        if metal:
            _take_terms_of_straps(field, lifts_at_rest, lifts, shares, terms)
        _add_products(modes_at_rest, modes, field[1:3].reshape(-1), phi)
        _add_rows(
            rows.reshape(-1), changes.reshape(-1), rest.reshape(-1), fixed.reshape(-1), block_slopes.reshape(-1), width,
            bits, factors.reshape(-1), group_of, phi, volts, shifts.reshape(-1), of_factors, of_shifts, of_rows,
            weighed, places, starts, terms, of_rest, of_terms, at_once, count, passes, own.reshape(-1), coupling[0, 0],
            sums[0, 0], together.reshape(-1), balanced, first_found, slope.reshape(-1),
        )  # fmt: skip
        if blocks > 1:
            _settle(rounds, deviation, slope, coupling, sums, together, balanced, settled, moved, line_amps)
        if metal:
            _change_by_straps(of_metal, summed, field, first_amps, lanes, strap_amps, rise, along, mean)
        if len(of_lines):
            _keep_lines(line_amps, first, at_once, count, passes, of_lines)
        if not outputs:
            continue
        for r in range(READS):
            places_of[r], used[r] = NOUGHT, NOUGHT
        for p in range(passes):
            for v in range(count):
                places_of[p * at_once + v], used[p * at_once + v] = place_values[p], UNIT
        _sense(first_amps, width, sense_lines, sense_signs, amps)
        if len(noise_amps):
            _add_noise(noise_amps, first, at_once, count, passes, amps)
        _meet_converters(amps, top, low, step, gain, offset, bow, seen)
        if len(noise_steps):
            _add_noise(noise_steps, first, at_once, count, passes, seen)
        _convert(seen, top, scale, shift, places_of, adc, values)
        _count_clipped(amps, least, highest, used, clipped, thread)
        _add_sums(values, slices, first, at_once, count, passes, of_sums, first_output, first_vector)
        if len(of_amps):
            _keep(amps, first, at_once, count, passes, of_amps)
            _keep(adc, first, at_once, count, passes, of_codes)
