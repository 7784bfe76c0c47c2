"""`norsim cell fit`: a cell from measured curves."""

from __future__ import annotations

import csv
import io
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from norsim.commands.shared import show
from norsim.commands.shared.options import check_out, open_output, overwrite_option, print_json
from norsim.commands.shared.progress import reporting
from norsim.configuration.quantities import Conversion
from norsim.configuration.strict_yaml import parse_yaml
from norsim.errors import ConfigurationError, ThresholdError
from norsim.files import write_text
from norsim.jobs.phases import Phases, step

if TYPE_CHECKING:
    from norsim.cell_fit.cell import FittedCell
    from norsim.cell_fit.divider import Divider

COMMAND = "cell-fit"


def _coupling(context: click.Context, option: click.Parameter, text: str) -> Divider:
    from norsim.cell_fit.divider import Divider

    try:
        gate, drain, source = map(float, text.split(","))
    except ValueError:
        raise ConfigurationError(
            f"--coupling {text!r}: expected the shares of gate, drain and source, such as 0.6,0.08,0.12"
        ) from None
    return Divider(gate, drain, source)


def _quantity(unit: str, example: str) -> Any:
    def convert(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
        try:
            return None if text is None else Conversion(unit)(text)
        except ValueError:
            raise ConfigurationError(f"{option.opts[0]} {text!r}: expected a quantity such as '{example}'") from None

    return convert


@click.command("fit")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--measured", type=click.Choice(["transistor", "cell"]), default="transistor", show_default=True,
              help="What the curves are of: a transistor, whose gate is that of the channel, or a cell, at its control "
                   "gate.")  # fmt: skip
@click.option("--coupling", default="0.60,0.08,0.12", show_default=True, callback=_coupling,
              metavar="GATE,DRAIN,SOURCE", help="Shares of the cell's terminals in its floating gate; the bulk has the "
                                                "rest. 1,0,0 for a cell without a floating gate.")  # fmt: skip
@click.option("--temperature", default="27 degC", show_default=True, callback=_quantity("kelvin", "27 degC"),
              metavar="QUANTITY", help="Temperature of curves that state none.")  # fmt: skip
@click.option("--noise", default=None, callback=_quantity("ampere", "5 nA"), metavar="QUANTITY",
              help="Noise of the instrument; the largest negative current by default.")  # fmt: skip
@click.option("--all-curves", is_flag=True, help="Fit all curves, so that none judges the fit.")
@click.option("--max-error", type=click.FloatRange(min=0), metavar="PERCENT",
              help="Exit with code 5 if the median error of the curves that judge the fit is larger.")  # fmt: skip
