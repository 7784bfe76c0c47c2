"""Progress reports, and the seconds of each phase of a run, which are measured between reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# Called with what is being done, the amount done and the total: `report("calibrate conv1", 3, 8)`. The first word names
# the phase; a layer, if there is one, follows.
Report = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Ignore progress: the default report."""


# Called with the event "phase" at the start of a phase, and with "phase ended" and its `seconds` at the end; `phase` is
# its name.
Listener = Callable[..., None]


class Phases:
    """A report that measures the time of each phase: from its first report to the first report of another one.

    `seconds`   of the phases that have ended, by name; those that occur several times are added up
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds: dict[str, float] = {}
        self._clock, self._listeners = clock, list[Listener]()
        self._now, self._since = "", 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take a report; the phase is its first word."""
        phase = what.partition(" ")[0]
        if phase != self._now:
            self.pause()
            self._now, self._since = phase, self._clock()
            for listener in self._listeners:
                listener("phase", phase=phase)

    def pause(self) -> None:
        """End the present phase, if there is one, until the next report."""
        if not self._now:
            return
        phase, took, self._now = self._now, self._clock() - self._since, ""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + took
        for listener in self._listeners:
            listener("phase ended", phase=phase, seconds=round(took, 3))

    def follow(self, listener: Listener) -> None:
        """Call `listener` at each start and end of a phase, and now for all that have ended or begun already."""
        for phase, took in self.seconds.items():
            listener("phase ended", phase=phase, seconds=round(took, 3))
        if self._now:
            listener("phase", phase=self._now)
        self._listeners.append(listener)


@dataclass
class BatchProgress:
    """Passes on the progress of the batches of an evaluation.

    `report`      gets ("PHASE LAYER", done, total)
    `progress`    gets (done, total) of the same, if it is given
    `by_images`   whether images are counted, and the layer and tile are named; otherwise decks of a layer are counted
    """

    report: Report = field(default=silent)
    progress: Callable[[int, int], None] | None = None
    by_images: bool = True
    _done: tuple[int, int] = (0, 0)

    def images(self, phase: str, total: int) -> Callable[[int], None]:
        """Start a phase of `total` images, 0 if that is unknown; return a function that is called with those done."""
        self._done = (0, total)
        self.report(phase, 0, total)

        def done(count: int) -> None:
            self._done = (count, total)
            if self.by_images:
                self.report(phase, count, total)
                if self.progress and total:
                    self.progress(count, total)

        return done

    def layer(self, what: str, done: int, total: int) -> None:
        """Take the progress of one layer, as a Reader reports it."""
        if self.by_images:
            self.report(f"{what}, tile {done} of {total}", *self._done)
            return
        self.report(what, done, total)
        if self.progress:
            self.progress(done, total)


@contextmanager
def step(report: Report, what: str) -> Iterator[None]:
    """Report work that cannot be counted: 0 of 1 within the block, then 1 of 1."""
    report(what, 0, 1)
    yield
    report(what, 1, 1)
