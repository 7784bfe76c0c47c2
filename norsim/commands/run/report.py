"""`norsim report`: one run, or two side by side, as a page."""

from __future__ import annotations

from pathlib import Path

import click

from norsim.commands.shared.network_options import model_is_trusted, trust_model_option
from norsim.commands.shared.options import cell_is_trusted, check_out, overwrite_option, trust_option
from norsim.errors import ConfigurationError


@click.command("report")
@click.argument("runs", metavar="RUN [OTHER]", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Folder of the report; RUN for one run, runs/report-DATE-TIME for two.")  # fmt: skip
@click.option("--attribution", "attributions", type=click.Path(path_type=Path), metavar="RUN", multiple=True,
              help="A run of attribute on the same chip, repeatable; those beside RUN by default.")  # fmt: skip
@click.option("--data", "data_folder", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder of the data set, where it is not where the run had it.")  # fmt: skip
@overwrite_option
@trust_option
@trust_model_option
def command(runs: tuple[Path, ...], out: Path | None, attributions: tuple[Path, ...], data_folder: Path | None) -> None:
    """A page about RUN, a folder of eval-network or attribute, or about two side by side: DIR/report.html.

    The page needs no network and no other file. Its figures are in DIR/figures as SVG. One tile and some reads are
    solved again for it, which takes seconds.

    \b
    Examples:
      norsim report runs/first
      norsim report runs/first runs/second --out runs/compared
    """
    if len(runs) > 2:
        raise ConfigurationError(f"{len(runs)} runs are too many: a report is about one, or about two side by side")
    if attributions and len(runs) == 2:
        raise ConfigurationError("--attribution goes with one run")
    if out is not None and out.resolve() not in [run.resolve() for run in runs]:
        check_out(out, resume=False)
    for run in runs:
        if not run.is_dir():
            raise ConfigurationError(f"there is no folder {run}; give the folder of a run, which norsim runs ls lists")

    from norsim.experiments.read_back import read_run
    from norsim.experiments.run_folder import default_folder
    from norsim.report.page import write_page

    records = [
        read_run(
            run, data_folder=data_folder, attributions=attributions, trust_model=model_is_trusted(),
            trust_cell=cell_is_trusted(),
        )
        for run in runs
    ]  # fmt: skip
    place = out or (runs[0] if len(runs) == 1 else default_folder("report"))
    click.echo(f"The report is {write_page(records, place)}")
