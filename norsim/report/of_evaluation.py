"""Conversion of an evaluation in Python to the record of a report."""

from __future__ import annotations

from norsim.data import Dataset
from norsim.errors import ConfigurationError
from norsim.evaluation.evaluate import Evaluation
from norsim.evaluation.metrics import ACCURACY
from norsim.experiments.run_record import Answers, Missing, RunRecord


def of_evaluation(found: Evaluation, data: Dataset | None = None) -> RunRecord:
    """Return the record of an evaluation and its images.

    Raises ConfigurationError for other objects, and for another number of images.
    """
    if not isinstance(found, Evaluation):
        raise ConfigurationError(
            f"a report is about an Evaluation, as evaluate returns it, not a {type(found).__name__}"
        )
    if data is not None and not isinstance(data, Dataset):
        raise ConfigurationError(
            f"the images are a {type(data).__name__}; expected a norsim data set, as norsim.load_data returns it"
        )
    if data is not None and len(data) != found.images:
        raise ConfigurationError(f"{len(data)} images do not match an evaluation of {found.images}: pass the same")
    return RunRecord(
        found.network or "network", found.summary(),
        Answers(found.labels, found.predictions, found.predictions_quantized, found.predictions_float)
        if found.metric == ACCURACY
        else Missing(f"The evaluation is by the metric {found.metric}, so it has no classes of single images."),
        found.samples or Missing("The evaluation kept no reads: no array was read."),
        Missing("The evaluation does not keep its network, so layers were not read again."),
        data or Missing("The report has no images: norsim.write_report(result, folder, data) shows them."),
        Missing("The evaluation was made in Python: there is no command that repeats it."),
    )  # fmt: skip
