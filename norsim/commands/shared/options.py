"""Options that several commands share, and the objects made from them.

A command checks its arguments before it imports slow modules, so the modules of commands import those in functions.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from norsim.chip.load import ChipChoice, choose_chip
from norsim.commands.shared import show
from norsim.commands.shared.complete import complete_chip, complete_key
from norsim.configuration.strict_yaml import read_yaml
from norsim.errors import ConfigurationError
from norsim.folders.output import OutputFolder, check_writable, new_folder, refusal
from norsim.periphery.registry import ENCODINGS
from norsim.saved.shipped import network_place

if TYPE_CHECKING:
    from norsim.data import Dataset, Samples
    from norsim.evaluation.dry_run.work import Estimate
    from norsim.experiments.deployed import DeployedNetwork
    from norsim.experiments.run_folder import RunFolder
    from norsim.jobs.phases import Phases
    from norsim.jobs.workers import Workers

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
TRUST_CELL = "norsim.trust_cell"
RESUME, OVERWRITE, CACHE = "norsim.resume", "norsim.overwrite", "norsim.cache"
# The folder that the command writes to.
OUTPUT = "norsim.output"
DRY_RUN, SCHEDULER, SCHEDULER_OPTIONS = "norsim.dry_run", "norsim.scheduler", "norsim.scheduler_options"
# Bounds on a finished result; the run's manifest records them as its checks.
CHECKS = {"min_accuracy", "tolerance", "tolerance_steps", "max_changed"}
# Options that do not affect the results of a run.
WITHOUT_EFFECT = {"out", "jobs", "as_json", "quiet", "verbose", "compare", *CHECKS}


def chip_of_options(name: str, encoding: str | None, settings: tuple[str, ...], seed: int = 0) -> ChipChoice:
    """Return the chip file or preset `name`, changed by `--set` and `--encoding`; the first specimen of the seed."""
    return choose_chip(name, settings, encoding, seed, cell_is_trusted())


def check_network(network: str) -> None:
    """Raise DataError for a network that does not exist, before slow modules are imported."""
    network_place(network)


def cell_is_trusted() -> bool:
    """Return whether the command was given `--trust-cell`."""
    return is_set(TRUST_CELL)


def trust_option(function: Decorated) -> Decorated:
    """Add `--trust-cell`, which `cell_is_trusted` reads."""
    return click.option(
        "--trust-cell", is_flag=True, expose_value=False, callback=store_in_context(TRUST_CELL),
        help="Allow everything in the chip's cell and model files, including commands that ngspice runs.",
    )(function)  # fmt: skip


def store_in_context(key: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Return a callback that stores an option's value in the context, so that commands need not pass it on."""

    def store(context: click.Context, option: click.Parameter, value: Any) -> None:
        context.meta[key] = value

    return store


