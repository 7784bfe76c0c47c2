"""Options that several commands share, and what they are turned into.

A command loads what is slow to import after it has checked its arguments, so modules of commands import it in
functions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from norsim.chip.load import ChipChoice, choose_chip, read_yaml
from norsim.chip.schema import EncodingName
from norsim.commands.shared import show
from norsim.commands.shared.complete import complete_chip, complete_key
from norsim.errors import ConfigurationError
from norsim.experiments.run_files import SUMMARY, is_ours
from norsim.saved.shipped import network_place

if TYPE_CHECKING:
    from norsim.evaluation.estimate import Estimate
    from norsim.experiments.run_folder import RunFolder
    from norsim.jobs.workers import Workers

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
TRUST_CELL = "norsim.trust_cell"
RESUME, OVERWRITE, CACHE = "norsim.resume", "norsim.overwrite", "norsim.cache"
DRY_RUN, SCHEDULER, SCHEDULER_OPTIONS = "norsim.dry_run", "norsim.scheduler", "norsim.scheduler_options"
# Bounds on a finished result, which the run's manifest has as its checks.
CHECKS = {"min_accuracy", "tolerance"}
# What decides nothing about a run's results.
INDIFFERENT = {"out", "jobs", "as_json", "quiet", "verbose", "compare", *CHECKS}


def chip_of_options(name: str, encoding: str | None, settings: tuple[str, ...], seed: int = 0) -> ChipChoice:
    """The chip file or preset `name` with each `--set` and `--encoding` put over it; the first specimen of the seed."""
    return choose_chip(name, settings, encoding, seed, cell_is_trusted())


def check_network(network: str) -> None:
    """Raise DataError now for a network that does not exist, before anything slow is imported."""
    network_place(network)


def cell_is_trusted() -> bool:
    """Whether the command was given `--trust-cell`."""
    return noted(TRUST_CELL)


def trust_option(function: Decorated) -> Decorated:
    """`--trust-cell`, which `cell_is_trusted` tells of."""
    return click.option(
        "--trust-cell", is_flag=True, expose_value=False, callback=noting(TRUST_CELL),
        help="Take the chip's cell and model files as they are: they may hold commands that ngspice runs.",
    )(function)  # fmt: skip


def noting(key: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """A callback that keeps an option in the context, so that commands need not hand it on."""

    def note(context: click.Context, option: click.Parameter, value: Any) -> None:
        context.meta[key] = value

    return note


def noted(key: str) -> bool:
    """Whether the command was given the flag that is kept under `key`."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(key))


def resume_options(function: Decorated) -> Decorated:
    """`--dry-run`, `--resume` and `--no-cache`, for commands that open their folder by `open_run`."""
    for option in (
        click.option("--dry-run", is_flag=True, expose_value=False, callback=noting(DRY_RUN),
                     help="Say what the run will take, from rates measured on a few reads, and do no more."),
        click.option("--cache/--no-cache", default=True, expose_value=False, callback=noting(CACHE),
                     help="Share finished work with other runs on this machine; the default."),
        click.option("--resume", is_flag=True, expose_value=False, callback=noting(RESUME),
                     help="Go on with the interrupted run in --out DIR; it ends in the same results."),
    ):  # fmt: skip
        function = option(function)
    return function


def overwrite_option(function: Decorated) -> Decorated:
    """`--overwrite`, which `check_out` asks for."""
    return click.option(
        "--overwrite", is_flag=True, expose_value=False, callback=noting(OVERWRITE),
        help="Replace the run in --out DIR.",
    )(function)  # fmt: skip


def check_out(out: Path | None, resume: bool | None = None) -> None:
    """Raise ConfigurationError for an output folder whose content would be lost.

    A folder that is not empty must be norsim's own, and `--overwrite` or `--resume` be given. `resume` says whether the
    latter is, for commands with an option of their own.
    """
    if out is None or is_dry_run() or not out.exists():
        return
    if not out.is_dir():
        raise ConfigurationError(f"--out {out} is a file; give a folder")
    held = sorted(path.name for path in out.iterdir())
    if not held:
        return
    if not is_ours(out):
        raise ConfigurationError(
            f"--out {out} is not a folder of norsim and is not empty: it has {', '.join(held[:3])}"
            f"{', ...' if len(held) > 3 else ''}; give a new folder"
        )
    if not (noted(OVERWRITE) or (noted(RESUME) if resume is None else resume)):
        state = "a finished run" if (out / SUMMARY).is_file() else "a run"
        raise ConfigurationError(
            f"--out {out} has {state} in it: --overwrite replaces it, --resume continues an interrupted one, or give a "
            "new folder"
        )


