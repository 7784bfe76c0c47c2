"""Helpers and fixtures of several test files: a linear cell, lossless wires, small layers, temporary folders."""

from __future__ import annotations

import errno
import io
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from torch import nn

from norsim.evaluation.proof import defaults

# Before any other module takes it as a default: evaluations that ask for no number of reads verify few of them, besides
# one of every pass of every layer, because most of the time of all tests would be ngspice's.
USUAL_SAMPLE, defaults.SPICE_SAMPLE = defaults.SPICE_SAMPLE, 9

# ruff: noqa: E402
from norsim.array.cell import Cell
from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends.backend import Backend
from norsim.backends.registry import BACKENDS, backend_named
from norsim.caches.arrays import FITS, IMAGES, MODELS, QUANTIZATIONS, ArrayCache
from norsim.chip.load import load_chip
from norsim.chip.model import Chip
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.modules import tiled_layers
from norsim.tiling.reader import Reader

# With a deadline, tests would fail on a busy machine.
settings.register_profile("norsim", deadline=None, max_examples=60)
settings.load_profile("norsim")

Solver = Callable[[Tile, Stimulus], Currents]
# Off by default: only tests of these caches take fits and quantizations from the disk.
OFF_BY_DEFAULT = {FITS.name, QUANTIZATIONS.name}
KEPT_FOR_TESTS = {MODELS.name, IMAGES.name, *OFF_BY_DEFAULT}


class OfTheTest(Backend):
    """A backend made from a function, with properties that differ from the defaults."""

    name = "of-the-test"

    def __init__(self, solver: Solver, known: dict[str, Any]) -> None:
        self.solver = solver
        for capability, value in known.items():
            setattr(self, capability, value)

    def solve(self, tile: Tile, stimulus: Stimulus) -> Currents:
        return self.solver(tile, stimulus)


def reader_by(name: str, *options: Any, **named: Any) -> Reader:
    """Return a reader with the backend of that name, and further options of Reader."""
    return Reader(backend_named(name), *options, **named)


def ready(network: nn.Module) -> nn.Module:
    """Return a converted network with programmed tiles, whose converters keep their full scale as their fit."""
    for layer in tiled_layers(network).values():
        layer.grid = replace(layer.grid.program(), calibrated=True)
    return network


LINES = ("bitline", "bitline_end", "source_line", "source_line_end")


@pytest.fixture(scope="session")
def resistor_cell() -> Cell:
    """Return a cell that is a resistor of 100 kilohm per volt of its threshold, independent of the gate."""
    netlist = ".subckt res_cell d g s b vt=3\nRcell d s {1e5*vt}\n.ends res_cell"
    return Cell("res_cell", netlist, "", "vt", erased_volts=0.5, programmed_volts=20.0)


@pytest.fixture(scope="session")
def lossless() -> tuple[str, ...]:
    """Return chip settings without any wire resistance."""
    lines = (f"{part}.wires.{line}=0 ohm" for part in ("bit_serial", "linear_pair") for line in LINES)
    return (*lines, "bit_serial.wires.strap_ends=all")


@pytest.fixture(scope="session")
def make_layer() -> Callable[..., QuantizedLayer]:
    """Return a function that makes a linear layer of random codes: `make_layer(inputs, outputs, seed, **fields)`."""

    def make(inputs: int, outputs: int, seed: int = 0, **fields: Any) -> QuantizedLayer:
        bits = fields.get("weight_bits", 4)
        content: dict[str, Any] = {
            "name": "fc",
            "weights": np.random.default_rng(seed).integers(0, 2**bits, (outputs, inputs)),
            "weight_zero": 2 ** (bits - 1) - 1,
            "weight_scale": np.full(outputs, 0.5),
            "weight_bits": 4,
            "input_scale": 0.25,
            "input_zero": 0,
            "input_bits": 4,
        }
        return QuantizedLayer(**(content | fields))

    return make


