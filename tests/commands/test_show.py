"""The output: tables and bars on a terminal of any width, plain text in a pipe."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from norsim.commands.shared import show
from norsim.commands.shared.progress import reporting

Run = Callable[..., Any]

ROOT = Path(__file__).resolve().parents[2]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
FAST = ("eval-network", "--network", "digits-cnn", "--images", "5", "--spice-sample", "2")
# Three batches of images.
LONGER = ("eval-network", "--network", "digits-cnn", "--images", "300", "--spice-sample", "0")
MAIN = "import sys; from norsim.commands import main; main()"


class Terminal:
    """A pseudo-terminal with a number of columns, and everything written to it."""

    def __init__(self, columns: int) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        self.file = os.fdopen(self.slave, "w", encoding="utf-8")
        self.parts: list[bytes] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self.master, 65536)
            except OSError:  # no writer is left
                return
            if not part:
                return
            self.parts.append(part)

    def close(self) -> str:
        """Close the terminal; return everything written to it."""
        self.file.close()
        self.reader.join(timeout=60)
        os.close(self.master)
        return b"".join(self.parts).decode()


@contextmanager
def terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Make stdout and stderr a terminal; the yielded function closes it and returns the output."""
    screen = Terminal(columns)
    with monkeypatch.context() as patch:
        for key in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
            patch.delenv(key, raising=False)
        patch.setenv("COLUMNS", str(columns))
        patch.setenv("TERM", "xterm-256color")
        patch.setattr(sys, "stdout", screen.file)
        patch.setattr(sys, "stderr", screen.file)
        yield screen.close


def lines(shown: str) -> list[str]:
    """Return the lines on the screen, without colours."""
    return ESCAPES.sub("", shown).replace("\r\n", "\n").split("\n")


def whole(shown: str, columns: int) -> bool:
    """Return whether no line is wider than the terminal, except for a path or a single word."""
    return all(
        cell_len(line) <= columns or "/" in line or len(max(line.split(), key=len)) > columns for line in lines(shown)
    )


