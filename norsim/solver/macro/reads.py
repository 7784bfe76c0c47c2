"""What reads of a tabulated model take and give: vectors of codes, what is sensed and converted, what is wanted."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Floats

Singles = NDArray[np.float32]
# Codes `[n]`, and the places in them of vectors and of a vector's inputs, uint64.
Vectors = tuple[NDArray[Any], NDArray[np.uint64], NDArray[np.uint64]]
# The arguments `readout` of norsim.solver.macro.kernels.read.
Readout = tuple[Any, ...]
NOTHING = np.empty((0, 0), dtype=np.float32)
NO_NOISE, NO_DRIVES, ONE = (NOTHING, NOTHING), np.empty(0, dtype=np.float32), np.float32(1)
# Lines come in multiples of norsim.solver.simd.NARROW.
LANES = 16
NO_READOUT: Readout = (np.empty((0, 0), dtype=np.uint64), NOTHING, NO_DRIVES, 1, ONE, *[NO_DRIVES] * 9)


class Wanted(NamedTuple):
    """The results of a read that are wanted, as arrays that it fills; those that are empty are not computed.

    `lines`   `[vectors x passes, lines]`: currents of the summing lines, amperes
    `amps`, `adc`   `[vectors x passes, outputs x slices]`: currents that are converted, amperes, and converter codes
    `sums`    `[m, n]`: the sum of output j and vector v is added to sums[`first_output` + j, `first_vector` + v]
    """

    lines: Singles = NOTHING
    amps: Singles = NOTHING
    adc: Singles = NOTHING
    sums: Floats = np.empty((0, 0))
    first_output: int = 0
    first_vector: int = 0


def single(values: np.ndarray[Any, Any]) -> Singles:
    """Return values of any shape in single precision, contiguous."""
    return np.ascontiguousarray(values, dtype=np.float32)


def padded(values: np.ndarray[Any, Any]) -> Singles:
    """Pad `[..., lines]` with lines of zeros to a multiple of `LANES`."""
    return single(np.pad(values, (*[(0, 0)] * (values.ndim - 1), (0, -values.shape[-1] % LANES))))
