"""The ngspice driver: programs with wrong results, that hang or are missing, and the files that each leaves."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from norsim.array.cell import Cell
from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.chip.load import load_chip
from norsim.errors import SimulatorError, SolveError, SolveTimeoutError
from norsim.spice.deck import deck
from norsim.spice.simulators import libngspice, ngspice
from norsim.spice.simulators.messages import check_log
from norsim.spice.simulators.ngspice import find_ngspice, read, version_line
from norsim.spice.simulators.probe import abilities

Folders = Callable[[], list[Path]]
RawBytes = Callable[..., bytes]

METERS = ["i(vbl0)", "i(vbl1)", "i(vret)"]
GOOD = [[1e-6, 2e-6, 3e-6]]
STIMULUS = Stimulus([[5.0]], [[0.5, 0.5]])


@pytest.fixture
def tile(resistor_cell: Cell) -> Tile:
    return Tile([[5.0, 2.5]], resistor_cell, Wires(1.0, 1.0, 1.0, 1.0))


@pytest.fixture(autouse=True)
def no_memory() -> Iterator[None]:
    """The path of ngspice is cached for the life of a process; here for one test."""
    yield
    find_ngspice.cache_clear()
    version_line.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that makes a shell script the ngspice of this test; `version` is its output for --version."""

    def make(body: str, version: str = "** ngspice-99 : a fake") -> Path:
        path = tmp_path / "fake"
        path.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then echo "{version}"; exit 0; fi\n{body}\n')
        path.chmod(0o755)
        monkeypatch.setenv("NORSIM_NGSPICE", str(path))
        find_ngspice.cache_clear()
        version_line.cache_clear()
        return path

    return make


@pytest.fixture
def answers(install: Callable[..., Path], tmp_path: Path) -> Callable[..., None]:
    """Return a function that makes a fake which writes `raw` as its raw file, prints `log` and runs `end`."""

    def make(raw: bytes | None, log: str = "Note: fine", end: str = "exit 0") -> None:
        (tmp_path / "prepared.raw").write_bytes(raw or b"")
        copy = f"cp '{tmp_path}/prepared.raw' currents.raw" if raw is not None else ":"
        install(f'{copy}\necho "{log}"\n{end}')

    return make


def kept_folder(message: str) -> Path:
    found = re.search(r"kept in (\S+)$", message)
    assert found is not None, message
    return Path(found.group(1))


def test_a_program_that_answers_rightly_is_believed(
    tile: Tile, answers: Callable[..., None], raw_bytes: RawBytes, folders: Folders
) -> None:
    answers(raw_bytes(METERS, GOOD))
    currents = read(tile, STIMULUS)
    assert currents.bitline.tolist() == [[1e-6, 2e-6]] and currents.source.tolist() == [[3e-6]]
    assert currents.converged.tolist() == [True] and currents.backend == "ngspice"
    assert folders() == []


BROKEN = {
    "no raw file": (lambda raw: {"raw": None}, "wrote no readable currents.raw"),
    "an empty raw file": (lambda raw: {"raw": b""}, "wrote an empty currents.raw.*the disk may be full"),
    "a truncated raw file": (lambda raw: {"raw": raw(METERS, GOOD)[:-5]}, "19 bytes of data; expected 24"),
    "an ASCII raw file": (
        lambda raw: {"raw": raw(METERS, GOOD).split(b"Binary:")[0] + b"Values:\n0\t1e-6\n\t2e-6\n\t3e-6\n"},
        "not a binary raw file of ngspice",
    ),
    "a NaN": (lambda raw: {"raw": raw(METERS, [[1e-6, np.nan, 3e-6]])}, r"i\(vbl1\) is nan at point 0"),
    "a missing vector": (lambda raw: {"raw": raw(METERS[1:], [GOOD[0][1:]])}, r"the first is i\(vbl0\)"),
    "too many points": (lambda raw: {"raw": raw(METERS, GOOD * 2)}, "2 points of 3 vectors; expected 1 points"),
    "no point": (lambda raw: {"raw": raw(METERS, np.zeros((0, 3)))}, "0 points of 3 vectors; expected 1 points"),
    "a singular matrix": (
        lambda raw: {"raw": raw(METERS, GOOD), "log": "Warning: singular matrix:  check node bl0"},
        "singular matrix:  check node bl0",
    ),
    "a crash": (lambda raw: {"raw": raw(METERS, GOOD), "end": "kill -SEGV $$"}, "ended with code -11"),
    "exit code 1": (lambda raw: {"raw": raw(METERS, GOOD), "end": "exit 1"}, "ended with code 1"),
    "charge from nowhere": (
        lambda raw: {"raw": raw(METERS, [[1e-6, 2e-6, 3.0001e-6]])},
        "Kirchhoff's current law fails at point 0",
    ),
    "garbage": (lambda raw: {"raw": np.random.default_rng(1).bytes(5000)}, "not a binary raw file of ngspice"),
    "a killed program": (lambda raw: {"raw": raw(METERS, GOOD), "end": "kill -KILL $$"}, "possibly for lack of memory"),
    "an endless raw file": (
        lambda raw: {"raw": raw(METERS, GOOD), "end": "head -c 300000000 /dev/zero >> currents.raw; kill -XFSZ $$"},
        "one of its files grew too large",
    ),
    "a raw file that is far too long": (
        lambda raw: {"raw": raw(METERS, GOOD), "end": "truncate -s 100M currents.raw"},
        "104857600 bytes; expected at most",
    ),
    "errors on stderr": (
        lambda raw: {"raw": raw(METERS, GOOD), "end": "echo 'Error: no such vector' >&2; exit 0"},
        "no such vector",
    ),
    "a turned sign": (lambda raw: {"raw": raw(METERS, [[1e-6, 2e-6, -3e-6]])}, "differ by 2.0e"),
}


