"""Progress on stderr with rates and remaining time: bars on a terminal, occasional plain lines elsewhere, nothing if
quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

SECONDS_BETWEEN_LINES = 10.0
# The least width of a terminal for bars, in columns.
WIDE = 70

Report = Callable[[str, int, int], None]


@contextmanager
def reporting(quiet: bool, lines: bool = True) -> Iterator[Report]:
    """Yield `report(what, done, total)`; without `lines`, progress is shown only on a terminal."""
    console = Console(stderr=True)
    if not quiet and console.is_terminal:
        with _bars(console) as report:
            yield report
    elif quiet or not lines:
        yield lambda what, done, total: None
    else:
        yield _lines()


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
        tasks = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield report


def _lines() -> Report:
    last = {"at": time.monotonic()}
    begun: dict[str, tuple[float, int, int]] = {}

    def report(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        # Work that starts over, with the next layer, is timed from the start.
        if what not in begun or done <= begun[what][1] or total != begun[what][2]:
            begun[what] = (now, done, total)
        start, before, _ = begun[what]
        if now - last["at"] >= SECONDS_BETWEEN_LINES:
            last["at"] = now
            click.echo(f"{what}: {done} of {total}{_pace(done - before, total - done, now - start)}", err=True)

    return report


def _pace(made: int, left: int, seconds: float) -> str:
    """Return the rate and the remaining time; an empty text before they are known."""
    if made <= 0 or seconds <= 0:
        return ""
    return f", {made / seconds:.3g}/s, {timedelta(seconds=round(left * seconds / made))} left"