@pytest.fixture(scope="session")
def small_chip() -> Callable[..., Chip]:
    """Return a function that makes the preset chip with tiles of 8 x 8, groups of 4, and further settings."""
    size = ("tile.wordlines=8", "tile.bitlines=8", "bit_serial.reference_every=4", "bit_serial.wires.strap_every=4")
    return lambda *settings: load_chip("etox65", (*size, *settings))


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that registers a solver as a backend until the test ends, and returns its name."""

    def add(solver: Solver, **known: Any) -> str:
        monkeypatch.setitem(BACKENDS, "of-the-test", OfTheTest(solver, known))
        return "of-the-test"

    return add


@pytest.fixture(scope="session")
def switched() -> Solver:
    """Return a solver without ngspice: a cell with its wordline up conducts 1 uA per volt of threshold below 6 V."""

    def solve(tile: Tile, stimulus: Stimulus) -> Currents:
        on = (stimulus.wordline_volts > 0).astype(np.float64)
        # Not a matrix product, whose last digit would depend on the number of vectors.
        bitline = (on[:, :, None] * (1e-6 * (6.0 - tile.thresholds))).sum(axis=1)
        return Currents(bitline, bitline.sum(axis=1)[:, None], on[:, 0] >= 0, 0 * on[:, 0], "switched")

    return solve


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Path]]:
    """Create temporary folders in a folder of the test; return a function that lists those that are left."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return lambda: sorted(place.iterdir())


class FullDisk(io.FileIO):
    """A file that writes half of the content and then fails with a full disk."""

    def write(self, content: Any, /) -> int:
        super().write(bytes(content)[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes atomic writes of files of a name fail halfway: `full_disk("card.json")`."""

    def fill(name: str) -> None:
        def opening(path: Path, mode: str) -> Any:
            return FullDisk(path, "w") if path.name.startswith(f".{name}.") else open(path, mode)

        monkeypatch.setattr("norsim.files.open", opening, raising=False)

    return fill


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below `folder`, including hidden ones."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def shared_units(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the commands of one test share finished work, but not with other tests."""
    folder = tmp_path_factory.mktemp("shared-units")
    for user in ("norsim.experiments.run_folder", "norsim.commands.run.runs"):
        monkeypatch.setattr(f"{user}.shared_units", lambda: folder)
    return folder


USUAL_FOLDER = ArrayCache.folder


def keep_arrays_in(folder: Path, patch: pytest.MonkeyPatch, forgotten: Collection[str] = ()) -> None:
    """Keep arrays in `folder`, without those of the names `forgotten`. Characterisations are those of the user, because
    they take long."""

    def place(one: ArrayCache) -> Path | None:
        if one.name in forgotten:
            return None
        return folder / one.name if one.name in KEPT_FOR_TESTS else USUAL_FOLDER(one)

    patch.setattr(ArrayCache, "folder", place)


@pytest.fixture(scope="session", autouse=True)
def arrays_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the tests of this process share models and images on disk."""
    with pytest.MonkeyPatch.context() as patch:
        keep_arrays_in(tmp_path_factory.mktemp("arrays"), patch, OFF_BY_DEFAULT)
        yield


@pytest.fixture
def own_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let a test keep all arrays but characterisations for itself; return their folder."""
    keep_arrays_in(tmp_path / "arrays", monkeypatch)
    return tmp_path / "arrays"


@pytest.fixture(autouse=True)
def few_images_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the end-to-end proof of an evaluation that asks for no number of images take four of them."""
    for bound in ("LEAST_IMAGES", "MOST_IMAGES"):
        monkeypatch.setattr(f"norsim.evaluation.end_to_end.{bound}", 4)


STARTED = time.monotonic()


@pytest.fixture(autouse=True)
def _limit() -> None:
    """Skip the test if the time of `make quick` (tools/quick_tests.py) is over."""
    if time.monotonic() - STARTED > float(os.environ.get("NORSIM_TEST_SECONDS", "inf")):
        pytest.skip("the time of this run is over; `make test` runs all tests")
