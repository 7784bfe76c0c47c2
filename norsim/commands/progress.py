"""Progress on stderr: bars in a terminal, a plain line now and then elsewhere, nothing when asked to be quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
from rich.text import Text

SECONDS_BETWEEN_LINES = 10.0

Report = Callable[[str, int, int], None]


@contextmanager
def reporting(quiet: bool) -> Iterator[Report]:
    """Gives `report(what, done, total)`."""
    console = Console(stderr=True)
    if quiet:
        yield lambda what, done, total: None
    elif console.is_terminal:
        with _bars(console) as report:
            yield report
    else:
        yield _lines()


class _Throughput(ProgressColumn):
    """How many are done in a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g}/s")


@contextmanager
def _bars(console: Console) -> Iterator[Report]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Throughput(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
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
        # What starts over, with the next layer, is timed anew.
        if what not in begun or done <= begun[what][1] or total != begun[what][2]:
            begun[what] = (now, done, total)
        start, before, _ = begun[what]
        if now - last["at"] >= SECONDS_BETWEEN_LINES:
            last["at"] = now
            rate = f", {(done - before) / (now - start):.3g}/s" if done > before else ""
            click.echo(f"{what}: {done} of {total}{rate}", err=True)

    return report
