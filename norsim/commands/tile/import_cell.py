"""`norsim cell import`: a transistor of a foundry kit as a flat card and a chip file."""

from __future__ import annotations

import re
import time
from pathlib import Path

import click

from norsim.commands.shared import show
from norsim.commands.shared.options import (
    cell_is_trusted,
    check_out,
    open_run,
    overwrite_option,
    print_json,
    trust_option,
)
from norsim.commands.shared.progress import reporting
from norsim.configuration.quantities import Conversion
from norsim.configuration.strict_yaml import yaml_text
from norsim.errors import ConfigurationError
from norsim.files import write_text
from norsim.jobs.phases import Phases, step

PARAMETER = re.compile(r"([A-Za-z_]\w*)=(\S+)")


@click.command("import")
@click.option(
    "--pdk",
    "root",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the kit's model files.",
)
@click.option("--transistor", required=True, metavar="NAME", help="Subcircuit or model card of the transistor.")
@click.option("--corner", required=True, metavar="NAME", help="Section of the kit's library, for example tt.")
@click.option("--w", "width", required=True, metavar="NUMBER", help="Width, as the kit's netlists write it.")
@click.option("--l", "length", required=True, metavar="NUMBER", help="Length, likewise.")
@click.option(
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=NUMBER",
    help="Further parameter of the transistor, for example nf=2. Repeatable.",
)
@click.option(
    "--library",
    metavar="FILE",
    help="Library in the kit's folder; by default the one whose section defines the transistor.",
)
@click.option(
    "--pins",
    default="drain,gate,source,bulk",
    show_default=True,
    metavar="PIN,PIN,...",
    help="Nodes of the subcircuit in order: drain, gate, source, bulk or ground.",
)
@click.option(
    "--wordline-read", "gate", default="1.8 V", show_default=True, metavar="VOLTS", help="Gate voltage of a read."
)
@click.option(
    "--bitline-read", "drain", default="0.5 V", show_default=True, metavar="VOLTS", help="Drain voltage of a read."
)
@click.option("--compatibility", default="", metavar="MODE", help="ngspice mode of the kit's files, for example hsa.")
@click.option(
    "--mismatch",
    metavar="NAME",
    help="Section of the library that switches the mismatch on: sample transistors there, and write mismatch.csv.",
)
@click.option(
    "--samples", default=200, show_default=True, type=click.IntRange(8, 100_000), help="Transistors that are sampled."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Seed of the samples.")
@trust_option
@overwrite_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the result; runs/cell-import-DATE-TIME by default.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and nothing else.")
@click.option("-q", "--quiet", is_flag=True, help="Do not report progress.")
def import_command(
    root: Path, transistor: str, corner: str, width: str, length: str, parameters: tuple[str, ...],
    library: str | None, pins: str, gate: str, drain: str, compatibility: str, mismatch: str | None, samples: int,
    seed: int, out: Path | None, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Write a transistor of a foundry kit as a flat card and a chip file.

    ngspice evaluates the expressions of the kit at the corner, random numbers at their mean, and the bin of the size is
    chosen. The folder gets chip.yaml with the flat netlist NAME_flat.sp, and kit.yaml, which uses the kit in place. The
    currents of both are compared. With --mismatch, ngspice draws transistors from the kit's own statistics, which
    become cells of chip.yaml by silicon.pdk_mismatch.

    \b
    Examples:
      norsim cell import --pdk DIR --transistor nch --corner tt --w 0.42 --l 0.18 --out nch
      norsim cell import --pdk DIR --transistor nch --corner tt --w 0.42 --l 0.18 --mismatch tt_mm
    """
    started = time.monotonic()
    check_out("cell-import", out)
    instance = dict([("w", width), ("l", length), *map(_parameter, parameters)])

    phases = Phases()
    with reporting(quiet, phases) as report, step(report, "import"):
        from norsim.chip.load import ChipChoice, build_chip
        from norsim.kits.importing import Wanted, flatten, in_place, sampled

    wanted = Wanted(
        root, corner, transistor, instance, (_volts("--wordline-read", gate), _volts("--bitline-read", drain)), library,
        tuple(pin.strip() for pin in pins.split(",")), compatibility, trusted=cell_is_trusted(),
    )  # fmt: skip
    with reporting(quiet, phases) as report:
        report("read the kit", 0, 4)
        kit = in_place(wanted, Path.cwd())
        path = Path.cwd() / "kit.yaml"
        choice = ChipChoice(kit.content, path, build_chip(kit.content, path, wanted.trusted), wanted.trusted)
        folder = open_run("cell-import", out, choice, seed, phases)
        write_text(folder.path / "kit.yaml", yaml_text(kit.content))
        report("write it flat, and compare", 1, 4)

        found = flatten(wanted, kit)
        sizes = " ".join(f"{name}={value}" for name, value in instance.items())
        said = f"* {transistor} of {root.name}, corner {corner}, {sizes}\n* Written by norsim cell import.\n"
        write_text(folder.path / found.content["cell"]["netlist"], said + found.netlist)
        report("sample its mismatch", 3, 4)
        spread = sampled(wanted, kit, mismatch, samples, seed) if mismatch else None
        if spread is not None:
            write_text(folder.path / "mismatch.csv", spread.table())
            found.content["silicon"] = {"pdk_mismatch": "mismatch.csv"}
        write_text(folder.path / "chip.yaml", yaml_text(found.content))
        report("sample its mismatch", 4, 4)
    ratio = found.read_seconds[0] / found.read_seconds[1]
    content = {
        "transistor": transistor, "corner": corner, "library": kit.content["cell"]["models"][0], "instance": instance,
        "bins": list(found.bins), "erased_volts": kit.threshold, "difference": found.difference,
        "read_seconds": {"kit": found.read_seconds[0], "flat": found.read_seconds[1]}, "read_time_ratio": ratio,
        "notes": list(kit.cell.notes), "chip": "chip.yaml", "netlist": found.content["cell"]["netlist"],
        "mismatch": None if spread is None else {"section": mismatch, "seed": seed, **spread.summary()},
    }  # fmt: skip
    folder.finish({**content, "seconds": {"total": time.monotonic() - started}})
    if as_json:
        print_json({**content, "out": str(folder.path)})
        return
    chosen = ", ".join(found.bins) or "none: the card has no bins"
    show.table(
        ("", "found"),
        [("library", str(content["library"])), ("bin", chosen),
         ("threshold in the kit", f"{kit.threshold:.4g} V"),
         ("currents", f"within {found.difference:.1e} of the kit's" if found.difference else "the same as the kit's"),
         ("time of a read in ngspice", f"1/{ratio:.3g} of that with the kit in place")],
        f"{transistor} at {corner}, {', '.join(f'{k} {v}' for k, v in instance.items())}",
    )  # fmt: skip
    if spread is not None:
        show.say(spread.in_words())
    show.say_path(f"Next: norsim cell check --chip {folder.path / 'chip.yaml'}")


def _parameter(text: str) -> tuple[str, str]:
    match = PARAMETER.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"--parameter {text!r}: expected NAME=NUMBER, for example nf=2")
    return match[1], match[2]


def _volts(option: str, text: str) -> float:
    try:
        return float(Conversion("volt")(text))
    except ValueError as problem:
        raise ConfigurationError(f"{option} {text!r}: {problem}") from None