def is_dry_run() -> bool:
    """Whether the command was given `--dry-run`."""
    return noted(DRY_RUN)


def copies() -> int:
    """In how many places finished work is kept: in the run's folder and, if it is shared, in the cache."""
    return 1 + bool(click.get_current_context().meta.get(CACHE))


def show_estimate(found: Estimate, as_json: bool) -> None:
    """What `--dry-run` prints."""
    if as_json:
        print_json(found.summary())
        return
    bound = "at least " if found.at_least else ""
    parts = [
        [(f"{found.tiles}", "tiles"), (f"{found.solves:,}", "solves"), (f"{found.decks:,}", "decks for a simulator")],
        [(f"{bound}{found.seconds:,.0f} s", "on this machine"), (f"{bound}{found.core_hours:.3g}", "core-hours")],
        [(f"{found.memory_bytes / 2**30:.2f} GiB", "of memory"), (f"{found.disk_bytes / 2**20:.1f} MiB", "on disk")],
    ]
    show.table_or_lines(
        ("", "takes"),
        [(what, amount) for line in parts for amount, what in line],
        [", ".join(f"{amount} {what}" for amount, what in line) for line in parts],
    )


def open_run(command: str, out: Path | None, choice: ChipChoice, seed: int) -> RunFolder:
    """The folder of this run. Raises ConfigurationError where `--resume` has no folder, or another run's."""
    from norsim.experiments.run_folder import RunFolder, default_folder

    context = click.get_current_context()
    resume, shared = context.meta.get(RESUME, False), context.meta.get(CACHE, False)
    if resume and out is None:
        raise ConfigurationError("--resume needs --out DIR, the folder of the interrupted run")
    options = {key: str(value) for key, value in sorted(context.params.items()) if key not in INDIFFERENT}
    checks = {key: value for key, value in sorted(context.params.items()) if key in CHECKS}
    return RunFolder(out or default_folder(command), choice.content, choice.path, seed, options, resume, shared, checks)


def scheduler_options(function: Decorated) -> Decorated:
    """`--scheduler` and `--scheduler-options`, for commands whose work is done `working`."""
    for option in (
        click.option("--scheduler-options", type=click.Path(path_type=Path, exists=True, dir_okay=False),
                     metavar="FILE", expose_value=False, callback=noting(SCHEDULER_OPTIONS),
                     help="YAML for a queueing system: jobs, queue, cores, memory, walltime, ..."),
        click.option("--scheduler", metavar="ADDRESS|SYSTEM", expose_value=False, callback=noting(SCHEDULER),
                     help="Have a Dask cluster do the work: tcp://HOST:PORT, or jobs of slurm, lsf or pbs."),
    ):  # fmt: skip
        function = option(function)
    return function


@contextmanager
def working(jobs: int) -> Iterator[Workers]:
    """Who does the work of a command: the cluster that it was given, else `jobs` threads."""
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
        raise ConfigurationError(f"{path}: expected options as KEY: VALUE, a line each")
    with cluster(scheduler, options) as workers:
        yield workers


def chip_options(function: Decorated) -> Decorated:
    """`--chip`, `--encoding`, `--set`, `--trust-cell`."""
    for option in (
        trust_option,
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", shell_complete=complete_key,
                     help="Change a key of the chip, for example adc.bits=10. Repeatable."),
        click.option("--encoding", type=click.Choice(list(get_args(EncodingName))),
                     help="How to compute with the array; the chip file's choice by default."),
        click.option("-c", "--chip", "chip_name", default="etox65", show_default=True, metavar="FILE|PRESET",
                     shell_complete=complete_chip, help="The chip: a YAML file, or a preset that comes with norsim."),
    ):  # fmt: skip
        function = option(function)
    return function


def run_options(function: Decorated) -> Decorated:
    """`--seed`, `--jobs`, `--out`, `--json`, `--quiet`, `--verbose`."""
    for option in (
        overwrite_option,
        click.option("-v", "--verbose", is_flag=True, help="Report more details."),
        click.option("-q", "--quiet", is_flag=True, help="No progress."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else there."),
        click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
                     help="Run folder; runs/COMMAND-DATE-TIME by default."),
        click.option("-j", "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default="cores",
                     help="Decks solved at a time on this machine. Results do not depend on it."),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
                     help="Seed of all that is drawn."),
    ):  # fmt: skip
        function = option(function)
    return function


def parse_tile(text: str) -> tuple[int, int]:
    """`R,C` -> (row, column)."""
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise ConfigurationError(f"--tile {text!r}: expected ROW,COLUMN, for example 0,0")
    return int(parts[0]), int(parts[1])


def print_json(content: dict[str, Any]) -> None:
    """One line of JSON on stdout."""
    click.echo(json.dumps(content))
