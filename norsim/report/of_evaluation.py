"""Conversion of an evaluation in Python to the record of a report."""

from __future__ import annotations

from norsim.data import Dataset
from norsim.errors import ConfigurationError
from norsim.evaluation.evaluate import Evaluation
from norsim.experiments.run_record import Answers, Missing, RunRecord


def of_evaluation(found: Evaluation, data: Dataset | None = None) -> RunRecord:
    """Return the record of an evaluation and its images. Raises ConfigurationError for another number of images."""
    if data is not None and len(data) != found.images:
        raise ConfigurationError(f"{len(data)} images do not match an evaluation of {found.images}: pass the same")
    return RunRecord(
        found.network or "network", found.summary(),
        Answers(found.labels, found.predictions, found.predictions_quantized, found.predictions_float),
        found.samples or Missing("The evaluation kept no reads: no array was read."),
        Missing("The evaluation does not keep its network, so layers were not read again."),
        data or Missing("The report has no images: norsim.write_report(result, folder, data) shows them."),
        Missing("The evaluation was made in Python: there is no command that repeats it."),
    )  # fmt: skip
