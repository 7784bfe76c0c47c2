"""`macro` with straps that have a resistance: what each strap's own rise does to lines, in all forms of the model."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from norsim.array.tile import Floats
from norsim.solver import nodal
from norsim.solver.input_lines import driven
from norsim.solver.macro import build
from norsim.solver.macro.model import Macro
from norsim.solver.macro.on_device import on_device
from norsim.solver.macro.strap_response import hats
from norsim.solver.macro.tables import tabulate
from tests.solver.arrays import array_of, table_of
from tests.solver.test_macro import Built, line_errors

# Metal of the class of bitlines, 0.4 ohm a cell, and the largest and rms deviation from nodal of reads of up to 50 %
# density, and the rms that is left with straps that all rise alike, over that.
ENDS = {"one": (1.6e-4, 2.5e-5, 1.2), "both": (5e-5, 8e-6, 2.0)}


@lru_cache
def metal_tile(ends: str) -> Built:
    """Return a 256 x 64 tile of the preset with metal straps, its model, and its prepared form for nodal."""
    array = array_of("bit-serial", 256, 64, strap_ends=ends, strap_ohms=0.4)
    stimulus = array.stimulus(2, 1)
    drive, table = driven(stimulus), table_of(array.tile, stimulus)
    return array, build.build(array.tile, drive, table, torch.float64), nodal.prepare(array.tile, table)


def sparse_drives(vectors: int = 120) -> Floats:
    """Draw reads `[vectors, 256]` of 2 to 50 % density, the second half of them dense in a few places only."""
    random = np.random.default_rng(4)
    dense = random.uniform(0.02, 0.5, (vectors, 1)) * np.ones(256)
    places = np.clip(np.interp(np.arange(256), np.arange(0, 257, 32), random.uniform(-0.3, 0.7, 9)), 0, 1)
    dense[vectors // 2 :] *= 2 * np.stack([np.roll(places, shift) for shift in range(vectors - vectors // 2)])
    return (random.random((vectors, 256)) < dense).astype(np.float64)


def without_response(model: Macro) -> Macro:
    """Return the model with straps that all rise alike."""
    return replace(model, straps=replace(model.straps, of_straps=0 * model.straps.of_straps))


@pytest.mark.parametrize("ends", ENDS)
def test_lines_follow_the_rise_of_each_strap(ends: str) -> None:
    largest, rms, gain = ENDS[ends]
    array, model, prepared = metal_tile(ends)
    errors = line_errors((array, model, prepared), sparse_drives())
    alike = line_errors((array, without_response(model), prepared), sparse_drives())
    assert np.abs(errors).max() <= largest and errors.std() <= rms
    assert alike.std() > gain * errors.std()


def test_tables_on_any_device_are_the_model() -> None:
    array, model, _ = metal_tile("both")
    single = build.build(array.tile, model.drive, metal_tile("both")[2].table)
    found = tabulate(single, build.random_drives(array.tile, model.drive, 96, np.random.default_rng(1)))
    codes = (sparse_drives(40) * np.random.default_rng(2).integers(1, 16, (40, 256))).astype(np.uint8)
    lines = found.lines(codes, 4)
    bits = torch.from_numpy(np.stack([codes >> place & 1 for place in range(4)], axis=1).reshape(-1, 256).astype(float))
    scale = model.full_scale_amps
    assert lines.shape == (160, found.summed) and found.summed == array.tile.bitlines
    assert np.abs(lines - model.lines(bits).numpy()).max() <= 4e-5 * scale
    on_it = on_device(found).lines(torch.from_numpy(codes), 4)[:, : found.summed].numpy()
    assert np.abs(on_it - lines).max() <= 1e-6 * scale


def test_autograd_follows_the_response() -> None:
    _, model, _ = metal_tile("both")
    x = torch.from_numpy(np.random.default_rng(7).uniform(0.1, 0.5, (1, 256))).requires_grad_()
    (slopes,) = torch.autograd.grad(model.lines(x).sum(), x)
    step, shift = 1e-4, torch.zeros_like(x)
    shift[0, 100] = step
    with torch.no_grad():
        expected = (model.lines(x + shift).sum() - model.lines(x - shift).sum()) / (2 * step)
    torch.testing.assert_close(slopes[0, 100], expected, rtol=1e-6, atol=0.0)


@given(st.integers(1, 200), st.integers(1, 40))
def test_nodes_share_groups_and_keep_the_moment_of_their_currents(groups: int, apart: int) -> None:
    nodes = np.unique([*range(0, groups, apart), groups - 1])
    shares = hats(nodes, groups)
    assert (shares >= 0).all() and ((shares > 0).sum(axis=1) <= 2).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-12)
    if len(nodes) > 1:
        np.testing.assert_allclose(shares @ nodes, np.arange(groups), atol=1e-9)
