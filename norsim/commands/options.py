"""Options that several commands share, and what they are turned into."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from norsim.chip import Chip
from norsim.config import apply_settings, build_chip, read_chip_file
from norsim.errors import ConfigurationError

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
TRUST_CELL = "norsim.trust_cell"


@dataclass(frozen=True)
class ChipChoice:
    """The chip of a command line: as a chip file's content, and as the objects made of it."""

    content: dict[str, Any]
    path: Path
    chip: Chip


def choose_chip(name: str, encoding: str | None, settings: tuple[str, ...]) -> ChipChoice:
    """The chip file or preset `name` with `--encoding` and each `--set` put over it."""
    content, path = read_chip_file(name)
    if encoding:
        settings = (*settings, f"encoding={encoding}")
    content = apply_settings(content, settings)
    return ChipChoice(content, path.resolve(), build_chip(content, path, cell_is_trusted()))


def cell_is_trusted() -> bool:
    """Whether the command was given `--trust-cell`."""
    trusted: bool = click.get_current_context().meta.get(TRUST_CELL, False)
    return trusted


def trust_option(function: Decorated) -> Decorated:
    """`--trust-cell`, which `cell_is_trusted` tells of."""
    return click.option(
        "--trust-cell", is_flag=True, expose_value=False,
        callback=lambda context, option, value: context.meta.__setitem__(TRUST_CELL, value),
        help="Take the chip's cell and model files as they are: they may hold commands that ngspice runs.",
    )(function)  # fmt: skip


def chip_options(function: Decorated) -> Decorated:
    """`--chip`, `--encoding`, `--set`, `--trust-cell`."""
    for option in (
        trust_option,
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
                     help="Change a key of the chip, for example adc.bits=10. Repeatable."),
        click.option("--encoding", type=click.Choice(["bit-serial", "linear-pair"]),
                     help="How to compute with the array; the chip file's choice by default."),
        click.option("-c", "--chip", "chip_name", default="etox65", show_default=True, metavar="FILE|PRESET",
                     help="The chip: a YAML file, or a preset that comes with norsim."),
    ):  # fmt: skip
        function = option(function)
    return function


def network_options(function: Decorated) -> Decorated:
    """`--network`, `--dataset`, `--data`."""
    for option in (
        click.option("--data", "data_folder", type=click.Path(path_type=Path), metavar="DIR",
                     help="Folder of the data set, where it does not come with norsim."),
        click.option("--dataset", help="digits or cifar10; the one the network was trained on by default."),
        click.option("--network", required=True, metavar="NAME|DIR",
                     help="A trained network that comes with norsim, or a folder that norsim train wrote."),
    ):  # fmt: skip
        function = option(function)
    return function


def run_options(function: Decorated) -> Decorated:
    """`--seed`, `--jobs`, `--out`, `--json`, `--quiet`, `--verbose`."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Say more about what is going on."),
        click.option("-q", "--quiet", is_flag=True, help="No progress."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else there."),
        click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
                     help="Run folder; runs/COMMAND-DATE-TIME by default."),
        click.option("-j", "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default="cores",
                     help="Decks solved at a time. Results do not depend on it."),
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
