"""`norsim runs`: list runs, show one, check its files, and remove work that is no longer needed."""

from __future__ import annotations

import json
import os
import shlex
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from norsim.caches.arrays import CELLS, FITS, IMAGES, MODELS, QUANTIZATIONS
from norsim.commands.shared import show as shown
from norsim.commands.shared.options import print_json
from norsim.errors import ConfigurationError, ThresholdError
from norsim.experiments.run_folder import damaged, describe, run_folders
from norsim.folders.lock import FolderLock
from norsim.folders.record import delete, written
from norsim.jobs.unit_store import shared_units, unit_files

DAY = 24 * 3600.0


@click.group("runs")
def command() -> None:
    """List runs, show one, verify its files, and remove work that is no longer needed.

    \b
    Examples:
      norsim runs ls runs
      norsim runs show runs/first
    """


@command.command("ls", short_help="List the runs in a folder, latest first.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path("runs"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def ls(folder: Path, as_json: bool) -> None:
    """List the runs in FOLDER and below, latest first, with command, network, state, accuracy and disk use.

    \b
    Examples:
      norsim runs ls
      norsim runs ls runs --json
    """
    found = sorted(map(describe, run_folders(folder)), key=lambda run: str(run["started"]), reverse=True)
    if as_json:
        print_json({"runs": found})
        return
    headings = ["run", "command", "network", "state", "accuracy", "units", "MB"]
    rows = []
    for run in found:
        accuracy = "" if run["accuracy"] is None else f"{100 * run['accuracy']:.2f} %"
        size = f"{run['bytes'] / 1e6:.1f}"
        rows.append([run["run"], run["command"], run["network"], run["state"], accuracy, str(run["units"]), size])
    if shown.narrow():
        headings, rows = headings[:-2], [row[:-2] for row in rows]
    shown.table(headings, rows)


@command.command("show", short_help="Show the options and results of a run.")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def show(run: Path, as_json: bool) -> None:
    """Show the options of RUN, its results and its duration.

    \b
    Examples:
      norsim runs show runs/first
    """
    content = describe(run)
    for name in ("manifest", "summary", "timing"):
        content[name] = _content(run / f"{name}.json")
    if as_json:
        print_json(content)
        return
    present = {key: value for key, value in content.items() if value is not None}
    line = {"manifest": {**content["manifest"], "command": _command_line(content["manifest"]["command"])}}
    shown.table_or_lines((), shown.entries(present | line), [json.dumps(present, indent=2, ensure_ascii=False)])


@command.command("verify", short_help="Compare a run's files with their checksums.")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def verify(run: Path, as_json: bool) -> None:
    """Compare all files of RUN with their checksums; exit 5 if one differs or is missing.

    To verify the currents themselves, use `norsim verify`.

    \b
    Examples:
      norsim runs verify runs/first
    """
    state = describe(run)["state"]
    broken = damaged(run)
    if as_json:
        print_json({"run": str(run), "state": state, "damaged": [str(path) for path in broken]})
    if broken:
        raise ThresholdError(
            f"{len(broken)} files of {run} are damaged or missing, the first is {broken[0]}; repeat the run's command "
            "with --resume"
        )
    if as_json:
        return
    if state == "finished":
        click.echo(f"{run}: all files match their checksums")
    else:
        click.echo(f"{run} is {state} and has no results yet; its finished units match their checksums")


@command.command("gc", short_help="Remove work that is no longer needed.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path("runs"))
@click.option("--older-than", "days", type=click.FloatRange(min=0), default=30.0, show_default=True, metavar="DAYS",
              help="Age of shared units, and of the last use of what caches keep, to remove.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def gc(folder: Path, days: float, dry_run: bool, as_json: bool) -> None:
    """Remove the units of finished runs in FOLDER, and what runs share: old units, and characterisations of cells,
    models of tiles, fits of converters, quantizations and decoded images that were not used for as long. Results and
    other files are kept.

    \b
    Examples:
      norsim runs gc --dry-run
      norsim runs gc runs --older-than 7
    """
    finished = [run for run in run_folders(folder) if describe(run)["state"] == "finished"]
    kept = [run / name for run in finished for name in written(run) if _is_unit(name)]
    sizes = [stat.st_size for path in kept if path.is_file() and (stat := _stat(path))]
    before = time.time() - days * DAY
    shared = [path for cache in (CELLS, MODELS, FITS, QUANTIZATIONS, IMAGES) for path in cache.files()]
    for path in [*unit_files(shared_units()), *shared]:
        # Other processes remove shared files too, and some may be of another user.
        with suppress(OSError):
            stat = path.stat()
            if stat.st_mtime < before:
                if not dry_run:
                    path.unlink()
                sizes.append(stat.st_size)
    content: dict[str, Any] = {"files": len(sizes), "bytes": sum(sizes)}
    if not dry_run:
        for run in finished:
            if any(map(_is_unit, written(run))):
                with FolderLock(run):
                    delete(run, _is_unit)
    if as_json:
        print_json({**content, "removed": not dry_run})
    else:
        done = "would be removed" if dry_run else "removed"
        click.echo(f"{len(sizes)} files, {content['bytes'] / 1e6:.1f} MB {done}")


def _content(path: Path) -> dict[str, Any] | None:
    """Return the content of a JSON file of a run; None if there is none."""
    try:
        content = json.loads(path.read_bytes()) if path.is_file() else None
    except (OSError, ValueError, RecursionError) as problem:
        raise ConfigurationError(f"{path} is damaged ({problem}); repeat the run") from None
    if content is not None and not isinstance(content, dict):
        raise ConfigurationError(f"{path} is damaged: it holds no JSON object; repeat the run")
    return content


def _command_line(words: Any) -> str:
    return shlex.join(map(str, words)) if isinstance(words, list) else str(words)


def _stat(path: Path) -> os.stat_result | None:
    """Return the state of a file; None if another process has just removed it."""
    try:
        return path.stat()
    except OSError:
        return None


def _is_unit(name: str) -> bool:
    return name.startswith("units/")
