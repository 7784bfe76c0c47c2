"""Rates of reads: a timeout of a simulator gives a lower bound, independently of its message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.backend import Backend
from norsim.chip.model import Chip
from norsim.errors import SolveError, SolveTimeoutError
from norsim.evaluation.rates import LONGEST_PROBE_SECONDS, Rate, measured
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.grid import place

CODES = np.ones((2, 5), dtype=np.uint8)


@dataclass(frozen=True)
class Failing(Backend):
    """A backend whose reads raise `problem`."""

    problem: SolveError

    name = "failing"
    own_process = True

    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        raise self.problem


def rate(chip: Chip, layer: QuantizedLayer, problem: SolveError) -> Rate:
    (part,) = place(layer, chip).tiles
    return measured(part, CODES, Failing(problem), jobs=2, alone=True)


@pytest.mark.parametrize("words", ["ngspice did not finish within 120 s and was stopped", "other words", ""])
def test_a_timeout_gives_a_lower_bound_for_any_message(
    small_chip: Callable[..., Chip], make_layer: Callable[..., QuantizedLayer], words: str
) -> None:
    found = rate(small_chip(), make_layer(5, 2), SolveTimeoutError(words))
    assert found == Rate(0.0, LONGEST_PROBE_SECONDS, at_least=True)


def test_another_error_with_the_message_of_a_timeout_is_raised(
    small_chip: Callable[..., Chip], make_layer: Callable[..., QuantizedLayer]
) -> None:
    with pytest.raises(SolveError, match="did not finish"):
        rate(small_chip(), make_layer(5, 2), SolveError("the sweep did not finish"))
