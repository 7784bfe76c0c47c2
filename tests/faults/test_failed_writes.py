"""Writes that fail: exit code 4, one line that names the place, no traceback, and nothing half-written."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from norsim.errors import WriteError
from norsim.experiments.run_folder import RunFolder
from norsim.files import append_json, write_text
from norsim.folders.output import OutputFolder, new_folder
from norsim.folders.record import RECORD, append_line, written
from norsim.spice.simulators import running
from tests.conftest import contents
from tests.faults.test_folders_of_users import COMMANDS

Run = Callable[..., Any]

PROGRAM = "from norsim.commands import main; main()"


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `$N` is norsim."""
    program = f"{sys.executable} -c '{PROGRAM}'"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "N": program},
    )  # fmt: skip


def said(ended: subprocess.CompletedProcess[str]) -> str:
    """Return the only line on stderr."""
    (line,) = ended.stderr.splitlines()
    return line


def test_a_full_stdout_ends_in_4(tmp_path: Path) -> None:
    ended = shell('eval "$N runs ls . >/dev/full"', tmp_path)
    assert ended.returncode == 4 and said(ended) == "norsim: stdout cannot be written: No space left on device"


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    ended = shell('{ sleep 0.1; eval "$N runs ls . --json"; } | true; echo ${PIPESTATUS[0]}', tmp_path)
    assert ended.stderr == "" and ended.stdout.strip() in {"141", "1"}


