"""The help of each command ends with examples, which are valid command lines."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from norsim.chip.load import choose_chip
from norsim.commands import COMMANDS, cli
from norsim.commands.network.sweep import values_of
from norsim.saved.network_folder import load_network
from norsim.saved.shipped import shipped_networks
from norsim.tiling.modules import tiled_layers
from norsim.zoo.registry import NETWORKS

Run = Callable[..., Any]

HEADING = "Examples:"
# These take seconds, and need no earlier run.
QUICK = ("doctor", "completion", "build-netlist", "runs ls", "runs gc --dry-run")


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield all commands with their names, including groups and their subcommands."""
    yield "", cli
    for name in COMMANDS:
        found = cli.get_command(click.Context(cli), name)
        assert found is not None
        yield name, found
        if isinstance(found, click.Group):
            yield from ((f"{name} {below}", part) for below, part in found.commands.items())


def examples(command: click.Command) -> list[str]:
    """Return the lines under the last heading of the help."""
    text = inspect.cleandoc(command.help or "").replace("\b", "")
    return [line.strip() for line in text.partition(f"\n{HEADING}\n")[2].splitlines()]


ALL = [(name, line) for name, command in commands() for line in examples(command)]


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_help_of_a_command_ends_with_examples(name: str, command: click.Command, norsim: Run) -> None:
    lines = examples(command)
    assert lines and all(line.startswith(f"norsim {name}".strip()) for line in lines)
    shown = norsim(*name.split(), "--help").out
    # Each example is on one line, even a long one.
    assert all(f"\n    {line}\n" in shown for line in lines), shown


def words_of(line: str) -> list[str]:
    """Return the arguments of an example, without shell redirections."""
    words = shlex.split(line)[1:]
    return words[: words.index(">")] if ">" in words else words


def make_files(words: list[str], place: Path) -> None:
    """Make the files and folders that an example names."""
    for word in words:
        path = place / word.partition(":")[0]
        if word == "DIR" or (word.startswith("runs") and not path.suffix):
            path.mkdir(parents=True, exist_ok=True)
        elif path.suffix in (".py", ".safetensors", ".lis", ".raw"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")


def parsed(words: list[str]) -> click.Context:
    """Return the context of the command called by `words`, with checked options and values."""
    context = cli.make_context("norsim", list(words))
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        context = command.make_context(name, rest, parent=context)
    return context


@pytest.mark.parametrize(("name", "line"), ALL, ids=lambda value: value)
def test_examples_are_valid(name: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options exist and have valid values; networks, layers, chips and their keys exist."""
    monkeypatch.chdir(tmp_path)
    words = words_of(line)
    make_files(words, tmp_path)
    context = parsed(words)
    values = context.params
    network = values.get("network")
    if network is not None:
        assert network in (NETWORKS if context.command.name == "train" else shipped_networks())
    with context:
        varied = [f"{key}={value}" for key, found in map(values_of, values.get("varied", ())) for value in found]
        for setting in varied or [None]:
            settings = (*values.get("settings", ()), *([setting] if setting else []))
            if "chip_name" in values:
                choose_chip(values["chip_name"], settings, values["encoding"])
    if "layer" in values:
        assert values["layer"] in layers_of(str(network))


def layers_of(network: str) -> set[str]:
    from norsim.chip.load import load_chip
    from norsim.tiling.convert import convert

    return set(tiled_layers(convert(load_network(network)[0], load_chip("etox65"))))


@pytest.mark.parametrize("line", [line for name, line in ALL if line.removeprefix("norsim ").startswith(QUICK)])
def test_quick_examples_run(norsim: Run, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    ended = norsim(*words_of(line))
    assert ended.code == 0 and ended.out


def test_invalid_examples_are_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(click.NoSuchOption):
        parsed(["eval-network", "--network", "digits-cnn", "--gone", "1"])
    with pytest.raises(click.BadParameter):
        parsed(["eval-network", "--network", "digits-cnn", "--backend", "spectre"])
