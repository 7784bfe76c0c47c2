"""From the currents of all passes to converter codes and sums in one go, compiled by numba."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from norsim.array.tile import Floats
from norsim.periphery.adc import Adc


def convert_and_add(
    amps: NDArray[np.floating], adc: Adc, scale: Floats, shift: Floats, place_values: Floats
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Amperes `[vectors x passes, outputs]`, passes innermost -> converter codes, same shape, whole numbers, and sums
    `[vectors, outputs]`, both in the precision of `amps`.

    A code c, `Adc.convert` of its current, stands for c scale + shift, each `[outputs]`; in the sum a pass counts with
    its place value, `[passes]`.
    """
    kind = amps.dtype.type
    codes = np.empty_like(amps)
    sums = np.zeros((len(amps) // len(place_values), amps.shape[1]), dtype=kind)
    _convert_and_add(
        np.ascontiguousarray(amps), kind(adc.low_amps), kind(adc.step_amps), kind(2**adc.bits - 1),
        scale.astype(kind), shift.astype(kind), place_values.astype(kind), codes, sums,
    )  # fmt: skip
    return codes, sums


@njit(cache=True, parallel=True, error_model="numpy")
def _convert_and_add(amps, low, step, top, scale, shift, place_values, codes, sums):  # type: ignore[no-untyped-def]
    passes = len(place_values)
    for v in prange(len(sums)):
        for p in range(passes):
            read, place = v * passes + p, place_values[p]
            for j in range(amps.shape[1]):
                # Half-way currents go to the even code, as in Adc.convert.
                code = min(max(np.rint((amps[read, j] - low) / step), 0), top)
                codes[read, j] = code
                sums[v, j] += place * (code * scale[j] + shift[j])
