"""Drive of a tile: which kind of line carries the input, and the volts of a drive from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from norsim.array.tile import Floats, Stimulus, Tile
from norsim.errors import ConfigurationError

Direction = Literal["wordlines", "bitlines"]


@dataclass(frozen=True)
class Driven:
    """A kind of drive: bits or levels on `wordlines` under constant bitline volts, or volts on `bitlines`.

    `top_volts` are the volts of drive 1, `off_volts` those of drive 0; the other kind of line is held at `rest_volts`.
    `levels` are the volts of equally spaced drives from 0 to 1; empty if volts are in proportion to the drive.
    """

    direction: Direction
    top_volts: float
    rest_volts: float
    off_volts: float = 0.0
    levels: tuple[float, ...] = ()

    def inputs(self, tile: Tile) -> int:
        """Return the number of lines of `tile` that carry the input."""
        return tile.wordlines if self.direction == "wordlines" else tile.bitlines

    def stimulus(self, x: Floats, tile: Tile) -> Stimulus:
        """Convert drives `[vectors, inputs]` between 0 and 1 to volts."""
        if self.levels:
            volts = np.interp(x, np.linspace(0, 1, len(self.levels)), self.levels)
            return Stimulus(volts, np.full((len(x), tile.bitlines), self.rest_volts))
        volts = self.off_volts + x * (self.top_volts - self.off_volts)
        if self.direction == "wordlines":
            return Stimulus(volts, np.full((len(x), tile.bitlines), self.rest_volts))
        return Stimulus(np.full((len(x), tile.wordlines), self.rest_volts), volts)

    def drives(self, stimulus: Stimulus) -> Floats:
        """Convert volts to drives `[vectors, inputs]`, the inverse of `stimulus`."""
        volts = stimulus.wordline_volts if self.direction == "wordlines" else stimulus.bitline_volts
        if self.levels:
            drives: Floats = np.interp(volts, self.levels, np.linspace(0, 1, len(self.levels)))
            return drives
        return (volts - self.off_volts) / (self.top_volts - self.off_volts)


def driven(stimulus: Stimulus) -> Driven:
    """Return the kind of drive of `stimulus`, as it states itself or as its volts show.

    Raises ConfigurationError for a drive that is neither.
    """
    wordlines, bitlines = stimulus.wordline_volts, stimulus.bitline_volts
    top, one_bitline, one_wordline = float(wordlines.max()), np.ptp(bitlines) == 0, np.ptp(wordlines) == 0
    stated, grounded = stimulus.driven, stimulus.source_volts == 0
    if stated == "wordlines" and stimulus.levels and one_bitline and grounded:
        return Driven("wordlines", stimulus.levels[-1], float(bitlines[0, 0]), stimulus.levels[0], stimulus.levels)
    up, off = (stated == "wordlines" and stimulus.full_volts) or top, stimulus.off_volts
    if stated != "bitlines" and one_bitline and np.isin(wordlines, (off, up)).all() and grounded and up > max(off, 0.0):
        return Driven("wordlines", up, float(bitlines[0, 0]), off)
    full = stimulus.full_volts or float(bitlines.max())
    if stated != "wordlines" and one_wordline and bitlines.min() >= 0 and grounded and full > 0:
        return Driven("bitlines", full, top)
    raise ConfigurationError(
        "macro models only bits on wordlines under one bitline voltage, or volts on bitlines under one wordline "
        "voltage, with source lines at 0 V; use the nodal backend for other drives"
    )
