"""Two processes and one folder: the second is refused, names do not collide, and a killed process holds nothing."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from norsim.errors import ConfigurationError
from norsim.folders.lock import LOCK, FolderLock, process_at_work
from norsim.folders.output import OutputFolder, new_folder
from tests.conftest import contents
from tests.faults.test_folders_of_users import COMMANDS

Run = Callable[..., Any]

HOLDER = """
import sys, time
from pathlib import Path
from norsim.files import write_text
from norsim.folders.output import OutputFolder
output = OutputFolder(Path(sys.argv[1]), sys.argv[2])
write_text(output.path / "config.resolved.yaml", "")
print("holds", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder() -> Iterator[Callable[[Path, str], subprocess.Popen[str]]]:
    """Return a function that starts a process at work in a folder."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, kind: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, folder, kind], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
        )
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "holds\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("command", ["run-layer", "train", "finetune", "sweep", "eval-network", "attribute"])
def test_a_command_is_refused_where_another_process_is_at_work(norsim: Run, tmp_path: Path, command: str) -> None:
    folder = OutputFolder(tmp_path, command)
    (tmp_path / "config.resolved.yaml").write_text("")
    before = contents(tmp_path)
    for given in ((), ("--overwrite",), ("--resume",)):
        ended = norsim(command, *COMMANDS[command], "--out", tmp_path, *given)
        assert ended.code == 2 and f"a run is at work in {tmp_path}: process {os.getpid()} on" in ended.err
        assert platform.node() in ended.err
    assert contents(tmp_path) == before
    folder.release()


def test_a_killed_process_holds_no_folder(
    norsim: Run, tmp_path: Path, holder: Callable[[Path, str], subprocess.Popen[str]]
) -> None:
    words = ("run-layer", *COMMANDS["run-layer"], "--out", tmp_path)
    process = holder(tmp_path, "run-layer")
    ended = norsim(*words, "--resume")
    assert ended.code == 2 and f"process {process.pid} on" in ended.err
    assert process_at_work(tmp_path) is not None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / LOCK).exists() and process_at_work(tmp_path) is None
    assert norsim(*words, "--resume").code == 0 and not (tmp_path / LOCK).exists()


def test_one_of_many_threads_gets_a_folder(tmp_path: Path) -> None:
    """Also while others release it: a lock whose file was removed is none."""
    inside, most, refused = 0, 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most, refused
        for _ in range(20):
            try:
                with FolderLock(tmp_path):
                    with guard:
                        inside += 1
                        most = max(most, inside)
                    time.sleep(0.001)
                    with guard:
                        inside -= 1
            except ConfigurationError:
                refused += 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and not (tmp_path / LOCK).exists()


def test_a_run_that_began_meanwhile_is_not_overwritten(
    norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both found an empty folder when they started; the other one has finished since."""
    words = ("run-layer", *COMMANDS["run-layer"], "--out", tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("norsim.commands.tile.run_layer.check_out", lambda *given: None)
        assert norsim(*words).code == 0
        before = contents(tmp_path / "run")
        ended = norsim(*words)
    assert ended.code == 2 and "contains a finished result of run-layer" in ended.err
    assert contents(tmp_path / "run") == before


def test_folders_made_in_one_second_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "20260101-000000")
    made: list[OutputFolder] = []
    threads = [threading.Thread(target=lambda: made.append(new_folder("sweep"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({output.path for output in made}) == 8 == len(list((tmp_path / "runs").iterdir()))
    assert Path("runs/sweep-20260101-000000") in {output.path for output in made}
    for output in made:
        output.release()
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a file system without locks."""

    def flock(file: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_of_the_file_system_the_lock_file_counts(tmp_path: Path) -> None:
    with FolderLock(tmp_path):
        assert process_at_work(tmp_path) is not None
        with pytest.raises(ConfigurationError, match="a run is at work in"):
            FolderLock(tmp_path)
    assert process_at_work(tmp_path) is None
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / LOCK).write_text(json.dumps({"host": platform.node(), "pid": ended.pid}))
    assert process_at_work(tmp_path) is None
    FolderLock(tmp_path).release()
    # Whether a process of another machine has ended is not known here.
    (tmp_path / LOCK).write_text(json.dumps({"host": "elsewhere", "pid": ended.pid}))
    assert "elsewhere" in str(process_at_work(tmp_path))
    with pytest.raises(ConfigurationError, match=r"delete \.norsim\.lock there"):
        FolderLock(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK]


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "mine.txt")
    with pytest.raises(OSError):
        FolderLock(tmp_path / "run")
    assert (tmp_path / "mine.txt").read_text() == "mine"
