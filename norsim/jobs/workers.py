"""Workers that execute the units of a run: this thread, a pool of threads, or processes on other machines."""

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
from norsim.errors import ConfigurationError, SolveError, SolveTimeoutError
from norsim.spice.simulators.running import discard

LOG = logging.getLogger("norsim")
TEND_SECONDS = 10.0


@dataclass(frozen=True)
class Unit:
    """One piece of work: its place among the others, its name for messages, and the function's arguments."""

    place: int
    name: str
    arguments: tuple[Any, ...]


class Workers(ABC):
    """Executors of units; `elsewhere` if they are other processes, to which all arguments must be sent."""

    elsewhere = False

    @abstractmethod
    def executor(self) -> AbstractContextManager[Executor]:
        """Return the executor that calls are submitted to; leaving the context waits for running calls."""

    @abstractmethod
    def ahead(self) -> int:
        """Return how many units to submit at a time: enough to keep workers busy, few enough to fit in memory."""

    def share(self, value: Any) -> Any:
        """Return what to pass to units in place of a large `value` that many of them need."""
        return value

    def problem(self, future: Future[Any]) -> BaseException | None:
        """Return the error of a unit, None if it succeeded."""
        return future.exception()

    def tend(self) -> None:  # noqa: B027
        """Maintain the workers; called every few seconds while units run."""

    def abandon(self, running: Iterable[Future[Any]]) -> None:  # noqa: B027
        """Stop the running units, whose results are no longer needed, as far as that is possible."""

    def run(
        self, function: Callable[..., Any], units: Iterable[Unit], done: Callable[[int, Any], None], tries: int = 2
    ) -> None:
        """Call `function` for every unit, and `done(place, result)` in this thread as each of them finishes.

        Units are taken from the iterable as workers become free. After a SolveError a unit is tried again, up to
        `tries` times in all, but not after a SolveTimeoutError: it would take as long again. If it still fails, the
        remaining units are cancelled, those running in this process are waited for, and a SolveError names the first
        failed unit and the number of failures (with one try it is the unit's own error); no folder is kept but the one
        that it names. Any other error, also one of `done` or of `units`, is raised unchanged, and running units are
        stopped.
        """
        waiting, again = iter(units), list[Unit]()
        running: dict[Future[Any], Unit] = {}
        tried: Counter[int] = Counter()
        failed: dict[int, tuple[Unit, SolveError]] = {}
        unnamed: list[SolveError] = []
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
                        chance = not isinstance(problem, SolveTimeoutError)
                        if chance and tried[unit.place] < tries and not failed:
                            LOG.warning("%s failed and is tried again: %s", unit.name, problem.reason)
                            unnamed.append(problem)
                            again.append(unit)
                        else:
                            failed[unit.place] = (unit, problem)
                            for other in running:
                                other.cancel()
            except BaseException:
                self.abandon(running)
                raise
            finally:
                for future in running:
                    future.cancel()
                for earlier in [*unnamed, *(problem for _, problem in list(failed.values())[1:])]:
                    discard(earlier)
        if failed:
            unit, problem = next(iter(failed.values()))
            if tries == 1:
                raise problem
            others = f"{len(failed)} units of work failed, first: " if len(failed) > 1 else ""
            count = tried[unit.place]
            how_often = f" {count} times" if count > 1 else ""
            told = SolveError(f"{others}{unit.name} failed{how_often}: {problem.reason}")
            told.kept = problem.kept
            raise told from None


class _Here(Executor):
    """An executor that makes each call at once, in this thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as problem:
            future.set_exception(problem)
        return future


@dataclass(frozen=True)
class Threads(Workers):
    """A pool of `count` threads, for units that wait for a process of their own; with one, this thread.

    Raises ConfigurationError for fewer than one.
    """

    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigurationError(f"at least one job is needed, not {self.count}")

    @contextmanager
    def executor(self) -> Iterator[Executor]:
        """Yield a pool of threads, or an executor in this thread for one unit at a time."""
        with _Here() if self.count == 1 else ThreadPoolExecutor(self.count) as executor:
            yield executor

    def abandon(self, running: Iterable[Future[Any]]) -> None:
        """Stop the simulators of all running units until each unit has ended."""
        left = [future for future in running if not future.cancel() and not future.done()]
        # Repeated, because a unit may be about to start a simulator.
        while left:
            stop_running()
            left = list(wait(left, 0.05).not_done)

    def ahead(self) -> int:
        """Return two units per thread, so that no thread is idle."""
        return 1 if self.count == 1 else 2 * self.count


HERE = Threads(1)
