"""`norsim cell check`: whether the cell of a chip file is suitable, and what to change if it is not."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from norsim.chip.cell_files import build_cell
from norsim.chip.schema import chip_file
from norsim.commands.shared import show
from norsim.commands.shared.options import (
    cell_is_trusted,
    check_out,
    chip_of_options,
    chip_options,
    open_run,
    overwrite_option,
    print_json,
)
from norsim.commands.shared.progress import reporting
from norsim.commands.tile.cell_fit import fit_command
from norsim.commands.tile.import_cell import import_command
from norsim.errors import ThresholdError
from norsim.files import write_text
from norsim.jobs.phases import Phases, step
from norsim.spice.simulators.choice import chosen_simulator

if TYPE_CHECKING:
    from norsim.array.cell import Cell
    from norsim.cell_check.check import CellCheck
    from norsim.chip.load import ChipChoice
    from norsim.chip.model import Chip

VERDICTS = {True: "ok", False: "FAILS", None: ""}


@click.group("cell")
def command() -> None:
    """Examine the cell of a chip file, or make one of measured curves or of a foundry kit's transistor.

    \b
    Examples:
      norsim cell check --chip bsim3
      norsim cell fit curves.csv --out runs/fit
      norsim cell import --pdk DIR --transistor nch --corner tt --w 0.42 --l 0.18
    """


command.add_command(fit_command)
command.add_command(import_command)


@command.command("check")
@chip_options
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Run folder; runs/cell-check-DATE-TIME by default."
)
@overwrite_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and nothing else.")
@click.option("-q", "--quiet", is_flag=True, help="Do not report progress.")  # fmt: skip
def check_command(
    chip_name: str, encoding: str | None, settings: tuple[str, ...], out: Path | None, as_json: bool, quiet: bool
) -> None:
    """Sweep the chip's cell, find its window and levels, and report what is unsuitable.

    Write iv.svg, curves.csv and summary.json to the run folder. Exit with code 5 if something is unsuitable.

    \b
    Examples:
      norsim cell check --chip etox65
      norsim cell check --chip bsim3 --set "bit_serial.top_level=3 uA" --out runs/cell
    """
    started = time.monotonic()
    check_out("cell-check", out)
    choice = chip_of_options(chip_name, encoding, settings)

    phases = Phases()
    with reporting(quiet, phases) as report, step(report, "import"):
        from norsim.cell_check.check import check

    folder = open_run("cell-check", out, choice, 0, phases)
    with reporting(quiet, phases) as report:
        found = check(
            choice.chip, programmed_card(choice), lambda step, done, total: report(f"check {step}", done, total)
        )
    write_files(found, choice.chip, folder.path)
    content = summary(found, choice.chip)
    folder.finish({**content, "seconds": {"total": time.monotonic() - started, **found.seconds}})
    if as_json:
        print_json({**content, "seconds": found.seconds, "out": str(folder.path)})
    else:
        report_findings(found, choice.chip, folder.path)
    if not found.ok:
        failing = ", ".join(finding.name for finding in found.findings if finding.ok is False)
        raise ThresholdError(f"the cell of {choice.chip.name} is not suitable: {failing}")


def programmed_card(choice: ChipChoice) -> Cell | None:
    """Return the model card that `cell.programmed_as` names, as a separate cell; None if it names none."""
    file = chip_file().model_validate(choice.content)
    if file.cell.programmed_as is None:
        return None
    section = file.cell.model_copy(update={"model": file.cell.programmed_as, "programmed_as": None})
    return build_cell(section, file.temperature, choice.path, cell_is_trusted())


def write_files(found: CellCheck, chip: Chip, folder: Path) -> None:
    """Write iv.svg and curves.csv."""
    from norsim.report.figures.cell_check import curves

    ends = (chip.cell.erased_volts, chip.cell.programmed_volts)
    write_text(folder / "iv.svg", curves(found.curves, chip.encoding.level_amps, ends))
    write_text(folder / "curves.csv", found.curves.table())


def summary(found: CellCheck, chip: Chip) -> dict[str, Any]:
    """Return the content of summary.json and of `--json`."""
    levels: list[dict[str, float]] = []
    if found.levels is not None:
        columns = (found.levels.thresholds, found.levels.target_amps, found.levels.achieved_amps)
        levels = [
            {"code": code, "threshold_volts": volts, "target_amps": target, "amps": amps}
            for code, (volts, target, amps) in enumerate(zip(*(part.tolist() for part in columns), strict=True))
        ]
    return {
        "chip": chip.name, "cell": chip.cell.subcircuit, "encoding": chip.encoding.name,
        "temperature_kelvin": chip.cell.temperature_kelvin,
        "simulator": chosen_simulator(chip.cell).identity(), "ok": found.ok,
        "findings": [asdict(finding) for finding in found.findings], "levels": levels, "warnings": found.warnings,
    }  # fmt: skip


def report_findings(found: CellCheck, chip: Chip, folder: Path) -> None:
    """Print the findings as a table, then the advice."""
    show.table(
        ("", "found", "expected", "verdict"),
        [(one.name, with_unit(one.value, one.unit), one.expected, VERDICTS[one.ok]) for one in found.findings],
        f"The cell of {chip.name}, {chip.encoding.name}, at {chip.cell.temperature_kelvin - 273.15:g} °C",
    )
    for finding in found.findings:
        if finding.advice:
            mark = "!" if finding.ok is False else "-"
            show.advise(f"{mark} {finding.name}: {finding.advice}")
    for warning in found.warnings:
        about = "" if warning in chip.cell.notes else f"{chosen_simulator(chip.cell).name} warns: "
        show.advise(f"! {about}{warning}")
    times = ", ".join(f"{part.replace('_', ' ')} {seconds:.2g} s" for part, seconds in found.seconds.items())
    show.say_path(f"Time: {times or 'not measured'}. Run folder: {folder}")


def with_unit(value: float | None, unit: str) -> str:
    """Return a number with its unit, for display."""
    if value is None:
        return "none"
    return f"{value:.4g} {unit}".strip()
