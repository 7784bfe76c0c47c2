"""The command line: one file a command, loaded when it is called, because torch takes a while to import."""

from __future__ import annotations

import sys
from importlib.metadata import version

import click
from click.shell_completion import CompletionItem

from norsim.errors import NorsimError, UntrustedCellError

COMMANDS = {
    "doctor": "what is installed, what it can do, and a one-cell sanity run",
    "cell": "whether a chip file's cell will do: curves, window, levels, and what to change",
    "train": "train a network: float, then 4-bit",
    "build-netlist": "write the deck of one tile, to read and to run by hand",
    "import-results": "currents that your own simulator found for a deck, checked and decoded",
    "run-layer": "read one layer, or one tile of it, for a few activation vectors",
    "eval-network": "the accuracy a network keeps on the array",
    "finetune": "train a quantized network on through the currents of its arrays",
    "sweep": "accuracy over values of any keys of the chip, with table and curves",
    "attribute": "which part of the array, and which layer, costs how much accuracy",
    "report": "a page about a run, or about two side by side",
    "verify": "solve a sample of a finished run's reads again, by ngspice or another",
    "runs": "list runs, show one, verify its files, remove work that is no longer needed",
    "completion": "what makes your shell complete commands, options and names",
}


def loaded(name: str) -> click.Command:
    """The command of that name, imported now."""
    match name:
        case "doctor":
            from norsim.commands.doctor import command
        case "completion":
            from norsim.commands.completion import command
        case "cell":
            from norsim.commands.tile.cell import command
        case "train":
            from norsim.commands.network.train import command
        case "build-netlist":
            from norsim.commands.tile.build_netlist import command
        case "import-results":
            from norsim.commands.tile.import_results import command
        case "run-layer":
            from norsim.commands.tile.run_layer import command
        case "eval-network":
            from norsim.commands.network.eval_network import command
        case "finetune":
            from norsim.commands.network.finetune import command
        case "sweep":
            from norsim.commands.network.sweep import command
        case "attribute":
            from norsim.commands.network.attribute import command
        case "report":
            from norsim.commands.run.report import command
        case "verify":
            from norsim.commands.run.verify import command
        case "runs":
            from norsim.commands.run.runs import command
        case _:
            raise KeyError(name)
    return command


class LazyGroup(click.Group):
    """Knows the commands by name and imports each only when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of their use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        return loaded(cmd_name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands by their names alone: to import all of them takes seconds."""
        commands = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of `--help`, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("norsim"), prog_name="norsim")
def cli() -> None:
    """What accuracy does a network keep when NOR-flash currents do its multiply-accumulates?

    Exit codes: 0 done, 2 usage or configuration, 3 simulator or cluster unusable, 4 a solve failed
    or its result failed a check, 5 a threshold not met, 130 interrupted.

    \b
    Examples:
      norsim doctor
      norsim eval-network --network digits-cnn
    """


def main() -> None:
    """Run the command line; a NorsimError ends in one line and its exit code."""
    try:
        cli.main(prog_name="norsim", standalone_mode=False)
    except NorsimError as problem:
        hint = " (--trust-cell)" if isinstance(problem, UntrustedCellError) else ""
        click.echo(f"norsim: {' '.join(str(problem).split())}{hint}", err=True)
        sys.exit(problem.exit_code)
    except click.ClickException as problem:
        problem.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("norsim: interrupted", err=True)
        sys.exit(130)
