"""Random streams: one per purpose, so that no two purposes share random numbers.

A generator is seeded with the user's seed, the number of its stream, and indices that separate the draws of one stream
(a layer, a chip). Stream numbers must be unique and must not change, because past results depend on them.

Noise that is drawn at each read is counted instead: a key, and the number of the image and of the layer's call,
determine a block of numbers, in which position, pass and line are counted. So it does not matter which images are
computed together, by whom or in which order. The generator is Philox (Salmon et al., "Parallel random numbers: as easy
as 1, 2, 3", 2011).
"""

from __future__ import annotations

from enum import IntEnum, unique
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

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
    CALIBRATION_NOISE = 12
    PROOF_CELLS = 13
    FINE_TUNING_CHIPS = 20
    ATTRIBUTION_ORDERS = 21
    IMAGE_BOOTSTRAP = 22
    CHIP_INTERVALS = 23
    READ_BOOTSTRAP = 24
    BIT_IMAGES = 25
    KIT_TRANSISTORS = 26
    PROOF_TILES = 27


def generator(seed: int, stream: Stream, *place: int) -> np.random.Generator:
    """Return the generator of `stream` for `seed`; `place` separates its draws, for example by batch.

    Raises ConfigurationError for a seed that is not an integer of at least 0.
    """
    return np.random.default_rng(_sequence(seed, stream, *place))


def block_key(seed: int, stream: Stream, *place: int) -> NDArray[np.uint64]:
    """Return the key `[2]` of a stream that is counted by image and call, for `block`; arguments as of `generator`."""
    return _sequence(seed, stream, *place).generate_state(2, np.uint64).astype(np.uint64)


def block(key: NDArray[np.uint64], image: int, call: int = 0) -> np.random.Generator:
    """Return the generator of the block of numbers of one image and one call of a layer, for a `key` `[2]`.

    A block has 2^64 times four numbers of 64 bits, and no two blocks of a key overlap.
    """
    counter = np.array([0, call, image, 0], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def _sequence(seed: int, stream: Stream, *place: int) -> np.random.SeedSequence:
    if not isinstance(seed, Integral) or seed < 0:
        raise ConfigurationError(f"seed is {seed!r}; expected an integer of at least 0")
    return np.random.SeedSequence([int(seed), stream, *place])