def run_in(terminal_of: Callable[[], str], *words: object) -> str:
    from norsim.commands import cli

    cli.main([str(word) for word in words], standalone_mode=False)
    return terminal_of()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run."""
    from norsim.commands import cli

    out = tmp_path_factory.mktemp("runs") / "first"
    cli.main([*FAST, "--quiet", "--json", "--no-cache", "--out", str(out)], standalone_mode=False)
    return out


@pytest.mark.parametrize("columns", [pytest.param(80, marks=pytest.mark.soak), 40])
@pytest.mark.slow
def test_a_run_on_a_terminal_has_progress_and_a_table(columns: int, tmp_path: Path) -> None:
    """In a separate process, which gets its width from the terminal."""
    screen = Terminal(columns)
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    environment |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-c", MAIN, *LONGER, "--no-cache", "--out", "out"], stdout=screen.slave, stderr=screen.slave,
        stdin=subprocess.DEVNULL, cwd=tmp_path, env=environment, check=True, timeout=300,
    )  # fmt: skip
    shown = screen.close()
    assert COLOURS.search(shown)
    # Each frame of the bars: done, total, rate, and remaining time.
    assert re.search(r"read\s.*\d+/300 +[\d.e+]+/s .*\d\d:\d\d", ESCAPES.sub("", shown))
    frames = re.split(r"\r\n|\r", ESCAPES.sub("", shown))
    assert all(cell_len(frame) <= columns or "/" in frame for frame in frames)
    assert {"accuracy", "interval", "float", "(macro)"} <= set(ESCAPES.sub("", shown).split())
    assert (tmp_path / "out" / "summary.json").is_file()


COMMANDS: dict[str, tuple[object, ...]] = {
    "verify": ("verify", "RUN", "--samples", "2", "--backend", "nodal"),
    "doctor": ("doctor",),
    "runs ls": ("runs", "ls", "RUN"),
    "runs show": ("runs", "show", "RUN"),
    "run-layer": ("run-layer", "--network", "digits-cnn", "--layer", "fc", "--vectors", "2", "--backend", "ideal",
                  "--out", "OUT"),
    "sweep": ("sweep", "--network", "digits-cnn", "--images", "3", "--vary", "adc.bits=6,8", "--spice-sample", "0",
              "--out", "OUT"),
    "attribute": ("attribute", "--network", "digits-cnn", "--images", "3", "--by", "layers", "--out", "OUT"),
    "cell check": ("cell", "check", "--chip", "etox65", "--out", "OUT"),
    "dry run": ("run-layer", "--network", "digits-cnn", "--layer", "fc", "--tile", "1,0", "--vectors", "2", "--backend",
                "macro", "--dry-run", "--out", "OUT"),
}  # fmt: skip
# Part of the output of each command, in the table on a terminal and in the text in a pipe.
SHOWN = {
    "verify": "reads solved again", "doctor": "torch", "runs ls": "digits-cnn", "runs show": "digits-cnn",
    "run-layer": "fc tile", "sweep": "adc.bits", "attribute": "conv1", "dry run": "tiles",
    "cell check": "characterisation",
}  # fmt: skip


def words_of(name: str, run: Path, out: Path) -> list[str]:
    return [{"RUN": str(run), "OUT": str(out)}.get(str(word), str(word)) for word in COMMANDS[name]]


@pytest.mark.parametrize("name", list(COMMANDS))
@pytest.mark.slow
def test_summaries_fit_terminals_and_are_plain_in_pipes(
    name: str, finished: Path, norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.parent)
    for columns in (80, 40):
        with terminal(columns, monkeypatch) as ended:
            shown = run_in(ended, *words_of(name, Path("first"), tmp_path / str(columns)))
        assert "\x1b[" in shown, "a terminal gets colours or bold text"
        assert whole(shown, columns), lines(shown)
        assert SHOWN[name] in " ".join(ESCAPES.sub("", shown).split())
        assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    piped = norsim(*words_of(name, Path("first"), tmp_path / "piped"))
    assert piped.code == 0 and "\x1b" not in piped.out and "\x1b" not in piped.err
    assert SHOWN[name] in " ".join(piped.out.split())


def test_piped_output_is_plain_text(norsim: Run, finished: Path) -> None:
    ended = norsim("runs", "show", finished)
    assert json.loads(ended.out)["state"] == "finished"
    ended = norsim("verify", finished, "--samples", "2", "--backend", "nodal")
    assert re.fullmatch(
        r"Random sample: 2 reads solved again by nodal: largest error \S+ converter steps, \S+ of full scale, and with "
        r"95 % confidence at most 77\.6 % of all reads have a larger one; differing converter codes \S+ % \(.+\)\.\n",
        ended.out,
    )


def test_no_color_is_respected(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(80, monkeypatch) as ended:
        monkeypatch.setenv("NO_COLOR", "1")
        shown = run_in(ended, "runs", "show", finished)
    assert "summary.network" in shown and "manifest.command" in shown and not COLOURS.search(shown)


def test_a_table_never_breaks_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("a name of several words", "97.22 %", "95.0 to 98.5"), ("[bold]", "3.00 %", "unknown")]
    for columns in range(20, 100):
        with terminal(columns, monkeypatch) as ended:
            show.table(("", "accuracy", "95 % interval"), rows, "title")
            shown = ended()
        assert whole(shown, columns), lines(shown)
        assert {"several", "97.22", "95.0", "[bold]", "unknown"} <= set(ESCAPES.sub("", shown).split()), columns


def test_numbers_are_aligned_right_and_words_left(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(("key", "value"), [("a", "1"), ("bcd", "20.5 %")])
    assert [line.strip("│┃ ") for line in capsys.readouterr().out.splitlines()[3:5]] == ["a   │      1", "bcd │ 20.5 %"]


def test_nested_content_is_listed_by_its_keys() -> None:
    found = show.entries({"a": {"b": 1.23456, "c": None, "d": [{"e": 1}, {"e": 2}]}, "f": [1, 2], "g": True})
    assert found == [("a.b", "1.235"), ("a.d", "2 entries"), ("f", "1, 2"), ("g", "yes")]


def test_lines_have_rate_and_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"at": 0.0}
    monkeypatch.setattr("norsim.commands.shared.progress.time.monotonic", lambda: now["at"])
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    with reporting(quiet=False) as report:
        for done in (1, 3):
            now["at"] += 20.0
            report("read", done, 10)
    assert stderr.getvalue().splitlines() == ["read: 1 of 10", "read: 3 of 10, 0.1/s, 0:01:10 left"]


@pytest.mark.parametrize("quiet", [False, True])
def test_bars_have_one_line_per_phase_unless_quiet(quiet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(80, monkeypatch) as ended:
        with reporting(quiet) as report:
            for tile in range(100):
                report(f"build conv{tile % 10}", tile, 100)
            report("read conv1, tile 1 of 2", 1, 2)
            report("read", 3, 0)
        shown = ended()
    assert ("99/100" in shown and "build conv9" in shown and "3/?" in shown) is not quiet
    assert ("conv8" in lines(shown)[-1]) is False
