"""`norsim report`: an HTML page about one run, or about several side by side."""

from __future__ import annotations

from pathlib import Path

import click

from norsim.commands.shared.device_option import cpu_option
from norsim.commands.shared.network_options import model_is_trusted, trust_model_option
from norsim.commands.shared.options import cell_is_trusted, check_out, open_output, overwrite_option, trust_option
from norsim.errors import ConfigurationError
from norsim.folders.lock import FolderLock

# As norsim.report.page.MOST_RUNS, which a short command does not import.
MOST_RUNS = 6


@click.command("report")
@click.argument("runs", metavar="RUN [OTHER]...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Folder of the report; RUN for one run, runs/report-DATE-TIME for several.")  # fmt: skip
@click.option("--attribution", "attributions", type=click.Path(path_type=Path), metavar="RUN", multiple=True,
              help="A run of attribute on the same chip; by default those in the folder that contains RUN. "
                   "Repeatable.")  # fmt: skip
@click.option("--data", "data_folder", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder of the data set, if it has moved since the run.")  # fmt: skip
@cpu_option("a read of each layer and some others are solved again")
@overwrite_option
@trust_option
@trust_model_option
def command(runs: tuple[Path, ...], out: Path | None, attributions: tuple[Path, ...], data_folder: Path | None) -> None:
    """Write DIR/report.html, a page about RUN, a run folder of eval-network or attribute, or about up to six
    evaluations side by side.

    The page needs no internet access and no other file. Its figures are also in DIR/figures, as SVG. For the page, the
    worst read of each layer and some others are solved again, which takes seconds, or a minute for a deep network.

    \b
    Examples:
      norsim report runs/first
      norsim report runs/first runs/second --out runs/compared
    """
    if len(runs) > MOST_RUNS:
        raise ConfigurationError(
            f"{len(runs)} runs are too many; give one, or up to {MOST_RUNS} to compare side by side"
        )
    if attributions and len(runs) > 1:
        raise ConfigurationError("--attribution needs a report about one run, not several")
    if out is not None and out.resolve() not in [run.resolve() for run in runs]:
        check_out("report", out)
    for run in runs:
        if not run.is_dir():
            raise ConfigurationError(f"there is no folder {run}; give a run folder (`norsim runs ls` lists them)")

    from norsim.experiments.read_back import read_run
    from norsim.report.page import write_page

    records = [
        read_run(
            run, data_folder=data_folder, attributions=attributions, trust_model=model_is_trusted(),
            trust_cell=cell_is_trusted(),
        )
        for run in runs
    ]  # fmt: skip
    if (out is None and len(runs) == 1) or (out is not None and out.resolve() in [run.resolve() for run in runs]):
        place = out or runs[0]
        with FolderLock(place):
            page = write_page(records, place)
    else:
        output = open_output("report", out)
        output.clear()
        page = write_page(records, output.path)
    click.echo(f"Report: {page}")
