"""Rates of reads: a timeout of a simulator gives a lower bound, independently of its message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.backend import Backend, uncounted
from norsim.backends.macro import Macro
from norsim.backends.nodal import Nodal
from norsim.backends.registry import backend_named
from norsim.chip.model import Chip
from norsim.errors import SolveError, SolveTimeoutError
from norsim.evaluation.dry_run.estimate import Work
from norsim.evaluation.dry_run.rates import LONGEST_PROBE_SECONDS, Rate, kept_bytes, measured, near
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.grid import place
from norsim.tiling.program import program_tile

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
    chip, layer = small_chip(), make_layer(5, 2)
    found = rate(chip, layer, SolveTimeoutError(words))
    cells = program_tile(place(layer, chip).tiles[0]).tile.thresholds
    assert found.program > 0
    found = replace(found, program=0.0, once=0.0)
    assert found == Rate(0.0, LONGEST_PROBE_SECONDS, at_least=True, kept_bytes=cells.nbytes)


def test_another_error_with_the_message_of_a_timeout_is_raised(
    small_chip: Callable[..., Chip], make_layer: Callable[..., QuantizedLayer]
) -> None:
    with pytest.raises(SolveError, match="did not finish"):
        rate(small_chip(), make_layer(5, 2), SolveError("the sweep did not finish"))


def test_a_tile_keeps_its_cells_and_its_model(
    small_chip: Callable[..., Chip], make_layer: Callable[..., QuantizedLayer]
) -> None:
    array = program_tile(place(make_layer(5, 2), small_chip()).tiles[0])
    cells = array.tile.thresholds.nbytes
    assert kept_bytes(array, Nodal()) == cells
    model = Macro().model(*array.request())
    assert cells + model.rows.nbytes + model.model.own.numpy().nbytes < kept_bytes(array, Macro()) < 2**20


@pytest.mark.parametrize(("varied", "chips", "kept", "built"), [
    (True, 1, 1, 0), (True, 5, 1, 4), (True, 5, 2, 0), (True, 5, 0, 5), (False, 5, 1, 0),
])  # fmt: skip
def test_models_of_chips_that_are_not_kept_count(
    small_chip: Callable[..., Chip], make_layer: Callable[..., QuantizedLayer], own_arrays: Path,
    varied: bool, chips: int, kept: int, built: int,
) -> None:  # fmt: skip
    settings = ("silicon.programming={scale: 20 nA, knee: 200 nA}",) if varied else ()
    # Of other weights than those of the other cases, whose models this process has.
    macro, layer = Macro(), make_layer(5, 2, seed=100 * chips + 10 * kept + varied)
    for number in range(kept):
        chip = small_chip(*settings)
        chip = replace(chip, draw=replace(chip.draw, chip=number))
        macro.prepare([program_tile(place(layer, chip).tiles[0]).request()], uncounted)
    part, work = place(layer, small_chip(*settings)).tiles[0], Work(jobs=1)
    rate = Rate(start=10.0, read=0.0, kept_bytes=0)
    work.rates[macro.name, False, part.cell_codes().shape] = rate
    work.add(part, CODES, macro, reads=100, starts=chips, together=1)
    assert work.own == built * rate.start


def test_a_simulators_rate_for_a_similar_tile_is_scaled_by_the_cells() -> None:
    ngspice, known = backend_named("ngspice"), Rate(1.0, 2.0, 300.0, kept_bytes=1000)
    rate = {("ngspice", True, (64, 32)): known, ("ngspice", False, (16, 4)): known}
    found = near(rate, ngspice, True, (64, 64))
    assert found == Rate(2.0, 4.0, 600.0, kept_bytes=2000, scaled=True)
    # Neither one that is scaled itself, nor of much larger tiles, nor of many reads, nor of a backend without decks.
    rate["ngspice", True, (64, 64)] = found
    assert near(rate, ngspice, True, (256, 64)) is None
    assert near(rate, ngspice, False, (16, 8)) is None
    assert near({("nodal", True, (64, 32)): known}, backend_named("nodal"), True, (64, 32)) is None


def test_a_models_rate_has_all_that_a_run_does_for_a_tile(
    small_chip: Callable[..., Chip], make_layer: Callable[..., QuantizedLayer], own_arrays: Path
) -> None:
    part = place(make_layer(5, 2), small_chip()).tiles[0]
    found = measured(part, CODES, Macro(), jobs=1, alone=False)
    assert min(found.program, found.start, found.fit, found.call + found.read) > 0 and found.once >= 0


def test_what_only_the_first_read_takes_counts_once(
    small_chip: Callable[..., Chip], make_layer: Callable[..., QuantizedLayer], monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = Rate(0.0, 0.25, call=2.0, program=10.0, fit=100.0, once=1000.0)
    monkeypatch.setattr("norsim.evaluation.dry_run.work.measured", lambda *_: rate)
    part, work = place(make_layer(5, 2), small_chip()).tiles[0], Work(jobs=1)
    work.add(part, CODES, Nodal(), reads=4, starts=0, together=1, programs=1, fits=1)
    assert work.own == 1000 + 10 + 100 + 1
    work.add(part, CODES, Nodal(), reads=8, starts=0, together=1, calls=3)
    assert work.own == 1000 + 10 + 100 + 1 + 2 + 6
