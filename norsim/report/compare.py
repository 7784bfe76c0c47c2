"""Comparison of runs: different settings, and images classified differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from norsim.data import Dataset
from norsim.errors import ConfigurationError
from norsim.experiments.run_record import Answers, Missing, RunRecord
from norsim.report.answers import Flips, Paired, disagreements, paired
from norsim.report.settings import Setting, differing, options


@dataclass(frozen=True, eq=False)
class Comparison:
    """A comparison of two or more runs, called A, B and so on.

    `settings`   of chip and command that differ
    `paired`     the first run against each other one, on the images of both
    `flips`      images that not all runs classify alike
    """

    names: tuple[str, ...]
    settings: tuple[Setting, ...]
    paired: tuple[Paired | Missing, ...]
    flips: list[Flips] | Missing


def compare(records: Sequence[RunRecord]) -> Comparison:
    """Compare runs. Raises ConfigurationError if one of them is not a run of eval-network."""
    for record in records:
        if not record.evaluated:
            raise ConfigurationError(
                f"{record.title} is no run of eval-network: only those are compared. Report it alone, or as an "
                "attribution of one run"
            )
    names = tuple(map(letter, range(len(records))))
    counts = tuple(_pair(records[0], record) for record in records[1:])
    return Comparison(names, _settings(records), counts, _flips(names, records))


def letter(place: int) -> str:
    """Return the name of a run on the page: A for the first."""
    return chr(ord("A") + place)


def _settings(records: Sequence[RunRecord]) -> tuple[Setting, ...]:
    origins = [record.origin for record in records]
    of_commands = differing(*({} if isinstance(origin, Missing) else options(origin) for origin in origins))
    chips = ({} if isinstance(origin, Missing) else origin.chip for origin in origins)
    known = ("network", "dataset", "images", "backend", "seed")
    of_run = differing(*({key: str(record.summary.get(key)) for key in known} for record in records))
    shown = {setting.key for setting in of_run}
    return (*of_run, *(setting for setting in of_commands if setting.key not in shown), *differing(*chips))


def _same_images(records: Sequence[RunRecord]) -> list[Answers] | Missing:
    """Return the answers of all runs to the images that all of them classified."""
    found = []
    for record in records:
        if isinstance(record.answers, Missing):
            return record.answers
        found.append(record.answers)
    count = min(len(one.labels) for one in found)
    alike = all(np.array_equal(one.labels[:count], found[0].labels[:count]) for one in found)
    if not alike or len({str(record.summary["dataset"]) for record in records}) > 1:
        return Missing("The runs did not classify the same images, so they cannot be compared image by image.")
    return [
        Answers(one.labels[:count], one.array[:count], one.quantized[:count],
                None if one.full is None else one.full[:count])
        for one in found
    ]  # fmt: skip


def _pair(first: RunRecord, second: RunRecord) -> Paired | Missing:
    found = _same_images((first, second))
    return found if isinstance(found, Missing) else paired(found[0].labels, *(one.array for one in found))


def _flips(names: Sequence[str], records: Sequence[RunRecord]) -> list[Flips] | Missing:
    found = _same_images(records)
    if isinstance(found, Missing):
        return found
    held = [record.data for record in records]
    data = next((one for one in held if isinstance(one, Dataset)), held[0])
    runs = dict(zip(names, (one.array for one in found), strict=True))
    return data if isinstance(data, Missing) else disagreements(found[0].labels, runs, data)
