"""The command line: one file per command, loaded when it is called, because torch is slow to import."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import click
from click.shell_completion import CompletionItem

from norsim.commands.shared.hints import hint, in_options
from norsim.commands.shared.interrupts import INTERRUPTED, interruptible
from norsim.commands.shared.streams import named_stdout, whole_output, write_to_stderr
from norsim.commands.shared.warnings import show_warnings
from norsim.errors import NorsimError

COMMANDS = {
    "doctor": "show the installed software and its features, and simulate one cell as a check",
    "cell": "check the cell of a chip file, fit one to measured curves, or import one from a foundry kit",
    "chip": "check a chip file without a network: units, reach of levels, converters",
    "train": "train a network: float, then quantized",
    "build-netlist": "write the deck of one tile, to read and to run by hand",
    "import-results": "import currents from your own simulator: check, decode and compare them",
    "run-layer": "read one layer, or one of its tiles, for a few activation vectors",
    "bits": "propose the bits of each layer for a loss of accuracy or a converter energy",
    "eval-network": "measure the accuracy a network keeps on the array",
    "finetune": "train a quantized network further, through the currents of its arrays",
    "sweep": "measure the accuracy over values of any chip keys, as a table and curves",
    "attribute": "measure how much accuracy each part of the array or each layer costs",
    "export": "write a network on a chip as files that other programs read",
    "report": "write an HTML page about one run, or about several side by side",
    "verify": "solve a sample of the reads of a finished run again, by ngspice or another solver",
    "validate": "predict published measurements of NOR-flash and SONOS arrays from chip files of them",
    "runs": "list runs, show one, verify its files, remove work that is no longer needed",
    "completion": "print the shell completion script",
}


def import_command(name: str) -> click.Command:
    """Import and return the command `name`."""
    match name:
        case "doctor":
            from norsim.commands.doctor import command
        case "completion":
            from norsim.commands.completion import command
        case "cell":
            from norsim.commands.tile.cell import command
        case "chip":
            from norsim.commands.tile.chip import command
        case "train":
            from norsim.commands.network.train import command
        case "build-netlist":
            from norsim.commands.tile.build_netlist import command
        case "import-results":
            from norsim.commands.tile.import_results import command
        case "run-layer":
            from norsim.commands.tile.run_layer import command
        case "bits":
            from norsim.commands.network.bits import command
        case "eval-network":
            from norsim.commands.network.eval_network import command
        case "finetune":
            from norsim.commands.network.finetune import command
        case "sweep":
            from norsim.commands.network.sweep import command
        case "attribute":
            from norsim.commands.network.attribute import command
        case "export":
            from norsim.commands.network.export import command
        case "report":
            from norsim.commands.run.report import command
        case "verify":
            from norsim.commands.run.verify import command
        case "validate":
            from norsim.commands.run.validate import command
        case "runs":
            from norsim.commands.run.runs import command
        case _:
            raise KeyError(name)
    return command


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports each only when needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, in the usual order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command `cmd_name`; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        return import_command(cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command; an OSError that it did not expect becomes a WriteError."""
        with whole_output(ctx):
            return super().invoke(ctx)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete command names without importing the commands, which takes seconds."""
        commands = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands of `--help` without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("norsim"), prog_name="norsim")
def cli() -> None:
    """Measure the accuracy a network keeps when the currents of NOR-flash arrays do its
    multiply-accumulates.

    Exit codes: 0 done, 2 usage or configuration, 3 simulator or cluster unusable, 4 a solve failed,
    its result failed a check, or a file could not be written, 5 a threshold was not met, 130
    interrupted.

    \b
    Examples:
      norsim doctor
      norsim eval-network --network digits-cnn
    """
    show_warnings()


def main() -> None:
    """Run the command line; a NorsimError ends it with one line on stderr and the error's exit code."""
    with interruptible():
        _main()


def _main() -> None:
    try:
        with named_stdout():
            cli.main(prog_name="norsim", standalone_mode=False)
    except NorsimError as problem:
        write_to_stderr(f"norsim: {in_options(' '.join(str(problem).split()))}{hint(problem)}")
        sys.exit(problem.exit_code)
    except click.ClickException as problem:
        with suppress(OSError):
            problem.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        write_to_stderr("norsim: interrupted")
        sys.exit(INTERRUPTED)
