"""Circuits are solved apart from files and variables of the machine, and results belong to their circuit."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.registry import backend_named, read
from norsim.chip.load import load_chip
from norsim.commands import cli
from norsim.errors import ConfigurationError, SimulatorError, SolveError, SolveTimeoutError
from norsim.evaluation.dry_run import rates
from norsim.spice.simulators import libngspice, neospice, neutral, ngspice
from norsim.spice.simulators.probe import abilities
from norsim.spice.simulators.running import discard, own_folder

CELL = load_chip("etox65").cell
TILE, STIMULUS = Tile([[1.5]], CELL, Wires(strap_every=1)), Stimulus([[5.0]], [[0.5]])
COMMANDS = "option scale=2\nset ngbehavior=ps\necho using klu\n"


def fresh(program: str) -> str:
    """Run Python in a new process, in the current folder and environment; return what it prints."""
    here = str(Path(__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {here!r})\n{program}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return ended.stdout


@pytest.fixture(params=["SPICE_SCRIPTS", "SPICE_LIB_DIR"])
def spinit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a variable name a folder whose `spinit` changes every current."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "spinit").write_text(COMMANDS)
    named = {"SPICE_SCRIPTS": f"{tmp_path}/scripts", "SPICE_LIB_DIR": str(tmp_path)}[request.param]
    monkeypatch.setenv(request.param, named)
    yield
    abilities.cache_clear()
    ngspice.version_line.cache_clear()


def amps(backend: str) -> float:
    return float(read(TILE, STIMULUS, backend).bitline[0, 0])


def test_a_spinit_of_the_machine_changes_nothing(
    spinit: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    found, able = (amps("ngspice"), ngspice.identity()), abilities(ngspice.find_ngspice())
    abilities.cache_clear()
    ngspice.version_line.cache_clear()
    (tmp_path / "deck.cir").write_text("* a deck\nV1 a 0 1\nR1 a 0 1\n.end\n")
    by_hand = subprocess.run(
        [ngspice.find_ngspice(), "-n", "-b", tmp_path / "deck.cir"], capture_output=True, text=True, check=False
    )
    assert "using klu" in by_hand.stdout + by_hand.stderr, "ngspice alone reads it"
    monkeypatch.delenv("SPICE_SCRIPTS", raising=False)
    monkeypatch.delenv("SPICE_LIB_DIR", raising=False)
    assert found == (amps("ngspice"), ngspice.identity())
    assert able == abilities(ngspice.find_ngspice())


LOADED = """
from pathlib import Path
from norsim.spice.simulators.libngspice import library
handle, place = library(), Path.cwd()
print(handle.exec_command("set"), place)
"""


def test_the_library_reads_no_init_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scripts").mkdir()
    for place in ("scripts/spinit", ".spiceinit"):
        (tmp_path / place).write_text("set touched=1\noption scale=2\n")
    for name in ("SPICE_LIB_DIR", "SPICE_USERINIT_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("SPICE_SCRIPTS", f"{tmp_path}/scripts")
    monkeypatch.chdir(tmp_path)
    told = fresh(LOADED)
    assert "no_spiceinit" in told and told.strip().endswith(str(tmp_path))
    assert "touched" not in told and "scale" not in told


def test_variables_are_as_before_when_the_library_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path.cwd()
    for before in ("/somewhere", None):
        if before is None:
            monkeypatch.delenv("SPICE_SCRIPTS")
        else:
            monkeypatch.setenv("SPICE_SCRIPTS", before)
        with libngspice._without_init_files():
            assert (Path(os.environ["SPICE_SCRIPTS"]) / "spinit").read_text() == "set no_spiceinit\n"
            assert Path.cwd() != place
        assert Path.cwd() == place
        assert os.environ.get("SPICE_SCRIPTS") == before


@pytest.mark.parametrize("problem", [OSError("invalid ELF header"), ImportError("no PySpice"), NameError("init")])
def test_a_library_that_does_not_load_is_a_simulator_error(monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    def load(name: str) -> None:
        raise problem

    libngspice.library.cache_clear()
    with monkeypatch.context() as damaged:
        damaged.setattr(ctypes, "CDLL", load)
        with pytest.raises(SimulatorError, match=f"cannot be used: {problem}.*Reinstall"):
            read(TILE, STIMULUS, "ngspice-shared")
    assert amps("ngspice-shared") > 0


def test_reads_by_the_library_have_the_version_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = backend_named("ngspice-shared").simulator
    assert simulator is not None and simulator.name == "ngspice-shared"
    assert simulator.identity() == libngspice.identity() != ngspice.identity()
    assert libngspice.identity().startswith("libngspice-")

    def none() -> str:
        raise SimulatorError("no program")

    monkeypatch.setattr(ngspice, "find_ngspice", none)
    assert simulator.identity() == libngspice.identity()


def test_a_failed_deck_is_not_taken_for_a_transistor_without_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    assert neutral.neutral_volts(CELL) is not None
    assert neutral._shifts(CELL, "mother", np.array([1.0])) is None
    for problem in (SolveTimeoutError("too long"), SolveError("ngspice ended with code -9: it was killed")):

        def fail(*_: object, problem: SolveError = problem) -> str:
            raise problem

        monkeypatch.setattr(neutral, "run_deck", fail)
        with pytest.raises(type(problem), match=str(problem)) as caught:
            neutral.neutral_volts(CELL)
        discard(caught.value)


def test_compiled_models_are_copied_and_compared_with_the_loaded_ones(tmp_path: Path) -> None:
    model, run = tmp_path / "a.osdi", tmp_path / "run"
    model.write_bytes(b"code")
    run.mkdir()
    cell = replace(CELL, osdi=((str(model), hashlib.sha256(b"code").hexdigest()),))
    (run / "tile.cir").write_text(ngspice.deck(replace(TILE, cell=cell), STIMULUS))
    ngspice._copy_compiled(cell, run)
    assert (run / "0.osdi").read_bytes() == b"code"
    assert f'pre_osdi "{run}/0.osdi"' in (run / "tile.cir").read_text()
    assert str(model) not in (run / "tile.cir").read_text()
    model.write_bytes(b"other")
    with pytest.raises(ConfigurationError, match=r"a\.osdi has changed since"):
        ngspice._copy_compiled(cell, run)
    model.unlink()
    with pytest.raises(ConfigurationError, match=r"a\.osdi cannot be read"):
        ngspice._copy_compiled(cell, run)


@pytest.mark.parametrize(("ends", "text"), [("exit 0", "code 0 before"), ("kill -SEGV $$", "code -11 before")])
def test_a_probe_that_ends_early_is_no_ability(tmp_path: Path, ends: str, text: str) -> None:
    program = tmp_path / "ngspice"
    program.write_text(f"#!/bin/sh\necho using klu\n{ends}\n")
    program.chmod(0o755)
    with pytest.raises(SimulatorError, match=text):
        abilities(str(program))


def test_a_version_that_is_not_in_utf_8_is_read(tmp_path: Path) -> None:
    program = tmp_path / "ngspice"
    program.write_bytes(b"#!/bin/sh\nprintf 'ngspice-45+ \\344\\n'\n")
    program.chmod(0o755)
    assert ngspice.version_line(str(program)) == "ngspice-45+"


def test_probes_that_time_out_leave_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(slow.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(ngspice, "find_ngspice", lambda: str(slow))
    monkeypatch.setattr(rates, "LONGEST_PROBE_SECONDS", 0.1)
    backend = backend_named("ngspice")
    solve = partial(rates._probed, backend, TILE, STIMULUS)
    for jobs in (1, 3):
        with pytest.raises(SolveTimeoutError):
            solve(jobs)
        assert list(tmp_path.iterdir()) == [slow]


def test_a_failure_keeps_only_the_folder_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(ngspice, "find_ngspice", lambda: "/bin/false")
    with pytest.raises(SolveError, match="ended with code 1") as caught:
        rates._probed(backend_named("ngspice"), TILE, STIMULUS, 3)
    (kept,) = tmp_path.iterdir()
    assert caught.value.kept == (str(kept),) and str(kept) in str(caught.value)
    discard(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_error_in_two_folders_keeps_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SolveError) as caught, own_folder(), own_folder():
        raise SolveError("no")
    assert {str(path) for path in tmp_path.iterdir()} == set(caught.value.kept) and len(caught.value.kept) == 2


def test_python_of_neospice_is_apart_from_variables_and_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('not the json of Python')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONWARNINGS", "always")
    monkeypatch.setenv("PYTHONVERBOSE", "1")
    monkeypatch.chdir(tmp_path)
    assert amps("neospice") == pytest.approx(amps("ngspice"), rel=1e-3)


@pytest.mark.parametrize("status", ["{}", "[]", "null", '{"options": {"gmin": null}}', "{"])
def test_a_status_of_another_form_is_a_solve_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    def write(program: object, folder: Path, *_: object) -> tuple[int, str]:
        (folder / "status.json").write_text(status)
        np.save(folder / "currents.npy", np.ones((1, 1)))
        return 0, ""

    monkeypatch.setattr(neospice, "run", write)
    with pytest.raises(SolveError, match="no readable currents"):
        neospice._solve(tmp_path, "", ["a"], 1, 300.0, 1.0)
    np.save(tmp_path / "currents.npy", np.ones((1, 1)))


def test_currents_of_an_earlier_deck_are_refused(tmp_path: Path) -> None:
    def norsim(*words: object) -> tuple[int, str]:
        ended = CliRunner().invoke(cli, [str(word) for word in words])
        return getattr(ended.exception, "exit_code", ended.exit_code), str(ended.exception or ended.output)

    def build(seed: int) -> None:
        options = ["--network", "digits-cnn", "--layer", "fc", "--tile", "1,0", "--vectors", 1]
        code, told = norsim("build-netlist", *options, "--seed", seed, "--out", tmp_path / "d", "--overwrite")
        assert code == 0, told

    raw = tmp_path / "d" / "currents.raw"
    build(1)
    subprocess.run([ngspice.find_ngspice(), "-n", "-b", "tile.cir"], cwd=raw.parent, check=True, capture_output=True)
    assert norsim("import-results", raw.parent, raw)[0] == 0
    digest = json.loads((raw.parent / "tile.json").read_text())["digest"]
    build(2)
    assert json.loads((raw.parent / "tile.json").read_text())["digest"] != digest
    assert raw.exists()
    code, told = norsim("import-results", raw.parent, raw)
    assert code == 2 and "results of another deck" in told and "Run the simulator on this tile.cir" in told
    raw.write_bytes(raw.read_bytes().replace(f", deck {digest}".encode(), b""))
    assert norsim("import-results", raw.parent, raw)[0] == 2, "a raw file of a deck of an earlier version"
    table = tmp_path / "currents.csv"
    table.write_text("V(a),I(b)\n1,2\n")
    os.utime(table, (0, 0))
    code, told = norsim("import-results", raw.parent, table)
    assert code == 2 and "older than tile.cir" in told
    listing = tmp_path / "tile.lis"
    listing.write_text(f" ****** nor-flash tile, deck {digest}\n x\n")
    assert norsim("import-results", raw.parent, listing)[0] == 2
