"""Reports: one run, or two side by side, as a page that an engineer understands in a minute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from norsim.data import Dataset
from norsim.evaluation.evaluate import Evaluation
from norsim.experiments.read_back import read_run
from norsim.report.of_evaluation import of_evaluation
from norsim.report.page import write_page

__all__ = ["read_run", "write", "write_page", "write_report"]


def write(runs: Sequence[Path], out: Path) -> Path:
    """`out`/report.html about one or two folders of finished runs; gives its path.

    What cannot be had any more, such as the images, the page says. Raises ConfigurationError for a folder that holds no
    finished run, and where `out` cannot be written. `read_run` and `write_page` do the same with more options.
    """
    return write_page([read_run(run) for run in runs], out)


def write_report(result: Evaluation, out: Path | str, data: Dataset | None = None) -> Path:
    """Write `out`/report.html, a page about an evaluation made in Python, and return its path.

    `data` are the images that it saw; without them the page shows none. Raises ConfigurationError where the folder
    cannot be written.
    """
    return write_page([of_evaluation(result, data)], Path(out))