def is_set(key: str) -> bool:
    """Return whether the command was given the flag that is stored in the context under `key`."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(key))


def resume_options(function: Decorated) -> Decorated:
    """Add `--dry-run`, `--resume` and `--no-cache`, for commands that open their folder with `open_run`."""
    for option in (
        click.option("--dry-run", is_flag=True, expose_value=False, callback=store_in_context(DRY_RUN),
                     help="Only estimate the cost of the run, from rates measured on a few reads."),
        click.option("--cache/--no-cache", default=True, expose_value=False, callback=store_in_context(CACHE),
                     help="Share finished work with other runs on this machine; the default."),
        resume_option,
    ):  # fmt: skip
        function = option(function)
    return function


def resume_option(function: Decorated) -> Decorated:
    """Add `--resume`, for commands that open their folder with `open_run`."""
    return click.option(
        "--resume", is_flag=True, expose_value=False, callback=store_in_context(RESUME),
        help="Continue the interrupted run in --out DIR; the results do not depend on the interruption.",
    )(function)  # fmt: skip


def overwrite_option(function: Decorated) -> Decorated:
    """Add `--overwrite`, which `check_out` reads."""
    return click.option(
        "--overwrite", is_flag=True, expose_value=False, callback=store_in_context(OVERWRITE),
        help="Replace the run in --out DIR.",
    )(function)  # fmt: skip


def check_out(command: str, out: Path | None, resume: bool | None = None) -> None:
    """Raise ConfigurationError if `command` must not write to the folder `out`, and WriteError if it cannot,
    before slow work.

    A folder that is not empty must hold a result of that command, and `--overwrite` or `--resume` must be given; no
    other process may be at work there. `resume` is the value of `--resume` for commands that define it themselves.
    """
    if out is None or is_dry_run():
        return
    check_writable(out)
    why = refusal(out, command, is_set(OVERWRITE), is_set(RESUME) if resume is None else resume)
    if why is not None:
        raise ConfigurationError(f"--out {why}" if why.startswith(str(out)) else why)


def open_output(command: str, out: Path | None, resume: bool | None = None) -> OutputFolder:
    """Return the locked folder `out`, a new one by default, for a result of `command`; the command's end releases it.

    Raises ConfigurationError as `check_out` does, WriteError if it cannot be written.
    """
    context = click.get_current_context()
    if OUTPUT not in context.meta:
        resumed = is_set(RESUME) if resume is None else resume
        found = new_folder(command) if out is None else OutputFolder(out, command, is_set(OVERWRITE), resumed)
        context.call_on_close(found.release)
        context.meta[OUTPUT] = found
    opened: OutputFolder = context.meta[OUTPUT]
    return opened


def is_dry_run() -> bool:
    """Return whether the command was given `--dry-run`."""
    return is_set(DRY_RUN)


def copies() -> int:
    """Return the number of copies of finished work: one in the run's folder and, if it is shared, one in the cache."""
    return 1 + bool(click.get_current_context().meta.get(CACHE))


def show_estimate(found: Estimate, as_json: bool) -> None:
    """Print the estimate of `--dry-run`."""
    if as_json:
        print_json(found.summary())
        return
    bound = "at least " if found.at_least else ""
    parts = [
        [(f"{found.tiles}", "tiles"), (f"{found.solves:,}", "solves"), (f"{found.decks:,}", "simulator decks")],
        [(f"{bound}{found.seconds:,.0f} s", "on this machine"), (f"{bound}{found.core_hours:.3g}", "core-hours")],
        [(f"{found.memory_bytes / 2**30:.2f} GiB", "of memory"), (f"{found.disk_bytes / 2**20:.1f} MiB", "on disk")],
    ]
    show.table_or_lines(
        ("", "estimate"),
        [(what, amount) for line in parts for amount, what in line],
        [", ".join(f"{amount} {what}" for amount, what in line) for line in parts],
    )


def show_evaluation_cost(
    net: DeployedNetwork, few: Dataset | Samples, images: int, started: float, jobs: int, as_json: bool,
    left_out: float = 0.0, **counts: Any,
) -> None:  # fmt: skip
    """Print the estimate of `--dry-run` for evaluations of `images` images, of which these are a `few`, after set-up
    from `started` (monotonic seconds), which takes `left_out` more seconds in a run.

    `counts`: the spice_sample, evaluations, passes and fits of estimate_evaluation.
    """
    from norsim.backends.registry import backend_named
    from norsim.data.tensors import tensors_of
    from norsim.evaluation.dry_run.estimate import estimate_evaluation

    inputs, backend = tensors_of(few)[0], backend_named(net.backend)
    calibration = None if backend.gives_integers else net.parts.deployment.calibration_inputs()
    taken = estimate_evaluation(
        net.parts.analog, inputs, images, backend, calibration=calibration, jobs=jobs,
        copies=copies(), set_up_seconds=time.monotonic() - started + left_out, seed=net.parts.deployment.seed, **counts,
    )  # fmt: skip
    show_estimate(taken, as_json)


