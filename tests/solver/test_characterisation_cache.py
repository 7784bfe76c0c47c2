"""The volts that a tile's cells can see, and characterisations cached on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from norsim.array.cell import Cell
from norsim.array.tile import Floats, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.caches.arrays import CELLS
from norsim.solver import characterisation_cache, nodal
from norsim.solver.characterize import Box, CellTable, characterize
from tests.solver.arrays import LAYOUTS, channel, characterized, ohmic

GATES, STATES, BOX = np.array([0.0, 5.0]), np.array([3.1, 4.4]), Box(-0.01, 0.51, 0.0, 0.02)


class Counted:
    """A sweep that counts its calls."""

    calls = 0

    def __call__(self, cell: Cell, gate: Floats, drain: Floats, source: Floats, thresholds: Floats) -> Floats:
        self.calls += 1
        return channel(cell, gate, drain, source, thresholds)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A separate cache on disk for the test, and an empty cache in memory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    characterisation_cache._table.cache_clear()
    yield tmp_path
    characterisation_cache._table.cache_clear()


def made(cell: Cell, simulator: str = "ngspice-1", forget: bool = True) -> tuple[CellTable, int]:
    """Return a table, and the number of sweeps that it took."""
    if forget:
        characterisation_cache._table.cache_clear()
    sweep = Counted()
    return characterisation_cache.table(cell, GATES, STATES, BOX, sweep, simulator), sweep.calls


def kept_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.*"))


def test_a_table_is_made_once_and_read_from_disk_as_it_was(resistor_cell: Cell, folder: Path) -> None:
    first, sweeps = made(resistor_cell)
    again, none = made(resistor_cell)
    assert sweeps > 0 and none == 0 and first is not again
    assert np.array_equal(first.coefficients, again.coefficients)
    assert (first.error_amps, first.top_amps, first.box) == (again.error_amps, again.top_amps, again.box)
    assert made(resistor_cell, forget=False)[0] is again
    assert [path.suffix for path in kept_files(folder)] == [".arrays"]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "text": lambda content: b"not a table\n",
    "cut short": lambda content: content[: len(content) // 2],
    "without its last byte": lambda content: content[:-1],
    "a byte changed": lambda content: content[:400] + bytes([content[400] ^ 1]) + content[401:],
    "another array": lambda content: b"\x93NUMPY" + content[6:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_table_is_made_again(resistor_cell: Cell, folder: Path, damage: Callable[[bytes], bytes]) -> None:
    first, sweeps = made(resistor_cell)
    (path,) = kept_files(folder)
    path.write_bytes(damage(path.read_bytes()))
    again, calls = made(resistor_cell)
    assert calls == sweeps
    assert np.array_equal(first.coefficients, again.coefficients)
    assert made(resistor_cell)[1] == 0  # and was repaired


def test_a_changed_coefficient_is_noticed_though_the_file_is_whole(resistor_cell: Cell, folder: Path) -> None:
    made(resistor_cell)
    (path,) = kept_files(folder)
    arrays = CELLS.get(path.stem)
    assert arrays is not None
    content, values = path.read_bytes(), arrays["coefficients"]
    path.write_bytes(content.replace(values.tobytes(), (values * 1.001).tobytes()))
    assert path.read_bytes() != content
    assert made(resistor_cell)[1] > 0


def test_another_simulator_or_cell_is_another_table(resistor_cell: Cell, folder: Path) -> None:
    others = [
        replace(resistor_cell, netlist=resistor_cell.netlist + "\n*"),
        replace(resistor_cell, models="* card"),
        replace(resistor_cell, temperature_kelvin=350.0),
    ]
    assert all(made(cell)[1] > 0 for cell in [resistor_cell, *others])
    assert made(resistor_cell, "ngspice-2")[1] > 0
    assert len(kept_files(folder)) == 5 and made(resistor_cell)[1] == 0


def test_another_tolerance_is_another_table(resistor_cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    made(resistor_cell)
    monkeypatch.setattr(characterisation_cache.characterize, "TOLERANCE", 1e-6)
    assert made(resistor_cell)[1] > 0


@pytest.mark.parametrize("blocked", [".", "norsim", "norsim/cells"])
def test_a_cache_that_cannot_be_written_is_no_error(
    resistor_cell: Cell, folder: Path, monkeypatch: pytest.MonkeyPatch, blocked: str
) -> None:
    """A file is in the place of the folder: this acts like a read-only folder, but also for root."""
    where = folder / "cache" / blocked
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    assert made(resistor_cell)[1] > 0
    assert made(resistor_cell)[1] > 0


def test_a_read_only_folder_is_no_error(resistor_cell: Cell, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    assert made(resistor_cell)[1] > 0 and kept_files(folder) == []


def reached(prepared: nodal.Prepared, stimulus: Stimulus) -> Box:
    """Return the extremes of the volts in a solve."""
    tile = prepared.tile
    gates = np.searchsorted(prepared.table.gates, stimulus.wordline_volts).T
    volts = stimulus.bitline_volts.T
    shape = (tile.wordlines, tile.bitlines, stimulus.vectors)
    flat = np.zeros((tile.source_lines, *shape[1:]))
    _, drop, rise = nodal.relax(prepared, gates, volts, np.zeros(shape), flat, "both")
    source = np.repeat(rise, tile.wires.rows_per_source_line, axis=0)[: tile.wordlines]
    across = volts[None] - drop - source
    return Box(float(across.min()), float(across.max()), float(source.min()), float(source.max()))


def drives(rows: int, columns: int, mixed: bool) -> Stimulus:
    """Return many random drives of all densities, and one with every cell at full drive."""
    random = np.random.default_rng(4)
    up = random.random((120, rows)) < random.uniform(0, 1, (120, 1))
    volts = (
        0.5 * (random.random((120, columns)) < random.uniform(0, 1, (120, 1)))
        if mixed
        else np.full((120, columns), 0.5)
    )
    up[0], volts[0] = True, 0.5
    return Stimulus(5.0 * up, volts)


@pytest.mark.parametrize("mixed", [False, True], ids=["one bitline voltage", "mixed bitline volts"])
@pytest.mark.parametrize("wires", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_bounds_hold_the_volts_that_are_reached(resistor_cell: Cell, wires: Wires, mixed: bool) -> None:
    """Checked with a hundred times the wire resistance of `layouts`, for a transistor and a resistor."""
    heavy = replace(wires, **{name: 30 * getattr(wires, name) for name in ("bitline_ohms", "source_ohms")})
    thresholds = np.random.default_rng(5).choice([3.2, 3.9, 4.4, 5.5], (12, 10))
    stimulus = drives(12, 10, mixed)
    for sweep in (channel, ohmic):
        for laid in (wires, heavy):
            tile = Tile(thresholds, resistor_cell, laid)
            table = characterized(tile, stimulus, sweep)
            box, found = table.box, reached(nodal.prepare(tile, table), stimulus)
            assert box.across_low <= found.across_low and found.across_high <= box.across_high
            assert box.source_low <= found.source_low and found.source_high <= box.source_high
            # The box is not arbitrarily wide: half of it is reached, or its width is one that is rounded up.
            assert box.source_high <= 40 * found.source_high + 3e-4


def test_volts_outside_the_box_are_not_extrapolated(resistor_cell: Cell) -> None:
    tile = Tile(np.full((12, 10), 3.2), resistor_cell, Wires(40.0, 300.0, 150.0, 60.0, 2, 4))
    stimulus = drives(12, 10, False)
    low = characterize(tile.cell, GATES, np.array([3.2]), Box(0.4999, 0.51, 0.0, 0.5), channel)
    with pytest.raises(nodal.OutsideBox, match=r"cells reach .* outside the .* no current is extrapolated"):
        nodal.solve(nodal.prepare(tile, low), stimulus)
    flat = characterize(tile.cell, GATES, np.array([3.2]), Box(-0.5, 0.51, 0.0, 1e-5), channel)
    with pytest.raises(nodal.OutsideBox):
        nodal.solve(nodal.prepare(tile, flat), stimulus)
