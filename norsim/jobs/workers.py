"""Who does the work of a run: this thread, threads that each wait for a simulator, or other processes elsewhere."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from norsim.child_processes import stop_running
from norsim.errors import ConfigurationError, SolveError

LOG = logging.getLogger("norsim")
TEND_SECONDS = 10.0


@dataclass(frozen=True)
class Unit:
    """One piece of work: its place among the others, its name for people, what the function is called with."""

    place: int
    name: str
    arguments: tuple[Any, ...]


class Workers(ABC):
    """`elsewhere` says whether the work is done in other processes, to which all that it needs must be sent."""

    elsewhere = False

    @abstractmethod
    def executor(self) -> AbstractContextManager[Executor]:
        """Where calls are submitted; leaving it waits for those that run."""

    @abstractmethod
    def ahead(self) -> int:
        """Units to have submitted at a time: enough that no worker waits, few enough to hold in memory."""

    def share(self, value: Any) -> Any:
        """What to put among the arguments of units in place of a large `value` that many of them need."""
        return value

    def problem(self, future: Future[Any]) -> BaseException | None:
        """What a unit failed with."""
        return future.exception()

    def tend(self) -> None:  # noqa: B027
        """Called now and then while units are waited for; most need no looking after."""

    def abandon(self, running: Iterable[Future[Any]]) -> None:  # noqa: B027
        """Called when nobody wants the result of units that run; most cannot be stopped."""

    def run(
        self, function: Callable[..., Any], units: Iterable[Unit], done: Callable[[int, Any], None], tries: int = 2
    ) -> None:
        """Call `function` for every unit, and `done(place, result)` in this thread as each of them ends.

        Units are taken from the iterable as there is room for them. One that ends in a SolveError is tried again, up
        to `tries` times in all; then the others are given up, those that run in this process are waited for, and
        SolveError names the first that failed and says how many did (with one try it is the unit's own). Any other
        error is raised as it is.
        """
        waiting, again = iter(units), list[Unit]()
        running: dict[Future[Any], Unit] = {}
        tried: Counter[int] = Counter()
        failed: dict[int, tuple[str, SolveError]] = {}
        with self.executor() as executor:
            try:
                while True:
                    while not failed and len(running) < self.ahead():
                        unit = again.pop() if again else next(waiting, None)
                        if unit is None:
                            break
                        running[executor.submit(function, *unit.arguments)] = unit
                    if not running:
                        break
                    ended = wait(running, TEND_SECONDS, return_when=FIRST_COMPLETED).done
                    if not ended:
                        self.tend()
                    for future in ended:
                        unit = running.pop(future)
                        if failed and future.cancelled():
                            continue
                        problem = self.problem(future)
                        if problem is None:
                            done(unit.place, future.result())
                            continue
                        if not isinstance(problem, SolveError):
                            raise problem
                        tried[unit.place] += 1
                        if tried[unit.place] < tries and not failed:
                            LOG.warning("%s failed and is tried again: %s", unit.name, problem)
                            again.append(unit)
                        else:
                            failed[unit.place] = (unit.name, problem)
                            for other in running:
                                other.cancel()
            except KeyboardInterrupt:
                self.abandon(running)
                raise
            finally:
                for future in running:
                    future.cancel()
        if failed:
            name, problem = next(iter(failed.values()))
            if tries == 1:
                raise problem
            others = f"{len(failed)} units of work failed, first: " if len(failed) > 1 else ""
            raise SolveError(f"{others}{name} failed {tries} times: {problem}") from None


class _Here(Executor):
    """Makes each call at once, in this thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as problem:
            future.set_exception(problem)
        return future


@dataclass(frozen=True)
class Threads(Workers):
    """So many units at a time in this process, for units that wait for a process of their own; one: in this thread.

    Raises ConfigurationError for fewer than one.
    """

    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigurationError(f"at least one job is needed, not {self.count}")

    @contextmanager
    def executor(self) -> Iterator[Executor]:
        """A pool of threads; for one unit at a time, this thread."""
        with _Here() if self.count == 1 else ThreadPoolExecutor(self.count) as executor:
            yield executor

    def abandon(self, running: Iterable[Future[Any]]) -> None:
        """Stop the simulators of all units that run, until each has ended."""
        left = [future for future in running if not future.cancel()]
        # Some may be about to start a simulator: until all have ended.
        while left:
            stop_running()
            left = list(wait(left, 0.05).not_done)

    def ahead(self) -> int:
        """Two units a thread, so that none waits for the next."""
        return 1 if self.count == 1 else 2 * self.count


HERE = Threads(1)
