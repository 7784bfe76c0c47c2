"""Retention between two cards of a cell, against the square law by hand and the aged card in ngspice."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from norsim.backends.programming import cell_amps
from norsim.backends.registry import read
from norsim.chip.load import load_chip, presets
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.grid import place
from norsim.tiling.program import ProgrammedTile, program_tile

YEARS = 10 * 365.25 * 86400
CARD = ".model {name} nmos level=1 vto={vto} kp={kp} lambda=0.05\n"


def chip(folder: Path, vto: float, kp: float, seconds: float) -> Chip:
    """Return a square-law chip whose aged card has another threshold and transconductance than 1 V and 60 uA/V^2."""
    cards = CARD.format(name="young", vto=1.0, kp=60e-6) + CARD.format(name="old", vto=vto, kp=kp)
    (folder / "cards.lib").write_text(f"* cards\n{cards}")
    content = yaml.safe_load(presets()["square-law"].read_text())
    content["cell"] = {
        "models": ["cards.lib"], "model": "young", "instance": {"w": "1u", "l": "5u"}, "erased": "1 V",
        "programmed": "2.5 V", "end_of_life": {"model": "old", "after": f"{YEARS} s"},
    }  # fmt: skip
    content["tile"] = {"wordlines": 32, "bitlines": 16}
    content["silicon"] = {"time": f"{seconds} s"}
    (folder / "chip.yaml").write_text(yaml.safe_dump(content))
    return load_chip(folder / "chip.yaml")


def programmed(chip: Chip, layer: QuantizedLayer) -> ProgrammedTile:
    return program_tile(place(layer, chip).tiles[0])


def test_thresholds_move_with_the_logarithm_of_time(tmp_path: Path, make_layer: Callable[..., QuantizedLayer]) -> None:
    """By hand: a card of 0.2 V more shifts each cell by that at the end, and by its share of decades before."""
    layer = make_layer(16, 8)
    fresh = programmed(chip(tmp_path, 1.2, 60e-6, 0.0), layer).tile
    for seconds in (3600.0, YEARS):
        moved = programmed(chip(tmp_path, 1.2, 60e-6, seconds), layer).tile.thresholds - fresh.thresholds
        np.testing.assert_allclose(moved, 0.2 * math.log1p(seconds) / math.log1p(YEARS), atol=2e-6)
    with pytest.raises(ConfigurationError, match=r"beyond the end of life .* nothing is extrapolated"):
        programmed(chip(tmp_path, 1.2, 60e-6, 2 * YEARS), layer)


def test_at_the_end_a_cell_conducts_what_the_aged_card_does(
    tmp_path: Path, make_layer: Callable[..., QuantizedLayer]
) -> None:
    """Each cell alone to a hundredth of a step, and a tile with wires to 1e-3 of full scale, for a card that loses a
    tenth of its gain as well: there the volts differ from those of the read."""
    layer = make_layer(16, 8)
    one = chip(tmp_path, 1.1, 54e-6, YEARS)
    fresh, old = programmed(replace(one, silicon=one.silicon.fresh()), layer), programmed(one, layer)
    assert one.end_of_life is not None
    aged = replace(fresh.tile, cell=one.end_of_life.cell)
    alone, expected = (
        cell_amps(tile.cell, tile.thresholds.ravel(), *one.encoding.verify_volts) for tile in (old.tile, aged)
    )
    top = float(one.encoding.level_amps.max())
    np.testing.assert_allclose(alone, expected, atol=1e-2 * top / 15)
    assert (
        np.abs(alone - cell_amps(one.cell, fresh.tile.thresholds.ravel(), *one.encoding.verify_volts)).max() > top / 9
    )
    stimulus = old.drive(np.random.default_rng(0).integers(0, 16, (3, 16), dtype=np.uint8))
    exact = read(aged, stimulus, "ngspice").bitline
    for backend in ("ngspice", "nodal", "macro"):
        away = np.abs(read(old.tile, stimulus, backend).bitline - exact).max()
        assert away <= 1e-3 * one.encoding.lsb_amps * 15 * 16
