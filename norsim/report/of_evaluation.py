"""An evaluation made in Python, as the record that a report is made of."""

from __future__ import annotations

from norsim.data import Dataset
from norsim.errors import ConfigurationError
from norsim.evaluation.evaluate import Evaluation
from norsim.experiments.run_record import Answers, Material, Missing


def of_evaluation(found: Evaluation, data: Dataset | None = None) -> Material:
    """An evaluation in Python, with the images it saw. Raises ConfigurationError for images of another count."""
    if data is not None and len(data) != found.images:
        raise ConfigurationError(f"{len(data)} images do not go with an evaluation of {found.images}: give the same")
    return Material(
        found.network or "network", found.summary(),
        Answers(found.labels, found.predictions, found.predictions_quantized, found.predictions_float),
        found.samples or Missing("The evaluation kept no reads: no array was read."),
        Missing("The evaluation keeps no network, so layers were not read again."),
        data or Missing("The report was not given the images: norsim.write_report(result, folder, data) shows them."),
        Missing("The evaluation was made in Python: its script is its command."),
    )  # fmt: skip
