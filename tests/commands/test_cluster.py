"""Work on a Dask cluster: the same bytes as in one process, even if a worker dies; errors for invalid options."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch
from distributed.protocol import deserialize, serialize

from norsim.commands import cli
from norsim.errors import SimulatorError, SolveError
from norsim.jobs.dask_cluster import _Shared, _there, cluster, installation
from norsim.jobs.workers import Unit
from tests.commands.test_resume import EVALUATE, FAST, READ, results
from tests.faults.test_user_code import HELPERS, LAZY, files
from tests.processes import start

Run = Callable[..., Any]
Alone = Callable[[tuple[str, ...]], Path]

SECONDS = 120.0


def eventually(happened: Callable[[], Any]) -> Any:
    """Return the result of `happened` once it is true."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        found = happened()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it never happened")


@dataclass
class Cluster:
    """A scheduler and its workers, as processes on this machine."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def dask(self, *words: object) -> subprocess.Popen[bytes]:
        log = open(self.folder / f"dask-{len(self.processes)}.log", "wb")  # noqa: SIM115
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *map(str, words)], stdout=log, stderr=log, cwd=self.folder,
                start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    @property
    def address(self) -> str:
        def written() -> str | None:
            try:
                return str(json.loads((self.folder / "scheduler.json").read_text())["address"])
            except (OSError, ValueError):
                return None

        return str(eventually(written))

    def worker(self) -> subprocess.Popen[bytes]:
        process = self.dask("worker", self.address, "--no-nanny", "--nthreads", 1, "--no-dashboard")
        log = self.folder / f"dask-{len(self.processes) - 1}.log"
        eventually(lambda: "Registered to" in log.read_text())
        return process

    def stop_from(self, first: int) -> None:
        """Stop all processes from the one with that number on; 0 is the scheduler."""
        for process in reversed(self.processes[first:]):
            if process.poll() is None:
                stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Start a scheduler without workers."""
    made = Cluster(folder)
    made.dask("scheduler", "--port", 0, "--no-dashboard", "--scheduler-file", "scheduler.json")
    try:
        yield made
    finally:
        made.stop_from(0)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler for all tests here that do not stop it."""
    with running(tmp_path_factory.mktemp("dask")) as made:
        yield made


@pytest.fixture
def dask_cluster(scheduler: Cluster) -> Iterator[Cluster]:
    """The scheduler, without workers."""
    yield scheduler
    scheduler.stop_from(1)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], Path]:
    """`alone(command)` is the folder of a run of that command without a cluster, made once for all tests here."""
    folders: dict[tuple[str, ...], Path] = {}

    def run(command: tuple[str, ...]) -> Path:
        if command not in folders:
            out = tmp_path_factory.mktemp("alone") / "run"
            cli.main([*command, "--no-cache", "--out", str(out)], standalone_mode=False)
            folders[command] = out
        return folders[command]

    return run


def units(folder: Path) -> int:
    return len(list(folder.glob("units/*/*.parquet")))


@pytest.mark.parametrize(
    "command", [EVALUATE, pytest.param(READ, marks=pytest.mark.soak)], ids=["eval-network", "run-layer"]
)
@pytest.mark.slow
def test_two_workers_one_of_which_dies_give_the_bytes_of_one_process(
    alone: Alone, dask_cluster: Cluster, tmp_path: Path, command: tuple[str, ...]
) -> None:
    first, _ = dask_cluster.worker(), dask_cluster.worker()
    there, here = tmp_path / "there", alone(command)
    process = start(*command, "--no-cache", "--out", there, "--scheduler", dask_cluster.address)
    eventually(lambda: units(there) >= 2)
    assert process.poll() is None
    stop(first)
    assert process.wait(SECONDS) == 0
    assert results(there) == results(here) and len(results(here)) >= 3


# The test of a queueing system proves the same with its jobs as workers.
@pytest.mark.soak
def test_batches_on_workers_give_the_same_bytes(
    norsim: Run, alone: Alone, dask_cluster: Cluster, tmp_path: Path
) -> None:
    dask_cluster.worker()
    there = norsim(*FAST, "--no-cache", "--out", tmp_path / "there", "--scheduler", dask_cluster.address)
    assert there.code == 0
    assert results(tmp_path / "there") == results(alone(FAST))
    assert len(results(alone(FAST))) == 3


@pytest.mark.slow
def test_workers_find_what_lies_beside_a_user_supplied_network(
    norsim: Run, dask_cluster: Cluster, tmp_path: Path
) -> None:
    files(tmp_path, net=LAZY, **HELPERS)
    words = ("eval-network", "--model", f"{tmp_path}/net.py:make", "--dataset", "digits", "--images", 40, "--quiet",
             "--proof-images", 0, "--spice-sample", 1)  # fmt: skip
    dask_cluster.worker()
    there = norsim(*words, "--out", tmp_path / "there", "--scheduler", dask_cluster.address)
    assert there.code == 0, there.err
    assert norsim(*words, "--out", tmp_path / "here").code == 0
    assert (tmp_path / "there" / "results.csv").read_bytes() == (tmp_path / "here" / "results.csv").read_bytes()


@pytest.mark.slow
def test_a_lost_cluster_ends_in_3_and_the_run_can_be_resumed(norsim: Run, alone: Alone, tmp_path: Path) -> None:
    part = tmp_path / "part"
    with running(tmp_path) as made:
        made.worker()
        lose(made, part, tmp_path / "log")
    assert not (part / "summary.json").exists()
    assert norsim(*READ, "--no-cache", "--out", part, "--resume").code == 0
    assert results(part) == results(alone(READ))


def lose(made: Cluster, part: Path, log: Path) -> None:
    """Start a run, and kill the cluster once it has done two units."""
    process = start(*READ, "--no-cache", "--out", part, "--scheduler", made.address, output=log)
    eventually(lambda: units(part) >= 2)
    made.stop_from(0)
    assert process.wait(SECONDS) == 3, log.read_text()
    assert "The Dask cluster was lost. Finished work is kept: resume the run" in log.read_text()


def test_shared_data_is_sent_again_if_its_worker_dies(dask_cluster: Cluster) -> None:
    first, ended = dask_cluster.worker(), list[int]()

    def done(place: int, result: None) -> None:
        ended.append(place)
        if len(ended) == 2:
            stop(first)
            dask_cluster.worker()

    with cluster(dask_cluster.address, {}) as workers:
        seconds = workers.share(0.2)
        workers.run(time.sleep, [Unit(place, f"unit {place}", (seconds,)) for place in range(8)], done)
    assert sorted(ended) == list(range(8))


@contextmanager
def port_in_use(port: int) -> Iterator[None]:
    """Occupy a port of this machine, as another program may have done already: here that of Dask's dashboard."""
    with socket.socket() as taken:
        with suppress(OSError):
            taken.bind(("", port))
            taken.listen()
        yield


