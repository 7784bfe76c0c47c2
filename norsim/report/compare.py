"""Comparison of two runs: different settings, and images classified differently."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from norsim.errors import ConfigurationError
from norsim.experiments.run_record import Missing, RunRecord
from norsim.report.answers import Flips, Paired, disagreements, paired
from norsim.report.settings import Setting, differing, options


@dataclass(frozen=True, eq=False)
class Comparison:
    """`settings` of chip and command that differ; `paired` and `flips` for the images of both runs."""

    settings: tuple[Setting, ...]
    paired: Paired | Missing
    flips: list[Flips] | Missing


def compare(first: RunRecord, second: RunRecord) -> Comparison:
    """Compare two runs. Raises ConfigurationError if one of them is not a run of eval-network."""
    for record in (first, second):
        if not record.evaluated:
            raise ConfigurationError(
                f"{record.title} is no run of eval-network: only those are compared. Report it alone, or as an "
                "attribution of one run"
            )
    counts, flips = _images(first, second)
    return Comparison(_settings(first, second), counts, flips)


def _settings(first: RunRecord, second: RunRecord) -> tuple[Setting, ...]:
    origins = [record.origin for record in (first, second)]
    one, two = ({} if isinstance(origin, Missing) else options(origin) for origin in origins)
    chips = ({} if isinstance(origin, Missing) else origin.chip for origin in origins)
    known = ("network", "dataset", "images", "backend", "seed")
    of_run = differing(*({key: str(record.summary.get(key)) for key in known} for record in (first, second)))
    shown = {setting.key for setting in of_run}
    of_command = [setting for setting in differing(one, two) if setting.key not in shown]
    return (*of_run, *of_command, *differing(*chips))


def _images(first: RunRecord, second: RunRecord) -> tuple[Paired | Missing, list[Flips] | Missing]:
    one, two = first.answers, second.answers
    if isinstance(one, Missing) or isinstance(two, Missing):
        missing = one if isinstance(one, Missing) else two
        assert isinstance(missing, Missing)
        return missing, missing
    count = min(len(one.labels), len(two.labels))
    labels = one.labels[:count]
    if first.summary["dataset"] != second.summary["dataset"] or not np.array_equal(labels, two.labels[:count]):
        other = Missing("The runs did not classify the same images, so they cannot be compared image by image.")
        return other, other
    answers = one.array[:count], two.array[:count]
    data = first.data if not isinstance(first.data, Missing) else second.data
    return paired(labels, *answers), data if isinstance(data, Missing) else disagreements(labels, *answers, data)
