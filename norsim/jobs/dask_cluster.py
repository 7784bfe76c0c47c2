"""Dask clusters as workers: a running one, or one started through a queueing system."""

from __future__ import annotations

import gc
import math
import platform
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pickle import PicklingError
from typing import Any

from norsim.errors import ConfigurationError, NorsimError, SimulatorError, SolveError
from norsim.jobs.unit_store import DECISIVE, code_digest
from norsim.jobs.workers import LOG, Workers
from norsim.spice.simulators.choice import SIMULATORS, VARIABLE, Simulator, chosen_simulator
from norsim.user_code import forget, watch_imports

# Queueing systems, each with its class in dask-jobqueue.
SYSTEMS = {"slurm": "SLURMCluster", "lsf": "LSFCluster", "pbs": "PBSCluster"}
SECONDS_TO_CONNECT = 20
SECONDS_TO_SUBMIT = 20
SECONDS_BETWEEN_COUNTS = 5
LOST = "The Dask cluster was lost. Finished work is kept: resume the run"
UNSENT = (
    "the network or its data cannot be sent to the workers of a cluster ({}). Work on this machine, without a cluster"
)


@contextmanager
def cluster(scheduler: str, options: Mapping[str, Any]) -> Iterator[Workers]:
    """Connect to the scheduler at an address such as `tcp://host:8786`, or submit jobs to a queueing system of SYSTEMS.

    `options` apply to a queueing system: `jobs`, the number to submit, and the arguments of its class in dask-jobqueue
    (`queue`, `cores`, `memory`, `walltime`, ...). The jobs end with the context. Raises ConfigurationError if Dask is
    not installed, the scheduler does not answer or an option is invalid.
    """
    try:
        distributed = import_module("distributed")
        systems = import_module("dask_jobqueue") if scheduler in SYSTEMS else None
    except ImportError as problem:
        raise ConfigurationError(f"a cluster needs Dask ({problem}): pip install 'norsim[cluster]'") from None
    with ExitStack() as stack:
        address: Any = scheduler
        renew: Callable[[], object] | None = None
        if systems:
            jobs, rest = _jobs(options)
            try:
                address = stack.enter_context(getattr(systems, SYSTEMS[scheduler])(**rest))
            except (TypeError, ValueError, RuntimeError, OSError) as problem:
                raise ConfigurationError(f"scheduler {scheduler}: {problem}; check the scheduler options") from None
            renew = partial(address.scale, jobs=jobs)
            _submit(address, renew, scheduler)
        elif options:
            raise ConfigurationError(f"scheduler options are for {', '.join(SYSTEMS)}, not for a running cluster")
        # A client that found no scheduler is closed when it is collected; while the next one starts, that never ends.
        gc.collect()
        try:
            client = stack.enter_context(distributed.Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False))
        except (OSError, ValueError, TypeError) as problem:
            raise ConfigurationError(
                f"scheduler {scheduler}: no Dask scheduler answers there ({problem}). Expected tcp://HOST:PORT of "
                f"`dask scheduler`, or {', '.join(SYSTEMS)}"
            ) from None
        yield Cluster(client, renew)


def _submit(jobs: Any, renew: Callable[[], object], scheduler: str) -> None:
    """Submit the jobs. Raises ConfigurationError if the queueing system accepts none."""
    renew()
    until = time.monotonic() + SECONDS_TO_SUBMIT
    while all(job.status.name == "created" for job in jobs.workers.values()):
        if time.monotonic() > until:
            # Otherwise the cluster waits for them when it closes.
            for job in jobs.workers.values():
                job.status = type(job.status).failed
            raise ConfigurationError(
                f"scheduler {scheduler}: the queueing system accepted no job; its output is above. Check the "
                "scheduler options, and that its programs are installed on this machine"
            )
        time.sleep(0.1)


