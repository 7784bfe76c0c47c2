"""Keys with a cost that grows without bound have limits, which refuse before any work."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import norsim
from norsim.array.cell import Cell
from norsim.array.measured import read_measured
from norsim.array.retention import Retention
from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.registry import BACKENDS
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.grid import place

WIRES = "bit_serial.wires"


@pytest.fixture
def two_gibibytes() -> Iterator[None]:
    """Allow this process 2 GiB beyond what it has, so that a large allocation fails and takes no memory."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    "setting",
    [
        "adc.bits=30", "adc.shared_by=1000000000", "adc.offset=20000000.5",
        "tile.wordlines=1000000", "tile.bitlines=1000000",
        "calibration.reads=1000000000", "calibration.images=1000000000", "temperature=1e6 K", "temperature=1e9 degC",
        f"{WIRES}.rows_per_source_line=1000000000", f"{WIRES}.strap_every=1000000000", f"{WIRES}.source_line=1e12 ohm",
        "bit_serial.reference_every=1000000000", "bit_serial.bitline_read=1 MV", "bit_serial.top_level=1 kA",
        "cell.programmed=1e9 V", "cell.erased=-1e9 V", "cell.highest=1e9 V", "silicon.time=1e30 s",
        "silicon.telegraph_traps=1000.5", "silicon.stored_at=1e6 K", "silicon.activation_energy=1 keV",
        "silicon.mean_drift={shift: 1 nA, at: 1 uA, after: 1 day, power: 1e9}",
    ],
)  # fmt: skip
def test_a_value_beyond_its_limit_is_refused_with_key_limit_and_value(setting: str, two_gibibytes: None) -> None:
    key, _, value = setting.partition("=")
    with pytest.raises(ConfigurationError, match=rf"{key}[^ ]*: Input should be less|{key}[^ ]*: .*greater") as found:
        load_chip("etox65", [setting])
    assert value.split()[0].strip("'") in str(found.value) or "power" in str(found.value)


def test_an_acceleration_that_no_number_holds_is_refused() -> None:
    retention = Retention(reference_kelvin=5.0)
    with pytest.raises(ConfigurationError, match=r"activation energy of 1.1 eV.* 5 K; expected at most exp\(600\)"):
        retention.seconds(1.0, 300.0)


def test_a_measured_table_whose_axes_multiply_to_terabytes_is_refused(tmp_path: Path, two_gibibytes: None) -> None:
    path = tmp_path / "cells.csv"
    rows = [f"{k},{k / 100},{k}e-9,1e-9,0" for k in range(8000)]
    path.write_text("\n".join(["time_s,temperature_c,target_a,mean_a,sigma_a", *rows]))
    with pytest.raises(ConfigurationError, match="8000 rows for 8000 times, 8000 temperatures and 8000 levels"):
        read_measured(path)


def test_more_rows_per_source_line_than_a_tile_has_mean_all_of_them(resistor_cell: Cell, two_gibibytes: None) -> None:
    thresholds = np.full((3, 4), 3.0)
    wires = Wires(0.4, 20.0, 20.0, 0.0, rows_per_source_line=10**9, strap_every=2)
    tile = Tile(thresholds, resistor_cell, wires)
    assert tile.wires == replace(wires, rows_per_source_line=3)
    stimulus = Stimulus([[5.0, 0.0, 5.0]], np.full((1, 4), 0.5))
    one, other = (
        norsim.read(replaced, stimulus, backend="nodal")
        for replaced in (tile, Tile(thresholds, resistor_cell, replace(wires, rows_per_source_line=3)))
    )
    assert np.array_equal(one.bitline, other.bitline)


@pytest.mark.parametrize("rows", [9, 16, 64])
def test_macro_refuses_more_rows_per_source_line_than_it_can_enumerate(rows: int, two_gibibytes: None) -> None:
    chip = load_chip("etox65", [f"{WIRES}.rows_per_source_line={rows}"])
    weights = np.random.default_rng(0).integers(0, 16, (2, 70), dtype=np.uint8)
    grid = place(QuantizedLayer("fc", weights, 7, np.ones(2), 4, 1.0, 0, 4), chip)
    with pytest.raises(ConfigurationError, match=rf"at most 8 rows per source line.* has {rows}: .*2\^{rows} .*nodal"):
        grid.check(BACKENDS["macro"])
    grid.check(BACKENDS["nodal"])
    tile = Tile(np.full((rows, 2), 3.0), chip.cell, chip.wires)
    with pytest.raises(ConfigurationError, match="at most 8 rows per source line"):
        norsim.read(tile, Stimulus(np.full((1, rows), 5.0), np.full((1, 2), 0.5)), backend="macro")


def test_macro_clamps_the_rows_to_those_of_the_layer() -> None:
    chip = load_chip("etox65", [f"{WIRES}.rows_per_source_line=64"])
    weights = np.zeros((2, 6), dtype=np.uint8)
    place(QuantizedLayer("fc", weights, 7, np.ones(2), 4, 1.0, 0, 4), chip).check(BACKENDS["macro"])
