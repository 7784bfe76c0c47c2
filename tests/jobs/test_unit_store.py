"""The store of finished units: round trips, damaged files, and no second solve."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow.parquet as pq
import pytest

from norsim.array.cell import Cell
from norsim.array.tile import Currents, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.batch import read_all
from norsim.backends.simulators.ngspice import Ngspice
from norsim.errors import SolveError, WriteError
from norsim.jobs.unit_store import UnitStore, currents_of, currents_table, unit_key
from norsim.jobs.workers import Threads
from norsim.spice.simulators import choice, ngspice

BY_NGSPICE = Ngspice()

CURRENTS = Currents(
    np.array([[1e-6, 1 / 3e6], [2.0, -0.0]]), np.array([[1e-6], [5e-324]]), np.array([True, False]),
    np.array([1e-9, 0.25]), "ngspice",
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> UnitStore:
    return UnitStore((tmp_path / "run", tmp_path / "shared"))


def same(one: Currents, other: Currents) -> bool:
    arrays = ("bitline", "source", "converged", "residual")
    return one.backend == other.backend and all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes()
        and getattr(one, name).shape == getattr(other, name).shape
        for name in arrays
    )


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("rows", [slice(None), slice(0, 0)])
def test_currents_round_trip_bit_for_bit(store: UnitStore, rows: slice) -> None:
    store.put("ab12", currents_table(CURRENTS.take(rows)))
    table = store.get("ab12")
    assert table is not None and same(currents_of(table), CURRENTS.take(rows))
    assert same(currents_of(table), currents_of(currents_table(CURRENTS.take(rows))))


def test_a_unit_can_be_read_by_table_tools_and_sha256sum(store: UnitStore, tmp_path: Path) -> None:
    store.put("ab12", currents_table(CURRENTS))
    path = tmp_path / "run" / "ab" / "ab12.parquet"
    table = pq.read_table(path)
    assert table.column_names == ["bitline_amps", "source_amps", "residual", "converged"]
    assert table["bitline_amps"][0].as_py() == [1e-6, 1 / 3e6]
    assert pq.read_schema(path).field("source_amps").metadata == {b"unit": b"A"}
    checked = subprocess.run(
        ["sha256sum", "-c", "ab12.sha256"], cwd=path.parent, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0 and checked.stdout == "ab12.parquet: OK\n"


def test_a_unit_is_found_in_any_folder_and_put_into_all(store: UnitStore, tmp_path: Path) -> None:
    store.put("ab12", currents_table(CURRENTS))
    shutil.rmtree(tmp_path / "run")
    assert not (tmp_path / "run").exists() and store.get("ab12") is not None
    assert len(files(tmp_path / "run")) == 2
    assert UnitStore((tmp_path / "other",)).get("ab12") is None


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "no checksum", "other checksum", "gone"])
def test_a_damaged_unit_counts_as_absent_and_is_removed(tmp_path: Path, damage: str) -> None:
    store = UnitStore((tmp_path,))
    store.put("ab12", currents_table(CURRENTS))
    path = tmp_path / "ab" / "ab12.parquet"
    content = path.read_bytes()
    if damage == "no checksum":
        path.with_suffix(".sha256").unlink()
    elif damage == "other checksum":
        path.with_suffix(".sha256").write_text(f"{hashlib.sha256(b'').hexdigest()}  ab12.parquet\n")
    elif damage == "gone":
        path.unlink()
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes({"cut": content[:-1], "flip": flipped, "empty": b""}[damage])
    assert store.get("ab12") is None and files(tmp_path) == []
    store.put("ab12", currents_table(CURRENTS))
    assert store.get("ab12") is not None


def test_a_full_disk_is_an_error_for_the_run_but_not_for_shared_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opening(path: Path, mode: str) -> BinaryIO:
        file = open(path, mode)  # noqa: SIM115
        if "full" in path.parts:
            file.write(b"half")
            file.close()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return file

    monkeypatch.setattr("norsim.files.open", opening, raising=False)
    UnitStore((tmp_path / "run", tmp_path / "full")).put("ab12", currents_table(CURRENTS))
    with pytest.raises(WriteError, match="cannot take more work: No space left on device"):
        UnitStore((tmp_path / "full", tmp_path / "run")).put("ab12", currents_table(CURRENTS))
    assert files(tmp_path / "full") == []


def test_keys_separate_their_parts() -> None:
    keys = {unit_key(*parts) for parts in [("ab", "c"), ("a", "bc"), ("abc",), ("ab", "c", ""), (1,), ("1 ",), (1.0,)]}
    assert len(keys) == 7
    assert unit_key("ab", 1) == unit_key("ab", 1)


@pytest.fixture
def solved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of the names of tiles that ngspice solves."""
    names: list[str] = []
    read = ngspice.read

    def recording(tile: Tile, stimulus: Stimulus) -> Currents:
        names.append(tile.name)
        return read(tile, stimulus)

    monkeypatch.setattr(ngspice, "read", recording)
    return names


def requests(cell: Cell, names: str) -> list[tuple[Tile, Stimulus]]:
    return [
        (Tile([[5.0, 2.5]], cell, Wires(1.0, 1.0, 1.0), name=name), Stimulus([[5.0]], [[0.5, 0.1 * k]]))
        for k, name in enumerate(names)
    ]


def test_stored_units_are_not_solved_again(store: UnitStore, resistor_cell: Cell, solved: list[str]) -> None:
    first = read_all(requests(resistor_cell, "abc"), BY_NGSPICE, Threads(2), store=store)
    again = read_all(requests(resistor_cell, "abcd"), BY_NGSPICE, Threads(2), store=store)
    assert sorted(solved) == ["a", "b", "c", "d"]
    assert all(same(one, other) for one, other in zip(first, again[:3], strict=True))
    read_all(requests(resistor_cell, "ab"), BY_NGSPICE)
    assert sorted(solved[4:]) == ["a", "b"]


def test_all_inputs_of_a_unit_are_in_its_key(
    store: UnitStore, resistor_cell: Cell, solved: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tile, stimulus), *_ = requests(resistor_cell, "a")
    hot = replace(resistor_cell, temperature_kelvin=350.0)
    others = [
        (tile, Stimulus([[4.0]], stimulus.bitline_volts)),
        (Tile([[5.0, 2.6]], resistor_cell, tile.wires, name="a"), stimulus),
        (Tile(tile.thresholds, hot, tile.wires, name="a"), stimulus),
        (Tile(tile.thresholds, resistor_cell, Wires(1.0, 1.0, 2.0), name="a"), stimulus),
    ]
    read_all([(tile, stimulus), *others], BY_NGSPICE, store=store)
    assert len(solved) == 5
    other = replace(choice.SIMULATORS["ngspice"], identity=lambda: "ngspice-1")
    monkeypatch.setitem(choice.SIMULATORS, "ngspice", other)
    read_all([(tile, stimulus)], BY_NGSPICE, store=store)
    assert len(solved) == 6


def test_failures_are_not_stored(store: UnitStore, tmp_path: Path, resistor_cell: Cell) -> None:
    bad = Cell("bad", ".subckt bad d g s b vt=3\nM1 d g s b nomodel\n.ends", "", "vt", 1.0, 9.0)
    with pytest.raises(SolveError):
        read_all(requests(bad, "a"), BY_NGSPICE, store=store)
    assert files(tmp_path) == []
