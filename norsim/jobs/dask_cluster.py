"""The processes of a Dask cluster as workers: one that runs, or one that is asked of a queueing system."""

from __future__ import annotations

import math
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Any

from norsim.errors import ConfigurationError, NorsimError, SimulatorError, SolveError
from norsim.jobs.unit_store import code_digest
from norsim.jobs.workers import LOG, Workers
from norsim.spice.simulators.choice import SIMULATORS, VARIABLE, Simulator, chosen_simulator

# Queueing systems, and the class of dask-jobqueue that submits jobs to each.
SYSTEMS = {"slurm": "SLURMCluster", "lsf": "LSFCluster", "pbs": "PBSCluster"}
SECONDS_TO_CONNECT = 20
SECONDS_TO_SUBMIT = 20
SECONDS_BETWEEN_COUNTS = 5
LOST = "The Dask cluster was lost. Go on with --resume"
# Libraries whose version may change the last bit of a result.
DECISIVE = ("numpy", "scipy", "numba", "torch")


@contextmanager
def cluster(scheduler: str, options: Mapping[str, Any]) -> Iterator[Workers]:
    """The workers of the scheduler at an address such as `tcp://host:8786`, or of jobs in a queueing system of SYSTEMS.

    `options` are for the latter: `jobs`, how many to submit, and what dask-jobqueue's class of that system takes
    (`queue`, `cores`, `memory`, `walltime`, ...). The jobs end with the context. Raises ConfigurationError without
    Dask, without an answer, and for options that are not understood.
    """
    try:
        distributed = import_module("distributed")
        systems = import_module("dask_jobqueue") if scheduler in SYSTEMS else None
    except ImportError as problem:
        raise ConfigurationError(f"--scheduler needs Dask ({problem}): pip install 'norsim[cluster]'") from None
    with ExitStack() as stack:
        address: Any = scheduler
        renew: Callable[[], object] | None = None
        if systems:
            jobs, rest = _jobs(options)
            try:
                address = stack.enter_context(getattr(systems, SYSTEMS[scheduler])(**rest))
            except (TypeError, ValueError, RuntimeError, OSError) as problem:
                raise ConfigurationError(f"--scheduler {scheduler}: {problem}; see --scheduler-options") from None
            renew = partial(address.scale, jobs=jobs)
            _submit(address, renew, scheduler)
        elif options:
            raise ConfigurationError(f"--scheduler-options are for {', '.join(SYSTEMS)}, not for a cluster that runs")
        try:
            client = stack.enter_context(distributed.Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False))
        except (OSError, ValueError, TypeError) as problem:
            raise ConfigurationError(
                f"--scheduler {scheduler}: no Dask scheduler answers there ({problem}). Expected tcp://HOST:PORT of "
                f"`dask scheduler`, or {', '.join(SYSTEMS)}"
            ) from None
        yield Cluster(client, renew)


def _submit(jobs: Any, renew: Callable[[], object], scheduler: str) -> None:
    """Submit jobs; raises ConfigurationError where the queueing system takes none."""
    renew()
    until = time.monotonic() + SECONDS_TO_SUBMIT
    while all(job.status.name == "created" for job in jobs.workers.values()):
        if time.monotonic() > until:
            # Or the cluster would wait for them when it is closed.
            for job in jobs.workers.values():
                job.status = type(job.status).failed
            raise ConfigurationError(
                f"--scheduler {scheduler}: the queueing system has taken no job; what it said is above. Check "
                f"--scheduler-options, and that its programs are on this machine"
            )
        time.sleep(0.1)


def _jobs(options: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    rest = dict(options)
    jobs = rest.pop("jobs", 1)
    if not isinstance(jobs, int) or jobs < 1:
        raise ConfigurationError(f"--scheduler-options: jobs is {jobs!r}; expected a number of jobs, at least 1")
    return jobs, rest


class Cluster(Workers):
    """The workers of a Dask client; `renew` asks for those that are missing, where there is somebody to ask.

    What a lost worker had in hand is given to another, by Dask. Raises SimulatorError where the scheduler is lost.
    """

    elsewhere = True

    def __init__(self, client: Any, renew: Callable[[], object] | None = None) -> None:
        self.client, self.renew = client, renew
        self.threads, self.counted = 0, -math.inf

    @contextmanager
    def executor(self) -> Iterator[Executor]:
        """Dask's executor; a unit is refused by a worker whose installation is another."""
        with _reaching():
            executor = self.client.get_executor(pure=False)
        with executor:
            yield _Checked(executor, installation())

    def ahead(self) -> int:
        """Three units a thread of the workers that are there, which are counted now and then."""
        if time.monotonic() - self.counted > SECONDS_BETWEEN_COUNTS:
            with _reaching():
                self.threads, self.counted = sum(self.client.nthreads().values()), time.monotonic()
        return max(3 * self.threads, 4)

    def tend(self) -> None:
        """Warn if no worker is left, and have jobs that ended submitted again."""
        with _reaching():
            if not self.client.nthreads():
                LOG.warning("no worker is there; waiting for one")
            if self.renew:
                self.renew()

    def share(self, value: Any) -> Any:
        """A future of `value`, which workers fetch once."""
        # The result of a task, because Dask makes such a one again when the worker that had it is lost.
        with _reaching(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is large
            return self.client.submit(_itself, value, pure=False)

    def problem(self, future: Future[Any]) -> BaseException | None:
        """What ended a unit, as an error of norsim's where it is the cluster's; None if nothing did."""
        try:
            problem = future.exception()
        except CancelledError:
            return SimulatorError(LOST)
        # By name, because a cluster's library is imported only where one is used.
        if type(problem).__name__ == "KilledWorker":
            return SolveError(f"the workers that had it in hand died; was there enough memory? ({problem})")
        if isinstance(problem, ModuleNotFoundError):
            return SimulatorError(f"a worker cannot import what it needs ({problem}): install norsim there as here")
        return problem


@contextmanager
def _reaching() -> Iterator[None]:
    """What is asked of the scheduler within may find it gone."""
    try:
        yield
    except (OSError, TimeoutError, CancelledError, RuntimeError):
        raise SimulatorError(LOST) from None


def _itself(value: Any) -> Any:
    return value


class _Checked(Executor):
    """Has each call made by `_there`."""

    def __init__(self, executor: Executor, expected: dict[str, str]) -> None:
        self.within, self.expected = executor, expected

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with _reaching():
            return self.within.submit(_there, self.expected, fn, *args, **kwargs)


def installation() -> dict[str, str]:
    """What must be the same everywhere for results to be the same to the last bit."""
    return {
        "norsim's code": code_digest(), VARIABLE: chosen_simulator().name,
        **{name: _identity(one) for name, one in SIMULATORS.items()}, **{name: version(name) for name in DECISIVE},
    }  # fmt: skip


def _identity(simulator: Simulator) -> str:
    try:
        return simulator.identity()
    except SimulatorError:
        return "none"


def _there(expected: Mapping[str, str], function: Callable[..., Any], *arguments: Any) -> Any:
    """`function` on a worker, whose norsim must be the one that asks. What fails tells on which machine it did."""
    here = installation()
    other = [name for name in expected if here[name] != expected[name]]
    try:
        if other:
            raise SimulatorError(f"the installation differs in {', '.join(other)}; install the same versions")
        return function(*arguments)
    except NorsimError as problem:
        raise type(problem)(f"{problem} (on {platform.node()})") from None
