"""`norsim chip check`: whether a chip file is right, without a network."""

from __future__ import annotations

from dataclasses import asdict

import click

from norsim.chip.load import apply_settings, read_chip_file
from norsim.commands.shared import show
from norsim.commands.shared.complete import complete_chip, complete_key
from norsim.commands.shared.options import cell_is_trusted, print_json, trust_option
from norsim.errors import ThresholdError

MARKS = {True: "ok   ", False: "FAILS", None: "     "}


@click.group("chip")
def command() -> None:
    """Examine a chip file.

    \b
    Examples:
      norsim chip check etox65
    """


@command.command("check")
@click.argument("name", metavar="FILE|PRESET", shell_complete=complete_chip)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=complete_key,
    help="Change a chip key, for example adc.bits=10. Repeatable.",
)
@trust_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and nothing else.")
def check_command(name: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Check the keys and units of a chip file, and for each encoding in it whether the cell reaches the levels, and the
    step of the converters.

    Print one line for each finding. Exit with code 2 if the file cannot be read, with 5 if something is unsuitable.

    \b
    Examples:
      norsim chip check etox65
      norsim chip check bsim3 --set "bit_serial.top_level=3 uA" --json
    """
    from norsim.cell_check.chip import check_chip

    content, path = read_chip_file(name)
    content = apply_settings(content, settings)
    found = check_chip(content, path, cell_is_trusted())
    failing = [f"{encoding}: {one.name}" for encoding, some in found.items() for one in some if one.ok is False]
    if as_json:
        listed = [{"encoding": encoding, **asdict(one)} for encoding, some in found.items() for one in some]
        print_json({"chip": content["name"], "ok": not failing, "findings": listed})
    else:
        show.advise(f"{MARKS[True]} keys, units and cell files of {path.name}")
        for encoding, some in found.items():
            for one in some:
                value = "" if one.value is None else f" {one.value:.4g} {one.unit}".rstrip()
                expected = f" ({one.expected})" if one.expected else ""
                advice = f": {one.advice}" if one.advice else ""
                show.advise(f"{MARKS[one.ok]} {encoding}: {one.name}{value}{expected}{advice}")
    if failing:
        raise ThresholdError(f"the chip {content['name']} is not suitable: {', '.join(failing)}")
