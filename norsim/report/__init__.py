"""Reports: an HTML page about one run, or about several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from norsim.data import Dataset
from norsim.evaluation.evaluate import Evaluation
from norsim.experiments.read_back import read_run
from norsim.folders.output import OutputFolder
from norsim.report.of_evaluation import of_evaluation
from norsim.report.page import write_page

__all__ = ["read_run", "write", "write_page", "write_report"]


def write(runs: Sequence[Path], out: Path) -> Path:
    """Write `out`/report.html about one to six folders of finished runs; return its path.

    The page names what is no longer available, such as the images. Raises ConfigurationError for a folder without a
    finished run, WriteError if `out` cannot be written. `read_run` and `write_page` do the same with more options.
    """
    return write_page([read_run(run) for run in runs], out)


def write_report(result: Evaluation, out: Path | str, data: Dataset | None = None, overwrite: bool = False) -> Path:
    """Write `out`/report.html about an evaluation in Python; return its path.

    `data` are the evaluated images; without them the page shows none. `out` is a new or empty folder, or one with an
    earlier report and `overwrite`. Raises ConfigurationError for any other folder, and for anything but an evaluation
    and its norsim data set; WriteError if the folder cannot be written.
    """
    record = of_evaluation(result, data)
    with OutputFolder(Path(out), "report", overwrite) as folder:
        folder.clear()
        return write_page([record], folder.path)
