"""The reduced model against nodal on new reads, its stated error, and its slopes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from norsim.array.cell import Cell
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError, SolveError
from norsim.periphery.encoding import full_scale_amps
from norsim.solver import nodal
from norsim.solver.input_lines import Driven, driven
from norsim.solver.macro import build, presolve
from norsim.solver.macro.model import Macro
from tests.solver.arrays import (
    ENCODINGS,
    LAYOUTS,
    NO_LOSS,
    Array,
    array_of,
    channel,
    characterized,
    table_of,
)

CHIPS = {"the default chip": (1.0, 1e-4), "wires times ten": (10.0, 1e-3)}
Built = tuple[Array, Macro, nodal.Prepared]


@lru_cache
def built(encoding: str, times: float, dtype: torch.dtype = torch.float32) -> Built:
    """Return a 64 x 32 tile, its reduced model, and its prepared form for nodal."""
    array = array_of(encoding, 64, 32, times)
    drive = driven(array.stimulus(6, 1))
    inputs = drive.inputs(array.tile)
    table = table_of(array.tile, drive.stimulus(np.array([np.zeros(inputs), np.ones(inputs)]), array.tile))
    return array, build.build(array.tile, drive, table, dtype), nodal.prepare(array.tile, table)


def fresh_drives(array: Array, seed: int, vectors: int = 200) -> Floats:
    """Draw drives `[vectors, inputs]` between 0 and 1, of all densities, as in that encoding."""
    random = np.random.default_rng(seed)
    x = (random.random((vectors, array.inputs)) < random.uniform(0.02, 0.98, (vectors, 1))).astype(np.float64)
    return x if array.encoding.name == "bit-serial" else x * random.integers(0, 16, x.shape) / 15


def line_errors(found: Built, x: Floats) -> Floats:
    """Return deviations `[vectors, lines]` from nodal, in the unit of the model's error."""
    array, model, prepared = found
    currents = nodal.solve(prepared, model.drive.stimulus(x, array.tile))
    exact = currents.bitline if model.drive.direction == "wordlines" else currents.source
    difference: Floats = (model.lines(torch.from_numpy(x)).numpy() - exact) / model.full_scale_amps
    return difference


@pytest.mark.parametrize(("times", "bound"), CHIPS.values(), ids=CHIPS.keys())
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_macro_is_near_nodal_on_reads_it_has_not_seen(encoding: str, times: float, bound: float) -> None:
    array = built(encoding, times)[0]
    for seed in (11, 12):
        stimulus = array.stimulus(40, seed)
        reduced, exact = (read(array.tile, stimulus, backend) for backend in ("macro", "nodal"))
        assert array.difference(reduced, exact) <= bound
    assert reduced.converged.all() and reduced.residual.max() <= bound and reduced.backend == "macro"


@pytest.mark.parametrize("times", [1.0, 10.0])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_error_it_states_is_honest(encoding: str, times: float) -> None:
    found = built(encoding, times)
    worst = float(np.abs(line_errors(found, fresh_drives(found[0], 21))).max())
    assert 0.5 * worst <= found[1].error
    assert found[1].error <= 20 * worst  # and not too pessimistic


# In linear-pair the model takes the cell as a parabola over the codes; higher orders remain as its error.
@pytest.mark.parametrize(("encoding", "bound"), [("bit-serial", 1e-5), ("linear-pair", 2e-5)])
def test_without_wires_a_line_carries_the_sum_of_its_cells(
    encoding: str, bound: float, exact_sums: Callable[[Array, Stimulus], Floats]
) -> None:
    array = array_of(encoding, 32, 20, **NO_LOSS)
    stimulus = array.stimulus(6, 1)
    found = read(array.tile, stimulus, "macro")
    lines = found.bitline if encoding == "bit-serial" else found.source
    scale = full_scale_amps(array.encoding, array.inputs, 4, 4)
    assert np.abs(lines - exact_sums(array, stimulus)).max() <= bound * scale