class Full:
    """A stream to a full disk."""

    encoding, errors = "utf-8", "strict"

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("command", ["run-layer", "build-netlist"])
def test_a_full_stdout_names_the_folder_of_the_results(
    norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, form: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    ended = norsim(command, *COMMANDS[command], *form, "--out", tmp_path / "run")
    assert ended.code == 4 and ended.err.count("\n") == 1
    assert (
        f"stdout cannot be written: No space left on device; the folder of the results is {tmp_path}/run" in ended.err
    )
    assert (tmp_path / "run" / "summary.json").is_file()


@pytest.fixture
def small_files() -> Any:
    """Return a function that limits the size of files of this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("command", "size"),
    [("run-layer", 600), ("run-layer", 40), ("build-netlist", 3000), ("build-netlist", 4000)],
)
def test_a_limit_of_file_sizes_ends_in_4_with_the_folder(
    norsim: Run, tmp_path: Path, small_files: Callable[[int], None], command: str, size: int
) -> None:
    small_files(size)
    ended = norsim(command, *COMMANDS[command], "--out", tmp_path / "run")
    assert ended.code == 4 and ended.err.count("\n") == 1
    assert f"{tmp_path}/run" in ended.err and "File too large" in ended.err
    left = contents(tmp_path)
    assert not [name for name in left if name.endswith(("summary.json", f".{os.getpid()}"))]
    small_files(resource.RLIM_INFINITY)
    if left:
        assert norsim(command, *COMMANDS[command], "--out", tmp_path / "run", "--overwrite").code == 0


def test_the_deck_of_a_simulation_that_cannot_be_written_ends_in_4(folders: Callable[[], list[Path]]) -> None:
    problem = r"norsim-ngspice-\w+ of a simulation cannot be written: No space left"
    with pytest.raises(WriteError, match=problem), running.own_folder() as folder:
        (folder / "tile.cir").write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert folders() == []


@pytest.mark.parametrize("place", ["missing", "file"])
def test_a_folder_for_temporary_files_that_is_unusable_ends_in_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / place))
    with pytest.raises(WriteError, match="cannot be written: .* let TMPDIR name another"), running.own_folder():
        pass


def test_a_simulator_that_cannot_write_its_results_fails(tmp_path: Path) -> None:
    """A file larger than its limit ends ngspice by a signal."""
    program = running.Program(
        "writer", ["sh", "-c", "sleep 0.3; head -c 100000 /dev/zero > currents.raw"], dict(os.environ)
    )
    with running.own_folder() as folder:
        code, _ = running.run(program, folder, 20, largest_bytes=5000)
        assert code != 0 and (folder / "currents.raw").stat().st_size <= 5000


PLACES: dict[str, Callable[[Path], Path]] = {
    "a file": lambda place: place / "file",
    "below a file": lambda place: place / "file" / "run",
    "a long name": lambda place: place / ("a" * 300),
    "a long path": lambda place: place / "/".join(["b" * 200] * 30),
    "no folder for files": lambda place: Path("/proc/run"),
}


@pytest.mark.parametrize("command", ["run-layer", "train"])
@pytest.mark.parametrize("place", PLACES)
def test_a_folder_that_cannot_be_made_ends_in_4(norsim: Run, tmp_path: Path, command: str, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    out = PLACES[place](tmp_path)
    ended = norsim(command, *COMMANDS[command], "--out", out)
    assert ended.code == 4 and ended.err.count("\n") == 1 and f"{out} cannot be written: " in ended.err
    assert contents(tmp_path) == {"file": b"mine"}


def test_runs_that_is_a_file_ends_in_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("mine")
    with pytest.raises(WriteError, match=r"runs/sweep-.* cannot be written: File exists"):
        new_folder("sweep")


@pytest.mark.parametrize("name", ["events.jsonl", RECORD])
def test_a_line_that_does_not_fit_is_not_begun(tmp_path: Path, small_files: Callable[[int], None], name: str) -> None:
    append_line(tmp_path / name, {"event": "started"})
    before = contents(tmp_path)
    small_files(len(before[name]) + 10)
    with pytest.raises(WriteError, match=f"{name} cannot be written: File too large"):
        append_json(tmp_path / name, {"event": "finished"})
    assert contents(tmp_path) == before


def test_a_full_disk_before_the_record_writes_nothing(tmp_path: Path, small_files: Callable[[int], None]) -> None:
    with OutputFolder(tmp_path / "run", "run") as output:
        small_files((output.path / RECORD).stat().st_size + 3)
        with pytest.raises(WriteError, match="results.csv cannot be written: File too large"):
            write_text(output.path / "results.csv", "")
        assert not (output.path / "results.csv").exists() and written(output.path) == []


def test_an_interrupted_write_of_the_record_leaves_the_folder_usable(
    tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    small_files(5)
    with pytest.raises(WriteError, match="cannot be written: File too large"):
        OutputFolder(tmp_path, "run")
    small_files(resource.RLIM_INFINITY)
    RunFolder(OutputFolder(tmp_path, "run"), {}, tmp_path / "chip.yaml", 0).finish({})


def test_an_unexpected_error_of_a_file_ends_in_4(norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of code that expects none, such as a library's cache."""

    def failing(*given: object, **named: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "/home/me/.cache/kernels.nbi")

    monkeypatch.setattr("norsim.tiling.grid.TileGrid.read_whole", failing)
    ended = norsim("run-layer", *COMMANDS["run-layer"], "--out", tmp_path / "run")
    assert ended.code == 4 and ended.err.count("\n") == 1
    assert (
        f"/home/me/.cache/kernels.nbi cannot be used: Disk quota exceeded; the folder of the results is {tmp_path}"
        in (ended.err)
    )


def test_a_simulation_that_cannot_be_written_names_the_folder_of_the_results_too(
    norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))

    def reading(*given: object, **named: object) -> None:
        with running.own_folder():
            pass

    monkeypatch.setattr("norsim.tiling.grid.TileGrid.read_whole", reading)
    ended = norsim("run-layer", *COMMANDS["run-layer"], "--out", tmp_path / "run")
    assert ended.code == 4 and ended.err.count("\n") == 1 and "of a simulation cannot be written" in ended.err
    assert f"; the folder of the results is {tmp_path}/run" in ended.err


def test_a_folder_whose_first_file_does_not_fit_is_removed(tmp_path: Path, small_files: Callable[[int], None]) -> None:
    small_files(500)
    problem = r"checkpoint\.pt cannot be written: File too large"
    with pytest.raises(WriteError, match=problem), OutputFolder(tmp_path / "run", "train") as output:
        write_text(output.path / "checkpoint.pt", 1000 * "x")
    assert list(tmp_path.iterdir()) == []


def test_folders_made_for_a_refused_result_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OutputFolder(tmp_path / "a" / "b" / "run", "train"):
        pass
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("norsim.folders.lock.os.pwrite", full)
    for place in (tmp_path / "a" / "run", tmp_path / "run"):
        with pytest.raises(WriteError, match="No space left"):
            OutputFolder(place, "train")
    assert list(tmp_path.iterdir()) == []


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_broken_connection_is_no_closed_stdout(norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr("norsim.commands.run.runs.run_folders", broken)
    ended = norsim("runs", "ls", tmp_path)
    assert ended.code == 4 and "Broken pipe" in ended.err