@pytest.mark.parametrize("program", ["", "#!/bin/sh\necho no such queue >&2; exit 1\n"], ids=["missing", "refusing"])
def test_a_queueing_system_that_takes_no_job_ends_in_2_and_removes_nothing(
    norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    if program:
        (tmp_path / "sbatch").write_text(program)
        (tmp_path / "sbatch").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert norsim(*FAST, "--images", "5", "--out", tmp_path / "run").code == 0
    monkeypatch.setattr("norsim.jobs.dask_cluster.SECONDS_TO_SUBMIT", 3)
    options = tmp_path / "queue.yaml"
    options.write_text("cores: 1\nmemory: 1 GiB\n")
    given = ("--scheduler", "slurm", "--scheduler-options", options)
    with port_in_use(8787):
        ended = norsim(*FAST, "--images", "5", "--out", tmp_path / "run", *given, "--overwrite")
    assert ended.code == 2 and "the queueing system accepted no job" in ended.err
    assert (tmp_path / "run" / "summary.json").exists()


SBATCH = """#!{python}
# Stands in for Slurm: runs the job's script at once, in the background.
import subprocess, sys
subprocess.Popen(["sh", sys.argv[-1]], stdout=open("{log}", "wb"), stderr=subprocess.STDOUT, start_new_session=True)
print("Submitted batch job 1")
"""


@pytest.mark.slow
def test_jobs_are_submitted_to_a_queueing_system(alone: Alone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (
        ("sbatch", SBATCH.format(python=sys.executable, log=tmp_path / "job.log")), ("scancel", "#!/bin/sh\n"),
    ):  # fmt: skip
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    options = tmp_path / "queue.yaml"
    options.write_text("jobs: 1\nqueue: short\ncores: 1\nmemory: 2 GiB\nwalltime: '00:10:00'\n")
    given = ("--scheduler", "slurm", "--scheduler-options", options)
    monkeypatch.chdir(tmp_path)
    there = start(*FAST, "--no-cache", "--out", tmp_path / "there", *given, output=tmp_path / "log")
    assert there.wait(2 * SECONDS) == 0, (tmp_path / "log").read_text() + (tmp_path / "job.log").read_text()
    assert "Registered to" in (tmp_path / "job.log").read_text()
    assert results(tmp_path / "there") == results(alone(FAST))


# If dask-jobqueue finds an unknown option, the half-built cluster warns when it is deleted.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed cluster")
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("jobs: none\n", "jobs is 'none'; expected a number of jobs, at least 1"),
        ("jobs: 0\n", "jobs is 0; expected"),
        ("- 1\n", "expected options as KEY: VALUE"),
        ("qeue: short\ncores: 1\nmemory: 1 GiB\n", "scheduler slurm: "),
    ],
)
def test_invalid_options_end_in_2(norsim: Run, tmp_path: Path, options: str, problem: str) -> None:
    path = tmp_path / "queue.yaml"
    path.write_text(options)
    ended = norsim(*FAST, "--out", tmp_path / "run", "--scheduler", "slurm", "--scheduler-options", path)
    assert ended.code == 2 and problem in ended.err