def _jobs(options: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    rest = dict(options)
    # Any free port for the dashboard: Dask's default is taken if another cluster runs on this machine.
    rest.setdefault("scheduler_options", {"dashboard_address": ":0"})
    jobs = rest.pop("jobs", 1)
    if not isinstance(jobs, int) or jobs < 1:
        raise ConfigurationError(f"scheduler options: jobs is {jobs!r}; expected a number of jobs, at least 1")
    return jobs, rest


class Cluster(Workers):
    """The workers of a Dask client; `renew` submits missing jobs to the queueing system, if there is one.

    Dask reassigns the units of a lost worker. Raises SimulatorError if the scheduler is lost.
    """

    elsewhere = True

    def __init__(self, client: Any, renew: Callable[[], object] | None = None) -> None:
        self.client, self.renew = client, renew
        self.threads, self.counted = 0, -math.inf

    @contextmanager
    def executor(self) -> Iterator[Executor]:
        """Yield Dask's executor; a worker with another installation rejects its units."""
        with _reaching():
            executor = self.client.get_executor(pure=False)
        with executor:
            yield _Checked(executor, installation())

    def ahead(self) -> int:
        """Return three units per thread of the present workers, which are counted every few seconds."""
        if time.monotonic() - self.counted > SECONDS_BETWEEN_COUNTS:
            with _reaching():
                self.threads, self.counted = sum(self.client.nthreads().values()), time.monotonic()
        return max(3 * self.threads, 4)

    def tend(self) -> None:
        """Warn if there is no worker, and submit jobs again that have ended."""
        with _reaching():
            if not self.client.nthreads():
                LOG.warning("there is no worker; waiting for one")
            if self.renew:
                self.renew()

    def share(self, value: Any) -> Any:
        """Return a future of `value`, which each worker fetches once."""
        # With the classes of user-supplied code, which Dask would only name.
        try:
            content = import_module("cloudpickle").dumps(value)
        except Exception as problem:  # a user's object may raise anything
            raise ConfigurationError(UNSENT.format(_text(problem))) from problem
        # As the result of a task, which Dask computes again if the worker that holds it is lost.
        with _reaching(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about its size
            return self.client.submit(_Shared, content, pure=False)

    def problem(self, future: Future[Any]) -> BaseException | None:
        """Return the error of a unit, None if it succeeded; errors of the cluster become errors of norsim."""
        try:
            problem = future.exception()
        except CancelledError:
            return SimulatorError(LOST)
        # Compared by name: Dask is imported only if a cluster is used.
        if type(problem).__name__ == "KilledWorker":
            return SolveError(f"the workers that ran it died; did they have enough memory? ({problem})")
        if isinstance(problem, ModuleNotFoundError):
            return SimulatorError(f"a worker cannot import a module ({problem}): install the same norsim there")
        return problem


@contextmanager
def _reaching() -> Iterator[None]:
    """Raise SimulatorError with the cause if a request to the scheduler fails, ConfigurationError if its arguments
    cannot be pickled."""
    try:
        yield
    except (OSError, TimeoutError, CancelledError, RuntimeError, TypeError, PicklingError) as problem:
        # Dask and pickle have no class of errors for this.
        if isinstance(problem, PicklingError) or re.search("pickl|serializ", str(problem), re.IGNORECASE):
            raise ConfigurationError(UNSENT.format(_text(problem))) from problem
        if isinstance(problem, TypeError):
            raise
        raise SimulatorError(f"{LOST} ({_text(problem)})") from None


def _text(problem: BaseException) -> str:
    """Return the class of an error and its text on one line."""
    return " ".join(f"{type(problem).__name__}: {problem}".rstrip(": ").split())


class _Shared:
    """A value on a worker, from its pickled `content`.

    One worker sends it to another as its content. Dask would send a module of torch part by part, so that a parameter
    that two of its parts refer to would arrive as two.
    """

    def __init__(self, content: bytes) -> None:
        # Its code may import more, from where its file is now.
        forget()
        watch_imports()
        self.content, self.value = content, import_module("cloudpickle").loads(content)

    def __reduce__(self) -> tuple[type[_Shared], tuple[bytes]]:
        return _Shared, (self.content,)


class _Checked(Executor):
    """An executor that makes each call through `_there`."""

    def __init__(self, executor: Executor, expected: dict[str, str]) -> None:
        self.within, self.expected = executor, expected

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with _reaching():
            return self.within.submit(_there, self.expected, fn, *args, **kwargs)


def installation() -> dict[str, str]:
    """Return the versions that must agree on all machines for results to agree to the last bit."""
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
    """Call `function` on a worker with the `expected` installation; errors name the machine."""
    here = installation()
    other = [name for name in expected if here[name] != expected[name]]
    try:
        if other:
            raise SimulatorError(f"the installation differs in {', '.join(other)}; install the same versions")
        return function(*(one.value if isinstance(one, _Shared) else one for one in arguments))
    except NorsimError as problem:
        raise type(problem)(f"{problem} (on {platform.node()})") from None
