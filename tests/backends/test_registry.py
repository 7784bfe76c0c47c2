"""Reads through backends: errors, many decks at a time, failures counted and named."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.backend import Backend
from norsim.backends.batch import read_all
from norsim.backends.programming import cell_amps, program_levels
from norsim.backends.registry import backend_named, read
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError, SimulatorError, SolveError
from norsim.jobs.workers import Threads

Request = tuple[Tile, Stimulus]


@pytest.fixture
def requests() -> list[Request]:
    """Return five small tiles of the preset's cell with wires, each with different reads."""
    random, cell = np.random.default_rng(3), load_chip("etox65").cell
    return [
        (
            Tile(random.uniform(3.5, 5.0, (3, 2)), cell, Wires(50.0, 100.0, 80.0), name=f"tile {number}"),
            Stimulus(random.choice([0.0, 5.0], (4, 3)), np.full((4, 2), 0.5)),
        )
        for number in range(5)
    ]


@pytest.fixture
def backend(
    register: Callable[..., str], switched: Callable[[Tile, Stimulus], Currents]
) -> Callable[[Callable[[Tile], None]], Backend]:
    """Return a function that registers a fast solver, which first calls `act` on the tile."""

    def acting(act: Callable[[Tile], None]) -> Backend:
        def solve(tile: Tile, stimulus: Stimulus) -> Currents:
            act(tile)
            return switched(tile, stimulus)

        return backend_named(register(solve))

    return acting


def test_an_unknown_backend_is_refused_with_a_list(requests: list[Request]) -> None:
    with pytest.raises(ConfigurationError, match="no backend 'hspice'; choose one of ideal, ngspice, ngspice-shared"):
        read(*requests[0], backend="hspice")


@pytest.mark.parametrize(("wordlines", "bitlines"), [(2, 2), (4, 2), (3, 1), (2, 3)])
def test_volts_of_the_wrong_shape_are_refused(requests: list[Request], wordlines: int, bitlines: int) -> None:
    stimulus = Stimulus(np.zeros((1, wordlines)), np.zeros((1, bitlines)))
    with pytest.raises(ConfigurationError, match=f"{wordlines} wordlines and {bitlines} bitlines do not match.*3 x 2"):
        read(requests[0][0], stimulus)


@pytest.mark.parametrize("name", ["ngspice", "ngspice-shared"])
def test_many_decks_at_a_time_give_the_same_bits(requests: list[Request], name: str) -> None:
    one, two = (read_all(requests, backend_named(name), Threads(jobs)) for jobs in (1, 2))
    for (tile, stimulus), a, b in zip(requests, one, two, strict=True):
        alone = read(tile, stimulus, name)
        for field in ("bitline", "source", "converged", "residual"):
            assert np.array_equal(getattr(a, field), getattr(b, field)), tile.name
            assert np.array_equal(getattr(a, field), getattr(alone, field)), tile.name
        assert a.backend == name and a.bitline.shape == (4, 2) and a.source.shape == (4, 1)
    assert len({currents.bitline.tobytes() for currents in one}) == 5


def test_progress_counts_up_to_the_end(requests: list[Request], backend: Callable[..., Backend]) -> None:
    seen: list[tuple[int, int]] = []
    read_all(requests, backend(lambda tile: None), Threads(2), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (5, 5)
    assert sorted(seen) == seen and all(total == 5 for _, total in seen)


def test_a_failed_deck_is_counted_and_named_and_the_rest_is_cancelled(
    requests: list[Request], backend: Callable[..., Backend]
) -> None:
    begun: list[str] = []

    def fail(tile: Tile) -> None:
        begun.append(tile.name)
        if tile.name == "tile 1":
            raise SolveError("the matrix is singular, kept in /folder")
        if tile.name == "tile 2":
            time.sleep(0.5)  # long enough for the failure to be noticed

    with pytest.raises(SolveError, match="^tile 1 failed 2 times: the matrix is singular, kept in /folder"):
        read_all(requests, backend(fail), Threads(1))
    assert begun == ["tile 0", "tile 1", "tile 1"]


def test_a_deck_that_fails_once_is_retried_and_logged(
    requests: list[Request], backend: Callable[..., Backend], caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[str] = []

    def fail(tile: Tile) -> None:
        begun.append(tile.name)
        if tile.name == "tile 1" and begun.count("tile 1") == 1:
            raise SolveError("killed")

    found = read_all(requests, backend(fail), Threads(2))
    assert len(found) == 5 and sorted(begun) == sorted([*(tile.name for tile, _ in requests), "tile 1"])
    assert caplog.messages == ["tile 1 failed and is tried again: killed"]


def test_every_failure_is_counted(requests: list[Request], backend: Callable[..., Backend]) -> None:
    def fail(tile: Tile) -> None:
        raise SolveError(f"no luck with {tile.name}")

    with pytest.raises(
        SolveError, match=r"^([2-5] units of work failed, first: )?tile \d failed 2 times: no luck with tile \d$"
    ):
        read_all(requests, backend(fail), Threads(5))


def test_another_kind_of_error_is_raised_unchanged(requests: list[Request], backend: Callable[..., Backend]) -> None:
    def fail(tile: Tile) -> None:
        raise SimulatorError("no ngspice")

    with pytest.raises(SimulatorError, match="^no ngspice$"):
        read_all(requests, backend(fail), Threads(2))


def test_a_real_failure_names_its_tile_and_its_folder(
    requests: list[Request], folders: Callable[[], list[Path]]
) -> None:
    cell = Cell("bad", ".subckt bad d g s b vt=3\nV1 d s 1\n.ends", "", "vt", 1.0, 9.0)
    broken = Tile([[3.0, 4.0]], cell, Wires(strap_every=1), name="the broken one")
    with pytest.raises(SolveError, match="the broken one failed 2 times: ngspice says") as caught:
        read_all([requests[0], (broken, Stimulus([[5.0]], [[0.5, 0.5]]))], backend_named("ngspice"), Threads(1))
    (folder,) = folders()
    assert str(folder) in str(caught.value) and caught.value.kept == (str(folder),)


def test_single_cells_are_returned_in_the_order_of_their_thresholds() -> None:
    cell = load_chip("etox65").cell
    thresholds = np.array([4.5, 4.0, 5.0, 4.2])
    amps = cell_amps(cell, thresholds, 5.0, 0.5)
    assert (np.argsort(-amps) == np.argsort(thresholds)).all()
    for volts, expected in zip(thresholds, amps, strict=True):
        assert cell_amps(cell, np.array([volts]), 5.0, 0.5) == pytest.approx([expected], rel=1e-9)


def test_levels_are_found_once_per_cell_and_encoding() -> None:
    chip, again = load_chip("etox65"), load_chip("etox65", ("adc.bits=4",))
    assert program_levels(chip.cell, chip.encoding) is program_levels(again.cell, again.encoding)