@pytest.mark.parametrize("wires", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_macro_knows_all_layouts_that_bits_can_be_read_in(resistor_cell: Cell, wires: Wires) -> None:
    """The number of rows is odd, so the last group is not full."""
    random = np.random.default_rng(6)
    tile = Tile(random.choice([3.2, 3.9, 4.4, 5.5], (31, 10)), resistor_cell, wires)
    drive = Driven("wordlines", 5.0, 0.5)
    x = np.r_[np.ones((1, 31)), random.integers(0, 2, (60, 31)).astype(np.float64)]
    stimulus = drive.stimulus(x, tile)
    table = characterized(tile, drive.stimulus(np.array([np.zeros(31), np.ones(31)]), tile), channel)
    model = build.build(tile, drive, table)
    exact = nodal.solve(nodal.prepare(tile, table), stimulus).bitline
    worst = np.abs(model.lines(torch.from_numpy(x)).numpy() - exact).max() / model.full_scale_amps
    assert worst <= 2 * model.error
    assert worst <= 1e-3


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_autograd_gives_the_slopes_that_differences_give(encoding: str) -> None:
    array, model, _ = built(encoding, 10.0, torch.float64)
    x = torch.from_numpy(np.random.default_rng(7).uniform(0.2, 0.8, (2, array.inputs)))
    weights = torch.from_numpy(np.random.default_rng(8).normal(size=model.together.shape[1]))

    def loss(at: torch.Tensor) -> torch.Tensor:
        return (model.lines(at) / model.full_scale_amps) @ weights

    x.requires_grad_()
    (slopes,) = torch.autograd.grad(loss(x).sum(), x)
    assert slopes.abs().min() > 0
    step = 1e-4
    with torch.no_grad():
        for k in (0, 1, array.inputs // 2, array.inputs - 1):
            shift = torch.zeros_like(x)
            shift[:, k] = step
            expected = (loss(x + shift) - loss(x - shift)) / (2 * step)
            torch.testing.assert_close(slopes[:, k], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_single_precision_is_enough_and_every_run_gives_the_same(encoding: str) -> None:
    array, single, prepared = built(encoding, 10.0)
    x, double = fresh_drives(array, 9), built(encoding, 10.0, torch.float64)[1]
    again = build.build(array.tile, single.drive, prepared.table)
    found, exact = single.lines(torch.from_numpy(x)), double.lines(torch.from_numpy(x))
    assert found.dtype == torch.float32 and exact.dtype == torch.float64
    assert single.blocks == double.blocks and single.rounds == double.rounds
    assert float((found - exact).abs().max()) <= 1e-5 * single.full_scale_amps
    assert torch.equal(single.lines(torch.from_numpy(x)), found)
    assert torch.equal(again.lines(torch.from_numpy(x)), found) and again.error == single.error


def test_vectors_are_taken_in_parts_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    array, model, _ = built("bit-serial", 10.0, torch.float64)
    x = torch.from_numpy(fresh_drives(array, 10, 67))
    together = model.lines(x)
    monkeypatch.setattr("norsim.solver.macro.model.VALUES_AT_ONCE", 1)
    torch.testing.assert_close(model.lines(x), together, rtol=1e-12, atol=0)
    torch.testing.assert_close(model.lines(x[40:41]), together[40:41], rtol=1e-12, atol=0)


def refused(gates: Floats, volts: Floats, source_volts: float = 0.0) -> None:
    array = array_of("bit-serial", 12, 10)
    problem = "macro models only bits on wordlines.*use the nodal backend for other drives"
    with pytest.raises(ConfigurationError, match=problem):
        read(array.tile, Stimulus(gates, volts, source_volts), "macro")


def test_a_drive_without_a_model_is_refused() -> None:
    random = np.random.default_rng(0)
    mixed, bits = random.uniform(0, 0.5, (3, 10)), random.choice([0.0, 5.0], (3, 12))
    refused(bits, mixed)  # bits on wordlines and volts on bitlines
    refused(random.choice([0.0, 4.0, 5.0], (3, 12)), np.full((3, 10), 0.5))  # three gate levels
    refused(bits, np.full((3, 10), 0.5), source_volts=0.1)
    refused(np.full((3, 12), 5.0), mixed - 0.2)  # volts below the source line's


def test_drain_volts_on_strapped_source_lines_are_refused() -> None:
    tile = Tile(np.full((4, 3), 4.1), load_chip("etox65").cell, Wires(0.4, 20.0, 20.0))
    volts = np.array([[0.0, 0.02, 0.05]])
    with pytest.raises(ConfigurationError, match="only if each row has its own line, sensed at its end"):
        read(tile, Stimulus(np.full((1, 4), 5.0), volts), "macro")


def test_a_tile_that_no_reduced_model_fits_is_refused_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    array, model, prepared = built("bit-serial", 10.0)
    monkeypatch.setattr(build, "REFUSED", 0.5 * model.error)
    with pytest.raises(SolveError, match=r"macro does not fit NOR-flash tile: it deviates by .* use the nodal backend"):
        build.build(array.tile, model.drive, prepared.table)


@pytest.mark.parametrize("code", [0, 15])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_equal_codes_on_all_inputs_are_read_like_any_others(encoding: str, code: int) -> None:
    """A layer whose inputs are all 0, or all saturated, is not unusual."""
    array = array_of(encoding, 12, 10)
    stimulus = array.encoding.drive(np.full((2, array.inputs), code, dtype=np.uint8), array.outputs, 4)
    reduced, exact = (read(array.tile, stimulus, backend) for backend in ("macro", "nodal"))
    assert array.difference(reduced, exact) <= 1e-4


def test_products_of_bits_add_up_to_the_states_they_stand_for() -> None:
    """Inclusion and exclusion: the sum over the features that a state has is its level."""
    for size in (1, 2, 3):
        states = presolve.subsets(size)
        levels = np.random.default_rng(size).random(len(states))
        of_features = presolve._inclusion(states) @ levels
        for state, level in zip(states, levels, strict=True):
            had = [set(feature) <= set(state) for feature in states]
            assert of_features[had].sum() == pytest.approx(level, rel=1e-12)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_each_part_of_the_model_brings_it_nearer_to_nodal(encoding: str) -> None:
    array, model, prepared = built(encoding, 10.0, torch.float64)
    random = np.random.default_rng(0)
    solved = presolve.presolve(prepared, model.drive, random)
    fit = torch.from_numpy(build.random_drives(array.tile, model.drive, 96, random))
    x = fresh_drives(array, 13, 50)

    def whole(blocks: int) -> Macro:
        return build.assemble(array.tile, model.drive, solved, None, fit, blocks, model.full_scale_amps, torch.float64)

    def error(part: Macro) -> float:
        return float(np.abs(line_errors((array, part, prepared), x)).max())

    def without(rows: slice) -> Macro:
        """Return the mean field's state without part of its effect on the drive."""
        field = whole(1).field
        response, shift = field.response.clone(), field.shift.clone()
        response[rows], shift[rows] = 0.0, 0.0
        return replace(whole(1), field=replace(field, response=response, shift=shift))

    nodes = whole(1).field.mean_slope.numel()
    volts, gain = slice(1, 1 + nodes), slice(1 + nodes, None)
    assert error(whole(4)) < 0.7 * error(whole(1))
    assert error(whole(1)) < 0.6 * error(without(gain)) < 0.3 * error(without(volts))
    assert error(whole(4)) < 0.5 * error(replace(whole(4), rounds=0))
