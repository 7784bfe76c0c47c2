"""Atomic writes: after a failure there is only the old file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from norsim.errors import WriteError
from norsim.experiments.run_folder import RunFolder
from norsim.files import replace_file, write_atomically, write_text
from norsim.folders.output import OutputFolder
from norsim.folders.record import announce, half_written
from tests.conftest import contents


def test_a_file_is_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    write_text(tmp_path / "a.txt", "µ\n")
    write_atomically(tmp_path / "b.bin", lambda file: file.write(b"\0\1"))
    assert contents(tmp_path) == {"a.txt": "µ\n".encode(), "b.bin": b"\0\1"}


@pytest.mark.parametrize(
    ("write", "error"),
    [(replace_file, OSError), (write_atomically, WriteError)],
)
def test_a_full_disk_keeps_the_old_file(
    tmp_path: Path, full_disk: Callable[[str], None], write: Callable[..., None], error: type[Exception]
) -> None:
    (tmp_path / "a.txt").write_text("old")
    full_disk("a.txt")
    with pytest.raises(error, match="No space left on device"):
        write(tmp_path / "a.txt", lambda file: file.write(b"new content"))
    with pytest.raises(WriteError, match=r"a\.txt cannot be written: No space left on device"):
        write_text(tmp_path / "a.txt", "new content")
    assert contents(tmp_path) == {"a.txt": b"old"}


def test_an_interrupt_keeps_the_old_file(tmp_path: Path) -> None:
    def interrupted(file: BinaryIO) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.txt", interrupted)
    assert contents(tmp_path) == {"a.txt": b"old"}


@pytest.mark.parametrize("name", ["config.resolved.yaml", "manifest.json", "timing.json", "summary.json"])
def test_a_run_folder_on_a_full_disk_has_no_half_written_file(
    tmp_path: Path, full_disk: Callable[[str], None], name: str
) -> None:
    full_disk(name)
    with pytest.raises(WriteError, match=f"{name} cannot be written: No space left on device"):
        RunFolder(OutputFolder(tmp_path, "run"), {}, tmp_path / "chip.yaml", 0).finish({"seconds": 1.0})
    assert name not in contents(tmp_path) and half_written(tmp_path) == []


def test_a_run_folder_removes_files_left_by_killed_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = tmp_path / "units" / "ab" / ".ab12.parquet.17"
    with monkeypatch.context() as patch, OutputFolder(tmp_path, "run"):
        patch.setattr("os.getpid", lambda: 17)
        for path in (tmp_path / "units" / "ab" / "ab12.parquet", tmp_path / "summary.json"):
            announce(path)
        unit.parent.mkdir(parents=True)
        for path in (unit, tmp_path / ".summary.json.17", tmp_path / ".mine.17"):
            path.write_text("half")
    RunFolder(OutputFolder(tmp_path, "run", resume=True), {}, tmp_path / "chip.yaml", 0, resume=True).finish({})
    assert [name for name in contents(tmp_path) if name.endswith(".17")] == [".mine.17"]
    assert json.loads((tmp_path / "summary.json").read_text()) == {}