def test_a_scheduler_that_does_not_answer_ends_in_2(
    norsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("norsim.jobs.dask_cluster.SECONDS_TO_CONNECT", 1)
    for scheduler in ("tcp://127.0.0.1:9", "pigeon", "pigeon://a"):
        ended = norsim(*FAST, "--out", tmp_path / "run", "--scheduler", scheduler)
        assert ended.code == 2 and f"scheduler {scheduler}: no Dask scheduler answers there" in ended.err
    path = tmp_path / "queue.yaml"
    path.write_text("jobs: 1\n")
    ended = norsim(*FAST, "--out", tmp_path / "run", "--scheduler", "tcp://127.0.0.1:9", "--scheduler-options", path)
    assert ended.code == 2 and "scheduler options are for slurm, lsf, pbs" in ended.err
    ended = norsim(*FAST, "--out", tmp_path / "run", "--scheduler-options", path)
    assert ended.code == 2 and "--scheduler-options needs --scheduler" in ended.err


def test_a_worker_with_another_norsim_is_refused_and_named() -> None:
    expected = installation()
    assert _there(expected, len, "abc") == 3
    with pytest.raises(SimulatorError, match="the installation differs in numpy; install the same versions .on "):
        _there({**expected, "numpy": "1.0"}, len, "abc")

    def fail() -> None:
        raise SolveError("no luck")

    with pytest.raises(SolveError, match="^no luck .on "):
        _there(expected, fail)


def test_what_two_workers_pass_on_keeps_what_its_parts_have_in_common() -> None:
    """Dask serializes modules of torch part by part, which a layer on the array takes for another weight."""
    layer = torch.nn.Linear(2, 2)
    layer.programmed = (layer.weight,)
    sent = _Shared(cloudpickle.dumps(layer))
    found = deserialize(*serialize(sent)).value
    assert found.programmed[0] is found.weight and torch.equal(found.weight, layer.weight)