@click.option("--name", default="fitted", show_default=True, help="Name of the cell and of its files.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Run folder; runs/cell-fit-DATE-TIME by default."
)
@overwrite_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and nothing else.")
@click.option("-q", "--quiet", is_flag=True, help="Do not report progress.")  # fmt: skip
def fit_command(
    files: tuple[Path, ...], measured: str, coupling: Divider, temperature: float, noise: float | None,
    all_curves: bool, max_error: float | None, name: str, out: Path | None, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Fit a cell to measured curves in FILE..., Keysight IC-CAP .mdm or CSV.

    Half of the curves are fitted, the others judge the fit. Write NAME.sp, NAME.va, NAME.yaml (a chip file),
    report.html, its figures, points.csv and summary.json to the run folder.

    \b
    Examples:
      norsim cell fit id_over_vg.mdm id_over_vd.mdm --out runs/fit
      norsim cell fit curves.csv --measured cell --coupling 0.55,0.1,0.1 --name split_gate
    """
    started = time.monotonic()
    check_out(COMMAND, out)
    _check_name(name)
    phases = Phases()
    with reporting(quiet, phases) as report, step(report, "fit"):
        from norsim.cell_fit.cell import fit_cell, read_curves
        from norsim.cell_fit.divider import NO_DIVIDER

        curves = read_curves(files, temperature)
        behind = coupling if measured == "cell" else NO_DIVIDER
        found = fit_cell(name, curves, behind, coupling, not all_curves, noise)
    remarks = [
        f"a cell that norsim fitted to {', '.join(path.name for path in files)}.",
        "Equations and meaning of the parameters: norsim/cell_fit/channel.py, and docs/tutorials/your-curves.md.",
    ]
    options = {
        "files": ", ".join(map(str, files)), "measured": measured, "coupling": str(asdict(coupling)),
        "temperature": str(temperature), "noise": str(noise), "all_curves": str(all_curves), "name": name,
    }  # fmt: skip
    with reporting(quiet, phases) as report, step(report, "check"):
        from norsim.experiments.run_folder import RunFolder

        output, texts = open_output(COMMAND, out), found.files(remarks)
        chip = output.path / f"{name}.yaml"
        folder = RunFolder(output, parse_yaml(texts[chip.name]), chip, 0, options, checks={"max_error": max_error})
        for file, text in texts.items():
            write_text(folder.path / file, text)
        content = _checked_content(found, chip, [str(path) for path in files])
        _write_results(found, content, folder.path)
    folder.finish({**content, "seconds": {"total": time.monotonic() - started}})
    if as_json:
        print_json({**content, "out": str(folder.path)})
    else:
        _report(content, chip)
    _check_error(content, max_error)


def _check_name(name: str) -> None:
    """Raise ConfigurationError for a name that no subcircuit, Verilog-A module or file of norsim can have."""
    from norsim.spice.own_names import PREFIX

    if not (name.isidentifier() and name.isascii() and name == name.lower()) or name.startswith(PREFIX):
        raise ConfigurationError(
            f"--name {name!r}: expected lower-case letters, digits and underscores, no digit first, and no name that "
            f"starts with {PREFIX}"
        )


def _checked_content(found: FittedCell, chip: Path, files: list[str]) -> dict[str, Any]:
    """Return the content of summary.json, after the simulator solved the written netlist."""
    from norsim.cell_fit.summary import content
    from norsim.cell_fit.witness import largest_difference
    from norsim.chip.load import choose_chip
    from norsim.spice.simulators.choice import chosen_simulator

    simulator = chosen_simulator()
    difference = largest_difference(choose_chip(chip).chip.cell, found, simulator)
    return content(found, files, difference, simulator.identity())


def _write_results(found: FittedCell, content: dict[str, Any], folder: Path) -> None:
    from norsim.report.cell_fit_page import fit_page
    from norsim.report.figures.cell_fit import fit_figures

    drawings = fit_figures(found)
    for drawn in drawings:
        write_text(folder / f"{drawn.name}.svg", drawn.svg)
    write_text(folder / "points.csv", _table(found))
    write_text(folder / "report.html", fit_page(content, drawings))


def _table(found: FittedCell) -> str:
    """Return all points, measured and fitted, as CSV in SI units."""
    text, judged = io.StringIO(), found.judgement
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("curve", "half", "state", "temperature_kelvin", "gate_volts", "drain_volts", "source_volts",
                     "measured_amps", "fitted_amps", "on_region"))  # fmt: skip
    points = judged.points
    for k, curve in enumerate(points.curve.tolist()):
        writer.writerow((
            curve, "fitted" if judged.is_fitted[curve] else "judged", found.states[points.state[k]],
            *(float(part[k]) for part in (points.kelvin, points.gate, points.drain, points.source, points.amps)),
            float(judged.fitted_amps[k]), int(judged.is_on[k]),
        ))  # fmt: skip
    return text.getvalue()


def _report(content: dict[str, Any], chip: Path) -> None:
    rows = []
    for half, errors in content["halves"].items():
        shares = [errors[key] for key in ("median", "quantile_90", "largest")]
        words = ["" if share is None else f"{100 * share:.2f} %" for share in shares]
        rows.append((half, str(errors["curves"]), str(errors["points"]), *words))
    show.table(
        ("half", "curves", "points", "median error", "90 % within", "worst"), rows,
        f"The cell {content['cell']}, fitted to measured curves: errors over the on-region",
    )  # fmt: skip
    for said in content["sentences"]:
        show.advise(f"- {said}")
    show.say_path(f"Next: norsim cell check --chip {chip}. Run folder: {chip.parent}")


def _check_error(content: dict[str, Any], max_error: float | None) -> None:
    """Raise ThresholdError if the median error of the judging half, or of the only one, is above the bound."""
    half = "judged" if content["halves"]["judged"]["curves"] else "fitted"
    error = content["halves"][half]["median"]
    if max_error is not None and (error is None or 100 * error > max_error):
        shown = "not known" if error is None else f"{100 * error:.2f} %"
        raise ThresholdError(
            f"the median error of the {half} curves over the on-region is {shown}, above --max-error {max_error:g} %"
        )
