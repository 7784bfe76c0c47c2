"""Where each random number comes from: one stream per purpose, so that no two purposes share their numbers.

A generator is seeded with the user's seed, the number of its stream, and whatever tells draws of one stream apart (a
batch, a layer, a chip). A number must not be used twice and must not change: it decides what past results were drawn
from.
"""

from __future__ import annotations

from enum import IntEnum, unique
from numbers import Integral

import numpy as np

from norsim.errors import ConfigurationError


@unique
class Stream(IntEnum):
    """What random numbers are drawn for."""

    CALIBRATION_READS = 1
    PROOF_SAMPLE = 2
    TEST_VECTORS = 3
    CALIBRATION_IMAGES = 4
    TILE_SILICON = 5
    CHIP_SILICON = 6
    READ_NOISE = 7
    FINE_TUNING_NOISE = 8
    REPORT_VECTORS = 9


def generator(seed: int, stream: Stream, *place: int) -> np.random.Generator:
    """The generator of `stream` under `seed`; `place` tells its draws apart, for example by batch.

    Raises ConfigurationError for a seed that is not an integer of at least 0.
    """
    if not isinstance(seed, Integral) or seed < 0:
        raise ConfigurationError(f"seed is {seed!r}; expected an integer of at least 0")
    return np.random.default_rng([seed, stream, *place])
