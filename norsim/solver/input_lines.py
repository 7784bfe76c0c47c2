"""How a tile is driven: which kind of line carries the input, and what a drive of 0 to 1 means in volts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from norsim.array.tile import Floats, Stimulus, Tile
from norsim.errors import ConfigurationError

Direction = Literal["wordlines", "bitlines"]


@dataclass(frozen=True)
class Driven:
    """How a tile is driven: by bits on `wordlines` under constant bitline volts, or by volts on `bitlines`.

    `top_volts` is what x = 1 means; `rest_volts` what the other kind of line is held at.
    """

    direction: Direction
    top_volts: float
    rest_volts: float

    def inputs(self, tile: Tile) -> int:
        """How many lines of `tile` carry the input."""
        return tile.wordlines if self.direction == "wordlines" else tile.bitlines

    def stimulus(self, x: Floats, tile: Tile) -> Stimulus:
        """Volts of drives `[vectors, inputs]` between 0 and 1."""
        if self.direction == "wordlines":
            return Stimulus(x * self.top_volts, np.full((len(x), tile.bitlines), self.rest_volts))
        return Stimulus(np.full((len(x), tile.wordlines), self.rest_volts), x * self.top_volts)

    def drives(self, stimulus: Stimulus) -> Floats:
        """`[vectors, inputs]` drives of volts, the inverse of `stimulus`."""
        volts = stimulus.wordline_volts if self.direction == "wordlines" else stimulus.bitline_volts
        return volts / self.top_volts


def driven(stimulus: Stimulus) -> Driven:
    """What kind of drive `stimulus` is: as it says itself, or as its volts show.

    Raises ConfigurationError for a drive that macro has no model of.
    """
    wordlines, bitlines = stimulus.wordline_volts, stimulus.bitline_volts
    top, one_bitline, one_wordline = float(wordlines.max()), np.ptp(bitlines) == 0, np.ptp(wordlines) == 0
    said, grounded = stimulus.driven, stimulus.source_volts == 0
    up = (said == "wordlines" and stimulus.full_volts) or top
    if said != "bitlines" and one_bitline and np.isin(wordlines, (0.0, up)).all() and grounded and up > 0:
        return Driven("wordlines", up, float(bitlines[0, 0]))
    full = stimulus.full_volts or float(bitlines.max())
    if said != "wordlines" and one_wordline and bitlines.min() >= 0 and grounded and full > 0:
        return Driven("bitlines", full, top)
    raise ConfigurationError(
        "macro models bits on wordlines under one bitline voltage, or volts on bitlines under one wordline "
        "voltage, with source lines at 0 V; use nodal for other drives"
    )