def open_run(
    command: str, out: Path | None, choice: ChipChoice, seed: int, phases: Phases | None = None, device: str = "cpu"
) -> RunFolder:  # fmt: skip
    """Return the folder of this run, which records `phases`, and the `device` that it computes on.

    Raises ConfigurationError if `--resume` has no folder, or that of another run.
    """
    from norsim.backends.registry import backend_named
    from norsim.experiments.run_folder import RunFolder

    context = click.get_current_context()
    resume, shared = context.meta.get(RESUME, False), context.meta.get(CACHE, False)
    if resume and out is None:
        raise ConfigurationError("--resume needs --out DIR, the folder of the interrupted run")
    options = {key: str(value) for key, value in sorted(context.params.items()) if key not in WITHOUT_EFFECT}
    checks = {key: value for key, value in sorted(context.params.items()) if key in CHECKS}
    if "backend" in context.params:
        # An unusable simulator is noticed before an earlier result is deleted.
        backend_named(context.params["backend"]).versions([choice.chip.cell])
    place = open_output(command, out)
    folder = RunFolder(place, choice.content, choice.path, seed, options, resume, shared, checks, device)
    if phases is not None:
        folder.follow(phases)
    return folder


def scheduler_options(function: Decorated) -> Decorated:
    """Add `--scheduler` and `--scheduler-options`, for commands that work with `workers_for`."""
    for option in (
        click.option("--scheduler-options", type=click.Path(path_type=Path, exists=True, dir_okay=False),
                     metavar="FILE", expose_value=False, callback=store_in_context(SCHEDULER_OPTIONS),
                     help="YAML file for a queueing system: jobs, queue, cores, memory, walltime, ..."),
        click.option("--scheduler", metavar="ADDRESS|SYSTEM", expose_value=False, callback=store_in_context(SCHEDULER),
                     help="Compute on a Dask cluster: tcp://HOST:PORT, or jobs of slurm, lsf or pbs."),
    ):  # fmt: skip
        function = option(function)
    return function


@contextmanager
def workers_for(jobs: int) -> Iterator[Workers]:
    """Yield the workers of a command: those of the cluster given by `--scheduler`, else `jobs` threads."""
    from norsim.jobs.dask_cluster import cluster
    from norsim.jobs.workers import Threads

    context = click.get_current_context()
    scheduler, path = context.meta.get(SCHEDULER), context.meta.get(SCHEDULER_OPTIONS)
    if scheduler is None:
        if path is not None:
            raise ConfigurationError("--scheduler-options needs --scheduler slurm, lsf or pbs")
        yield Threads(jobs)
        return
    options = read_yaml(path) if path is not None else {}
    if not isinstance(options, dict):
        raise ConfigurationError(f"{path}: expected options as KEY: VALUE, one per line")
    with cluster(scheduler, options) as workers:
        yield workers


def chip_options(function: Decorated) -> Decorated:
    """Add `--chip`, `--encoding`, `--set` and `--trust-cell`."""
    for option in (
        trust_option,
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", shell_complete=complete_key,
                     help="Change a chip key, for example adc.bits=10. Repeatable."),
        click.option("--encoding", type=click.Choice(list(ENCODINGS)),
                     help="How activations and weights are encoded on the array; the chip file's choice by default."),
        click.option("-c", "--chip", "chip_name", default="etox65", show_default=True, metavar="FILE|PRESET",
                     shell_complete=complete_chip, help="The chip: a YAML file or a preset that comes with norsim."),
    ):  # fmt: skip
        function = option(function)
    return function


def run_options(function: Decorated) -> Decorated:
    """Add `--seed`, `--jobs`, `--out`, `--overwrite`, `--json`, `--quiet` and `--verbose`."""
    for option in (
        overwrite_option,
        click.option("-v", "--verbose", is_flag=True, help="Report more details."),
        click.option("-q", "--quiet", is_flag=True, help="Do not report progress."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and nothing else."),
        click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
                     help="Run folder; runs/COMMAND-DATE-TIME by default."),
        click.option("-j", "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default="cores",
                     help="Number of decks solved at a time on this machine. Results do not depend on it."),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
                     help="Seed of all random numbers."),
    ):  # fmt: skip
        function = option(function)
    return function


def parse_tile(text: str) -> tuple[int, int]:
    """Parse `R,C` to (row, column)."""
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise ConfigurationError(f"--tile {text!r}: expected ROW,COLUMN, for example 0,0")
    return int(parts[0]), int(parts[1])


def print_json(content: dict[str, Any]) -> None:
    """Print one line of JSON on stdout."""
    click.echo(json.dumps(content))
