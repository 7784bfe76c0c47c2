"""Conversion of the currents of all passes to converter codes and sums in one step, compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from norsim.array.compiled import njit
from norsim.array.tile import Floats
from norsim.periphery.adc import Flaws, Ranges


def convert_and_add(
    amps: NDArray[np.floating],
    ranges: Ranges,
    flaws: Flaws,
    noise: NDArray[np.floating] | None,
    scale: Floats,
    shift: Floats,
    place_values: Floats,
    slices: int,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Convert amperes `[vectors x passes, outputs x slices]`, passes innermost, to converter codes and their sums.

    Codes are whole numbers of the same shape, sums are `[vectors, outputs]`, both in the precision of `amps`. A code c
    is `Flaws.convert` of the current, with `noise` in steps, same shape. It stands for c scale + shift, each `[outputs
    x slices]`, and is weighted in the sum by the `place_values` `[passes]`.
    """
    kind = amps.dtype.type
    codes = np.empty_like(amps)
    sums = np.zeros((len(amps) // len(place_values), amps.shape[1] // slices), dtype=kind)
    nothing = np.empty((0, 0), dtype=kind)
    _convert_and_add(
        np.ascontiguousarray(amps), *conversion(ranges, flaws, scale, shift, kind), ranges.bits,
        nothing if flaws.thresholds is None else flaws.thresholds.astype(kind),
        nothing if noise is None else noise.astype(kind), place_values.astype(kind), slices, codes, sums,
    )  # fmt: skip
    return codes, sums


def conversion(ranges: Ranges, flaws: Flaws, scale: Floats, shift: Floats, kind: type[np.floating]) -> tuple[Any, ...]:
    """Return the arguments of a kernel that converts, in a precision: the highest code, and `[outputs x slices]` low
    ends, steps, gains, offsets, bows, and the scale and shift of what a code stands for."""
    return (
        kind(ranges.top), flaws.low_amps(ranges).astype(kind), ranges.step_amps.astype(kind),
        (1 + flaws.gain).astype(kind), flaws.offset.astype(kind), (4 * flaws.bow).astype(kind), scale.astype(kind),
        shift.astype(kind),
    )  # fmt: skip


@njit(parallel=True, error_model="numpy")
def _convert_and_add(  # type: ignore[no-untyped-def]
    amps, top, low, step, gain, offset, bow, scale, shift, bits, thresholds, noise, place_values, slices, codes, sums
):
    passes = len(place_values)
    # With an integer, numba would compute in 64 bits.
    nought, one = amps.dtype.type(0), amps.dtype.type(1)
    for v in prange(len(sums)):
        for p in range(passes):
            read, place = v * passes + p, place_values[p]
            for j in range(amps.shape[1]):
                ideal = (amps[read, j] * gain[j] - low[j]) / step[j]
                share = ideal / top
                seen = ideal + offset[j] + bow[j] * share * (one - share)
                if len(noise):
                    seen += noise[read, j]
                if len(thresholds):
                    # As norsim.periphery.adc.searched.
                    found = 0
                    for bit in range(bits - 1, -1, -1):
                        trial = found | 1 << bit
                        if seen >= thresholds[j, trial]:
                            found = trial
                    code = nought + amps.dtype.type(found)
                else:
                    # Ties go to the even code, as in Adc.convert.
                    code = min(max(np.rint(seen), nought), top)
                codes[read, j] = code
                sums[v, j // slices] += place * (code * scale[j] + shift[j])
