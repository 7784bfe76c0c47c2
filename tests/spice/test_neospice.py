"""A second simulator solves the same circuits to the same currents, and its results are checked as the first one's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from norsim.array.cell import Cell
from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError, SimulatorError, SolveError, SolveTimeoutError
from norsim.paths import models_folder, netlists_folder
from norsim.spice.dialects.neospice import deck
from norsim.spice.simulators import neospice, ngspice
from tests.spice.test_deck import bit_serial, linear_pair

pytest.importorskip("neospice")

Folders = Callable[[], list[Path]]
CARD = (models_folder() / "devices" / "etox65.lib").read_text()
# Of full scale; the measured deviation is 1e-9.
TOLERANCE = 1e-7


def medium() -> tuple[Tile, Stimulus]:
    """Return 64 wordlines by 34 bitlines of the preset's chip at a high temperature."""
    chip, random = load_chip("etox65", ("temperature=85 degC",)), np.random.default_rng(0)
    thresholds = random.choice(np.linspace(4.1, 4.6, 16), (64, 34))
    return Tile(thresholds, chip.cell, chip.wires), Stimulus(random.choice([0.0, 5.0], (4, 64)), np.full((4, 34), 0.5))


def sensed() -> tuple[Tile, Stimulus]:
    """Return resistive source lines without straps, each with its own sense amplifier."""
    chip, random = load_chip("etox65"), np.random.default_rng(1)
    tile = Tile(random.uniform(3.8, 4.3, (16, 12)), chip.cell, Wires(0.4, 10.0, 20.0, 10.0))
    return tile, Stimulus(np.full((5, 16), 5.0), random.uniform(0, 0.5, (5, 12)), source_volts=0.05)


@pytest.mark.parametrize("array", [bit_serial, linear_pair, medium, sensed])
def test_it_gives_the_currents_of_ngspice(array: Callable[[], tuple[Tile, Stimulus]], folders: Folders) -> None:
    tile, stimulus = array()
    one, other = read(tile, stimulus, "ngspice"), read(tile, stimulus, "neospice")
    full_scale = max(np.abs(one.bitline).max(), np.abs(one.source).max())
    assert full_scale > 1e-7 and other.backend == "neospice" and other.converged.all()
    assert np.abs(one.bitline - other.bitline).max() <= TOLERANCE * full_scale
    assert np.abs(one.source - other.source).max() <= TOLERANCE * full_scale
    assert folders() == []


@pytest.mark.parametrize("name", ["floating_gate", "threshold_shift", "linear"])
def test_single_cells_conduct_what_they_do_in_ngspice(name: str) -> None:
    netlist = (netlists_folder() / "cells" / f"{name}.sp").read_text()
    cell, random = Cell(name, netlist, CARD, "vt", 1.0, 6.0, 330.0), np.random.default_rng(2)
    points = [random.uniform(low, high, 50) for low, high in ((0, 5), (0, 0.5), (0, 0.1), (1, 6))]
    one, other = ngspice.drain_amps(cell, *points), neospice.drain_amps(cell, *points)
    assert np.abs(one).max() > 1e-6
    np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-17)


BAD_CELLS = {
    "an instance parameter that it drops": ("M1 d g s b etox65 w=70n l=110n nf=2", CARD, "netlist, line 2.*no nf"),
    "a level that it does not know": ("R1 d s 1k", ".model c nmos level=8", "model cards, line 1.*level 8"),
    "a version that it does not have": (
        "R1 d s 1k",
        ".model c nmos level=14 version=4.5",
        "cards, line 1.*but not 4.5",
    ),
    "a device that is not looked through": ("J1 d g s c", "", "netlist, line 2.*'j'"),
    "a threshold that moves nothing": ("M1 d g s b c delvto=1", ".model c nmos level=14", "cards, line 1.*with vth0"),
}


