"""Which chip of a design it is, and the random numbers that determine it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from norsim.array.tile import Floats
from norsim.random_streams import Stream, generator

# The numbers of these steps determine past results, so they must not change. A new step needs no entry.
NUMBERS = {
    "programming": 0, "retention": 1, "read": 2, "threshold": 3, "telegraph": 4, "die": 5, "cell": 6, "broken": 7,
    "adc": 8, "dac": 9,
}  # fmt: skip


def number_of(step: str) -> int:
    """Return the number of a step's random stream: that of NUMBERS, else 31 bits of the SHA-256 of its name."""
    if step in NUMBERS:
        return NUMBERS[step]
    # The highest bit keeps these apart from the numbers above.
    return int.from_bytes(hashlib.sha256(step.encode()).digest()[:4], "big") | 1 << 31


@dataclass(frozen=True)
class Draw:
    """The source of a tile's random numbers: `seed`, number of the `chip`, and `place` of the tile on it.

    Each step, known by its name, has its own random stream, so changing one step leaves the numbers of all others
    unchanged.
    """

    seed: int
    chip: int
    place: tuple[int, ...] = ()

    def at(self, place: tuple[int, ...]) -> Draw:
        """Return the source of the same chip's numbers at another place."""
        return replace(self, place=place)

    def random(self, step: str) -> np.random.Generator:
        """Return the random stream of one step for this tile."""
        return generator(self.seed, Stream.TILE_SILICON, self.chip, number_of(step), *self.place)

    def of_chip(self, step: str) -> np.random.Generator:
        """Return the random stream of one step for the whole chip."""
        return generator(self.seed, Stream.CHIP_SILICON, self.chip, number_of(step))

    def normal(self, step: str, shape: tuple[int, ...]) -> Floats:
        """Draw standard normal numbers for a step, in an array of any shape."""
        return self.random(step).standard_normal(shape)


class Typical(Draw):
    """The mean cell instead of a random one: all normal numbers are 0."""

    def normal(self, step: str, shape: tuple[int, ...]) -> Floats:
        """Return zeros in an array of any shape."""
        return np.zeros(shape)


NOMINAL = Draw(0, 0)
TYPICAL = Typical(0, 0)
