"""Reports: one run, or two side by side, as a page that an engineer understands in a minute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from norsim.data import Dataset
from norsim.network.evaluate import Evaluation
from norsim.report import material
from norsim.report.folder import read_run
from norsim.report.page import write_page

__all__ = ["of_evaluation", "read_run", "write", "write_page"]


def write(runs: Sequence[Path], out: Path) -> Path:
    """`out`/report.html about one or two folders of finished runs; gives its path.

    What cannot be had any more, such as the images, the page says. Raises ConfigurationError for a folder that holds no
    finished run, and where `out` cannot be written. `read_run` and `write_page` do the same with more options.
    """
    return write_page([read_run(run) for run in runs], out)


def of_evaluation(found: Evaluation, out: Path, data: Dataset | None = None) -> Path:
    """The same of an evaluation in Python: `result.report(out, data)` calls it."""
    return write_page([material.of_evaluation(found, data)], out)
