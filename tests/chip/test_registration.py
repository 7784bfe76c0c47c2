"""An encoding and a cell non-ideality need one file each, and one line each in their registries."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from norsim.array.non_idealities import registry
from norsim.array.variation import PERFECT
from norsim.backends.registry import read
from norsim.chip.load import load_chip, read_chip_file
from norsim.chip.model import Chip
from norsim.commands.shared.complete import chip_keys
from norsim.commands.shared.options import chip_options
from norsim.errors import ConfigurationError
from norsim.periphery.registry import ENCODINGS, read_keys
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.grid import place
from norsim.tiling.program import program_tile
from tests.chip.disturb import Disturb
from tests.chip.high_bit_first import HighBitFirst, HighBitFirstSection

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two lines."""
    monkeypatch.setitem(ENCODINGS, HighBitFirst.name, HighBitFirstSection)
    monkeypatch.setattr(registry, "NON_IDEALITIES", (*registry.NON_IDEALITIES, Disturb))


def chip_with(**settings: Any) -> Chip:
    """Return a chip with the new encoding on lossless wires, with converters of 24 bits."""
    keys = read_chip_file("etox65")[0]["bit_serial"]
    zeros = dict.fromkeys(("bitline", "bitline_end", "source_line"), "0 ohm")
    keys = {**keys, "wires": {**keys["wires"], **zeros, "strap_ends": "all"}}
    size = {"tile.wordlines": 16, "tile.bitlines": 16, "adc.bits": 24}
    return load_chip("etox65", {"high_bit_first": keys, "encoding": "high-bit-first", **size, **settings})


def test_a_tile_is_read_with_them(make_layer: Callable[..., QuantizedLayer]) -> None:
    plain, disturbed = chip_with(), chip_with(**{"silicon.disturb": "2 mV"})
    assert isinstance(plain.encoding, HighBitFirst) and plain.silicon == PERFECT
    assert disturbed.silicon.mechanisms == (Disturb(2e-3),)
    codes = np.random.default_rng(1).integers(0, 16, (3, 12), dtype=np.uint8)
    sums, thresholds = [], []
    for chip in (plain, disturbed):
        (part,) = place(make_layer(12, 5), chip).tiles
        array = program_tile(part)
        read_out = part.read_out(codes, part.amps(read(array.tile, array.drive(codes), "ngspice")))
        sums.append(read_out.sums)
        thresholds.append(array.tile.thresholds)
    ideal = part.ideal_sums(codes)
    assert sums[0] == pytest.approx(ideal, abs=1e-2)
    assert np.abs(sums[1] - ideal).max() > 0.1
    shift = thresholds[1] - thresholds[0]
    later = np.arange(12)[::-1, None]
    expected = 2e-3 * later * part.draw.random("disturb").standard_exponential(shift.shape)
    np.testing.assert_allclose(shift, np.minimum(expected, 7.5 - thresholds[0]), rtol=0, atol=1e-12)


def test_their_keys_are_checked_like_all_others() -> None:
    assert chip_with(**{"high_bit_first.wordline_rise": "3 ns"}).wordline_rise_seconds == pytest.approx(3e-9)
    for settings, problem in (
        ({"silicon.disturb": "-1 mV"}, "silicon.disturb: Input should be greater than or equal to 0"),
        ({"silicon.disturb": 1}, "give a quantity with its unit, for example '1 volt'"),
        ({"silicon.distrub": "1 mV"}, "no key 'distrub'; did you mean 'disturb'"),
        ({"high_bit_first.top_levl": "1 uA"}, "no key 'top_levl'; did you mean 'top_level'"),
        ({"high_bit_first": None}, "no section `high_bit_first`"),
        (
            {"encoding": "low-bit-first"},
            "'bit-serial', 'linear-pair', 'pulse-width', 'gate-coupled' or 'high-bit-first'",
        ),
    ):
        with pytest.raises(ConfigurationError, match=problem):
            chip_with(**settings)


def test_options_completion_documents_and_the_cell_check_know_them() -> None:
    keys = set(chip_keys())
    assert {"silicon.disturb=", "high_bit_first.top_level=", "high_bit_first.wires.strap_every="} <= keys
    command = click.command()(chip_options(lambda **options: None))
    (option,) = (one for one in command.params if one.name == "encoding")
    assert isinstance(option.type, click.Choice) and "high-bit-first" in option.type.choices
    page = runpy.run_path(str(ROOT / "docs" / "chip_keys.py"))["write"]((ROOT / "docs" / "chip-file.md").read_text())
    assert "\n### High-bit-first\n" in page and "\n| `high_bit_first.wires.bitline` | resistance" in page
    assert "\n| `silicon.disturb` | voltage, 0 or more | `0 V` | Mean shift of a cell per row" in page
    assert read_keys(chip_with().encoding) == (
        "high_bit_first.wordline_read", "high_bit_first.bitline_read", "high_bit_first.top_level",
    )  # fmt: skip


def test_without_the_lines_they_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(ConfigurationError, match="no key 'disturb'"):
        load_chip("etox65", {"silicon.disturb": "1 mV"})
