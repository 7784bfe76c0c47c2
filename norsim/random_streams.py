"""Random streams: one per purpose, so that no two purposes share random numbers.

A generator is seeded with the user's seed, the number of its stream, and indices that separate the draws of one stream
(a batch, a layer, a chip). Stream numbers must be unique and must not change, because past results depend on them.
"""

from __future__ import annotations

from enum import IntEnum, unique
from numbers import Integral

import numpy as np

from norsim.errors import ConfigurationError


@unique
class Stream(IntEnum):
    """The purposes of random numbers."""

    CALIBRATION_READS = 1
    PROOF_SAMPLE = 2
    TEST_VECTORS = 3
    CALIBRATION_IMAGES = 4
    TILE_SILICON = 5
    CHIP_SILICON = 6
    READ_NOISE = 7
    FINE_TUNING_NOISE = 8
    REPORT_VECTORS = 9
    FINE_TUNING_CHIPS = 20
    ATTRIBUTION_ORDERS = 21
    IMAGE_BOOTSTRAP = 22
    CHIP_INTERVALS = 23
    READ_BOOTSTRAP = 24


def generator(seed: int, stream: Stream, *place: int) -> np.random.Generator:
    """Return the generator of `stream` for `seed`; `place` separates its draws, for example by batch.

    Raises ConfigurationError for a seed that is not an integer of at least 0.
    """
    if not isinstance(seed, Integral) or seed < 0:
        raise ConfigurationError(f"seed is {seed!r}; expected an integer of at least 0")
    return np.random.default_rng([seed, stream, *place])