@pytest.mark.parametrize(("line", "card", "why"), BAD_CELLS.values(), ids=BAD_CELLS.keys())
def test_a_cell_that_it_would_read_in_its_own_way_is_refused_with_its_line(line: str, card: str, why: str) -> None:
    cell = Cell("c", f".subckt c d g s b vt=3\n{line}\n.ends", card, "vt", 1.0, 6.0)
    with pytest.raises(ConfigurationError, match=f"the cell's {why}|the cell's model {why}"):
        deck(Tile([[3.0]], cell, Wires()), Stimulus([[5.0]], [[0.5]]))


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that replaces neospice's process by one with a given result."""

    def make(script: str = "", **status: object) -> None:
        good = {
            "options": {"gmin": 1e-15, "abstol": 1e-15, "reltol": 1e-6, "vntol": 1e-9, "temp": 300.15},
            "converged": True, "method": "DIRECT", "warnings": [], "points": [0.0],
        }  # fmt: skip
        lines = [
            "import json, os, signal, sys", "import numpy as np", "table = np.array([[1e-6, 2e-6, 3e-6]])",
            f"status = {good | status!r}", script, "json.dump(status, open('status.json', 'w'))",
            "np.save('currents.npy', table)",
        ]  # fmt: skip
        monkeypatch.setattr(neospice, "CHILD", "\n".join(lines))

    return make


@pytest.fixture
def tile(resistor_cell: Cell) -> Tile:
    return Tile([[5.0, 2.5]], resistor_cell, Wires(1.0, 1.0, 1.0, 1.0))


STIMULUS = Stimulus([[5.0]], [[0.5, 0.5]])


def test_a_process_that_answers_rightly_is_believed(tile: Tile, says: Callable[..., None], folders: Folders) -> None:
    says()
    assert np.array_equal(neospice.read(tile, STIMULUS).bitline, [[1e-6, 2e-6]])
    assert folders() == []


LIES: dict[str, tuple[str, dict[str, object], str]] = {
    "a crash": ("os.kill(os.getpid(), signal.SIGSEGV)", {}, "code -11: it crashed"),
    "an exception": ("raise RuntimeError('bad deck')", {}, "code 1: RuntimeError: bad deck"),
    "a warning": ("print('Warning: VCVS skipped', file=sys.stderr)", {}, "says 'Warning: VCVS skipped'"),
    "no convergence": ("", {"converged": False}, "did not converge"),
    "a detour": ("", {"method": "GMIN_STEPPING"}, "GMIN_STEPPING"),
    "a warning of the solver": ("", {"warnings": ["weak"]}, "weak"),
    "another gmin": ("", {"options": {"gmin": 1e-12, "abstol": 1e-15, "reltol": 1e-6, "vntol": 1e-9, "temp": 300.15}},
                     "gmin = 1e-12, not 1e-15"),
    "another temperature": ("", {"options": {"gmin": 1e-15, "abstol": 1e-15, "reltol": 1e-6, "vntol": 1e-9, "temp": 3}},
                            "temp = 3"),
    "too many points": ("", {"points": [0.0, 1.0]}, "expected"),
    "a column less": ("table = table[:, :2]", {}, "expected"),
    "not finite": ("table[0, 1] = np.nan", {}, "not finite"),
    "against Kirchhoff's law": ("table[0, 2] = 4e-6", {}, "Kirchhoff"),
    "no currents": ("os._exit(0)", {}, "no readable currents"),
    "half a status": ("open('status.json', 'w').write('{'); os._exit(0)", {}, "no readable currents"),
}  # fmt: skip


@pytest.mark.parametrize(("script", "status", "why"), LIES.values(), ids=LIES.keys())
def test_what_cannot_be_trusted_is_refused_and_its_folder_kept(
    tile: Tile, says: Callable[..., None], folders: Folders, monkeypatch: pytest.MonkeyPatch, script: str,
    status: dict[str, object], why: str,
) -> None:  # fmt: skip
    says(script, **status)
    # The fake cannot solve single cells.
    monkeypatch.setattr(neospice, "lost_amps", lambda cell, gate, *volts: np.zeros(len(gate)))
    with pytest.raises(SolveError, match=why):
        neospice.read(tile, STIMULUS)
    (kept,) = folders()
    assert {"tile.cir", "neospice.log"} <= {path.name for path in kept.iterdir()}


def test_a_process_that_hangs_is_stopped(tile: Tile, says: Callable[..., None]) -> None:
    says("import time; time.sleep(60)")
    with pytest.raises(SolveTimeoutError, match="neospice did not finish within 1 s"):
        neospice.read(tile, STIMULUS, timeout_seconds=1.0)


def test_without_it_what_to_install_is_said(tile: Tile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    neospice.find_neospice.cache_clear()
    with pytest.raises(SimulatorError, match=r"pip install neospice==0\.2\.0"):
        read(tile, STIMULUS, "neospice")
    neospice.find_neospice.cache_clear()
