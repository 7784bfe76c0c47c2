"""Progress on stderr with rates and remaining time: bars on a terminal, occasional plain lines elsewhere, nothing if
quiet."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from norsim.jobs.phases import Phases, Report, silent

# A phase of this length has a line, and then one at least this often.
SECONDS_BEFORE_LINE, SECONDS_BETWEEN_LINES = 2.0, 10.0
# The time between two looks at whether a line is due.
SECONDS_OF_TICK = 0.5
# The least width of a terminal for bars, in columns.
WIDE = 70


@contextmanager
def reporting(quiet: bool, phases: Phases | None = None) -> Iterator[Report]:
    """Yield `report(what, done, total)`, which shows progress and passes it on to `phases`; total is 0 if unknown."""
    measured = phases or Phases()
    try:
        with _shown(quiet) as show:

            def report(what: str, done: int, total: int) -> None:
                measured(what, done, total)
                show(what, done, total)

            yield report
    finally:
        measured.pause()


@contextmanager
def _shown(quiet: bool) -> Iterator[Report]:
    console = Console(stderr=True)
    if quiet:
        yield silent
    elif console.is_terminal:
        with _bars(console) as report:
            yield report
    else:
        with _lines() as report:
            yield report


class _Throughput(ProgressColumn):
    """A column with the number of items done per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g}/s")


@contextmanager
def _bars(console: Console) -> Iterator[Report]:
    """Yield a report by bars. A narrow terminal drops the bar and the elapsed time, then shortens names."""
    name = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis"))
    wide = console.width >= WIDE
    columns: list[ProgressColumn] = [name, *([BarColumn(bar_width=20)] if wide else []), MofNCompleteColumn()]
    columns += [_Throughput(), *([TimeElapsedColumn()] if wide else []), TimeRemainingColumn(compact=True)]
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[str, TaskID] = {}
        last: dict[str, tuple[int, int]] = {}

        def report(what: str, done: int, total: int) -> None:
            phase = what.partition(" ")[0]
            if phase in tasks and (total != last[phase][1] or done < last[phase][0]):
                # The phase starts over, with the next layer.
                progress.remove_task(tasks.pop(phase))
            if phase not in tasks:
                tasks[phase] = progress.add_task(what, total=total or None)
            last[phase] = done, total
            progress.update(tasks[phase], completed=done, description=what)

        yield report


class _Lines:
    """Plain lines about the present work, when they are due."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._printed, self._announced = time.monotonic(), ""
        self._now: tuple[str, int, int] | None = None
        # The start of the present phase, and of the present work, with the amount done then.
        self._phase_at, self._begun = 0.0, (0.0, 0)

    def report(self, what: str, done: int, total: int) -> None:
        """Take a report, and print a line if one is due."""
        with self._lock:
            now, before = time.monotonic(), self._now
            if before is None or before[0].partition(" ")[0] != what.partition(" ")[0]:
                self._phase_at, self._announced = now, ""
            # Work that starts over, with the next layer, is timed from the start.
            if before is None or done <= before[1] or total != before[2]:
                self._begun = (now, done)
            self._now = (what, done, total)
            self._print(now)

    def tick(self) -> None:
        """Print a line about unfinished work if one is due."""
        with self._lock:
            if self._now is not None and not 0 < self._now[2] <= self._now[1]:
                self._print(time.monotonic())

    def _print(self, now: float) -> None:
        assert self._now is not None
        what, done, total = self._now
        first = not self._announced and now - self._phase_at >= SECONDS_BEFORE_LINE
        if not first and now - self._printed < SECONDS_BETWEEN_LINES:
            return
        self._printed, self._announced = now, what
        since, before = self._begun
        pace = _pace(done - before, total - done, now - since) or _so_far(now - self._phase_at)
        click.echo(f"{what}: {done} of {total}{pace}" if total else f"{what}: {done}{pace}", err=True)


@contextmanager
def _lines() -> Iterator[Report]:
    """Yield a report by lines, which a thread prints as well, because work may take long between two reports."""
    lines, ended = _Lines(), threading.Event()

    def tick() -> None:
        while not ended.wait(SECONDS_OF_TICK):
            lines.tick()

    thread = threading.Thread(target=tick, name="norsim-progress", daemon=True)
    thread.start()
    try:
        yield lines.report
    finally:
        ended.set()
        thread.join()


def _so_far(seconds: float) -> str:
    """Return the time that a phase has taken, while its rate is not known."""
    return f", {timedelta(seconds=round(seconds))} so far" if round(seconds) else ""


def _pace(made: int, left: int, seconds: float) -> str:
    """Return the rate and the remaining time; an empty text before they are known."""
    if made <= 0 or seconds <= 0:
        return ""
    rest = f", {timedelta(seconds=round(left * seconds / made))} left" if left > 0 else ""
    return f", {made / seconds:.3g}/s{rest}"