@pytest.mark.parametrize(("broken", "problem"), BROKEN.values(), ids=BROKEN.keys())
def test_a_program_that_lies_is_refused_and_the_folder_kept(
    tile: Tile, answers: Callable[..., None], raw_bytes: RawBytes, folders: Folders,
    broken: Callable[[RawBytes], dict[str, object]], problem: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    answers(**broken(raw_bytes))
    # The fake cannot solve single cells.
    monkeypatch.setattr(ngspice, "lost_amps", lambda cell, gate, *volts: np.zeros(len(gate)))
    with pytest.raises(SolveError, match=problem) as caught:
        read(tile, STIMULUS)
    folder = kept_folder(str(caught.value))
    assert folders() == [folder]
    assert (folder / "tile.cir").read_text() == deck(tile, STIMULUS)
    assert (folder / "ngspice.log").exists()


def test_a_program_that_hangs_is_stopped(tile: Tile, install: Callable[..., Path], folders: Folders) -> None:
    install("exec sleep 60")
    with pytest.raises(SolveTimeoutError, match=r"did not finish within 0.2 s and was stopped") as caught:
        read(tile, STIMULUS, timeout_seconds=0.2)
    assert folders() == [kept_folder(str(caught.value))]


def test_what_a_stopped_program_has_started_is_stopped_too(
    tile: Tile, install: Callable[..., Path], tmp_path: Path
) -> None:
    install(f"(sleep 2; touch '{tmp_path}/still-there') &\nsleep 60")
    with pytest.raises(SolveTimeoutError, match="was stopped"):
        read(tile, STIMULUS, timeout_seconds=0.3)
    time.sleep(2.5)
    assert not (tmp_path / "still-there").exists()


def test_a_program_has_limits_and_no_home(tile: Tile, install: Callable[..., Path]) -> None:
    install("sleep 0.3; ulimit -t; ulimit -f; ulimit -v; ulimit -c; echo $HOME; pwd; exit 3")
    with pytest.raises(SolveError) as caught:
        read(tile, STIMULUS, timeout_seconds=100)
    said = (kept_folder(str(caught.value)) / "ngspice.log").read_text().splitlines()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert said[0] == "101" and int(said[1]) >= 2**17 and int(said[2]) <= memory // 1024 and said[3] == "0"
    assert said[4] == said[5]


def test_noise_on_stderr_does_no_harm(
    tile: Tile, answers: Callable[..., None], raw_bytes: RawBytes, folders: Folders
) -> None:
    answers(raw_bytes(METERS, GOOD), end="echo 'Note: v(x) has no load; 3 of 4 done' >&2; exit 0")
    assert read(tile, STIMULUS).source.tolist() == [[3e-6]] and folders() == []


def test_no_initialisation_file_is_read(tile: Tile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (".spiceinit", "spice.rc"):
        (tmp_path / name).write_text(f"shell touch {tmp_path}/ran\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    read(tile, STIMULUS)
    assert not (tmp_path / "ran").exists()


def test_each_run_has_a_folder_of_its_own_and_one_thread(
    tile: Tile, install: Callable[..., Path], folders: Folders
) -> None:
    install('printf "%s\\n" "$*"\npwd\necho threads $OMP_NUM_THREADS\nexit 3')
    for count in (1, 2):
        with pytest.raises(SolveError) as caught:
            read(tile, STIMULUS)
        folder = kept_folder(str(caught.value))
        assert len(folders()) == count
        said = (folder / "ngspice.log").read_text().splitlines()
        assert said == ["-n -b tile.cir", str(folder), "threads 1"]


@pytest.mark.parametrize(
    "line",
    [
        "Warning: singular matrix:  check node vdrive0#branch",
        "Note: Starting dynamic gmin stepping",
        "Note: Starting source stepping",
        "Trying gmin =   1.0E-03 Warning: Last gmin step failed",
        "doAnalyses: DC:  Timestep too small;  vidx = 0: cause unrecorded.",
        "run simulation(s) aborted",
        "Error: circuit not parsed.",
        "warning, can't find model 'nomodel' from line",
        "Undefined parameter [nope]",
        "unknown parameter (-nan) ",
        "Error: no such vector i(vbl9)",
        "progress 10%\rno convergence in DC operating point",
    ],
)
def test_each_word_of_trouble_in_a_log_is_heard(line: str) -> None:
    check_log("Circuit: * x\n\nDoing analysis at TEMP = 27.000000\nNo. of Data Rows : 4\n")
    with pytest.raises(SolveError, match="ngspice says"):
        check_log(f"Circuit: * x\n{line}\nNo. of Data Rows : 4\n")


STEPS = "Note: Starting dynamic gmin stepping\nWarning: Last gmin step failed\n"
DONE = "Note: Dynamic gmin stepping completed\n"


def test_steps_to_a_solution_are_no_trouble_where_they_end_in_one() -> None:
    check_log(STEPS + "Warning: Dynamic gmin stepping failed\nNote: Starting source stepping\n"
              "Note: Source stepping completed\nNo. of Data Rows : 4\n")  # fmt: skip
    for log in (STEPS, STEPS + DONE + STEPS, STEPS + DONE + "run simulation(s) aborted\n"):
        with pytest.raises(SolveError):
            check_log(log)


def test_what_ngspice_says_below_the_trouble_is_told_as_well() -> None:
    with pytest.raises(SolveError, match="Error on line: / m1 a b nomodel / could not find a valid modelname'"):
        check_log("Error on line:\n  m1 a b nomodel\n\ncould not find a valid modelname\n   Simulation interrupted\n")


def test_a_missing_program_is_a_simulator_error(tile: Tile, monkeypatch: pytest.MonkeyPatch, folders: Folders) -> None:
    monkeypatch.setenv("NORSIM_NGSPICE", "/no/such/ngspice")
    find_ngspice.cache_clear()
    with pytest.raises(SimulatorError, match=r"'/no/such/ngspice' is not an executable program.*NORSIM_NGSPICE"):
        read(tile, STIMULUS)
    monkeypatch.delenv("NORSIM_NGSPICE")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SimulatorError, match="apt-get install ngspice"):
        read(tile, STIMULUS)
    assert folders() == []


def test_a_program_that_is_not_ngspice_is_a_simulator_error(
    tile: Tile, install: Callable[..., Path], folders: Folders
) -> None:
    install("exit 0", version="GNU bash, version 5")
    with pytest.raises(SimulatorError, match="does not answer --version as ngspice does"):
        read(tile, STIMULUS)
    assert folders() == []


def test_a_file_that_cannot_run_is_a_simulator_error(
    tile: Tile, install: Callable[..., Path], folders: Folders
) -> None:
    install("").write_text("#!/no/such/shell\n")
    with pytest.raises(SimulatorError, match="does not run"):
        read(tile, STIMULUS)
    assert folders() == []


def test_the_program_may_be_named_by_a_relative_path(
    tile: Tile, answers: Callable[..., None], raw_bytes: RawBytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(raw_bytes(METERS, GOOD))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NORSIM_NGSPICE", "./fake")
    assert read(tile, STIMULUS).source.tolist() == [[3e-6]]


def test_an_interrupted_run_leaves_nothing(tile: Tile, monkeypatch: pytest.MonkeyPatch, folders: Folders) -> None:
    def interrupted(*_: object) -> None:
        assert len(folders()) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(ngspice, "run_deck", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(tile, STIMULUS)
    assert folders() == []


def test_the_real_program_solves_ohms_law_and_leaves_nothing(resistor_cell: Cell, folders: Folders) -> None:
    currents = read(Tile([[5.0, 2.5]], resistor_cell, Wires(strap_every=1)), STIMULUS)
    assert currents.bitline[0] == pytest.approx([1e-6, 2e-6], rel=1e-12)
    assert currents.source[0] == pytest.approx([3e-6], rel=1e-12)
    assert re.fullmatch(r"ngspice-\d+\S*", version_line(find_ngspice()))
    assert folders() == []


CONTRADICTION = "V1 d s 1"
FLOATING = "R1 d s 1k\nC1 x 0 1p\nG1 s d x 0 1u"
NEVER_AT_REST = "R1 d s 1k\nBx x 0 V = v(x) > 0.5 ? 0 : 1\nRx x 0 1k"
NO_MODEL = "M1 d g s b nomodel"


def broken_tile(body: str) -> Tile:
    cell = Cell("bad", f".subckt bad d g s b vt=3\n{body}\n.ends", "", "vt", 1.0, 9.0)
    return Tile([[3.0, 4.0]], cell, Wires(strap_every=1))


@pytest.mark.parametrize("body", [CONTRADICTION, FLOATING, NEVER_AT_REST, NO_MODEL])
def test_a_circuit_without_a_solution_is_a_solve_error(body: str, folders: Folders) -> None:
    with pytest.raises(SolveError, match="ngspice says") as caught:
        read(broken_tile(body), STIMULUS)
    assert folders() == [kept_folder(str(caught.value))]


@pytest.mark.parametrize("body", [CONTRADICTION, FLOATING, NEVER_AT_REST])
def test_the_shared_library_refuses_it_too_and_goes_on(
    body: str, tile: Tile, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SolveError, match="libngspice did not solve"):
        libngspice.read(broken_tile(body), STIMULUS)
    np.testing.assert_allclose(libngspice.read(tile, STIMULUS).bitline, [[1e-6, 2e-6]], rtol=1e-4)


def test_a_missing_library_is_a_simulator_error(tile: Tile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    libngspice.library.cache_clear()
    with pytest.raises(SimulatorError, match="no libngspice: install it"):
        libngspice.read(tile, STIMULUS)
    libngspice.library.cache_clear()


@pytest.mark.parametrize("name", ["failsafe.head", "unknown", "sidestepping", "error", "cannot"])
def test_a_tile_may_be_called_what_a_log_calls_trouble(resistor_cell: Cell, name: str, folders: Folders) -> None:
    tile = Tile([[5.0]], resistor_cell, Wires(strap_every=1), name=f"layer {name}, tile 0,0")
    assert read(tile, Stimulus([[5.0]], [[0.5]])).bitline[0, 0] == pytest.approx(1e-6)


def test_kirchhoff_allows_the_leak_that_gmin_makes() -> None:
    """Programmed cells conduct less than gmin leaks into the bulk, and their read still passes the check."""
    tile = Tile(np.full((4, 4), 6.0), load_chip("etox65").cell, Wires(20.0, 100.0, 20.0))
    currents = read(tile, Stimulus(np.zeros((1, 4)), np.full((1, 4), 0.5)))
    assert np.abs(currents.bitline).max() < 1e-11 and currents.residual.max() < 1e-5


@pytest.mark.parametrize("klu", [True, False])
@pytest.mark.parametrize("wordlines", [31, 32])
def test_klu_solves_large_tiles_where_ngspice_has_it(
    resistor_cell: Cell, install: Callable[..., Path], tmp_path: Path, klu: bool, wordlines: int
) -> None:
    """The fake reports KLU, solves with the real ngspice, and keeps the decks."""
    real = find_ngspice()
    says = "grep -qi 'options klu' \"$3\" && echo 'Using KLU as Direct Linear Solver'\n" if klu else ""
    install(f'cat "$3" >> {tmp_path}/decks\n{says}exec {real} "$@"')
    tile = Tile(np.full((wordlines, 33), 5.0), resistor_cell, Wires(strap_every=1))
    stimulus = Stimulus(np.full((1, wordlines), 5.0), np.full((1, 33), 0.5))
    assert read(tile, stimulus).bitline[0] == pytest.approx(np.full(33, wordlines * 1e-6), rel=1e-9)
    *_, given = (tmp_path / "decks").read_text().split("* NOR-flash tile")
    assert (".options klu\n.control\n" in given) == (klu and wordlines == 32)
    assert ngspice.identity() == ("ngspice-99 with KLU" if klu else "ngspice-99")
    assert "klu" not in deck(tile, stimulus)


def test_this_machines_ngspice_tells_what_it_can_do() -> None:
    found = abilities(find_ngspice())
    assert ngspice.identity() == version_line(find_ngspice()) + (" with KLU" if found.klu else "")
