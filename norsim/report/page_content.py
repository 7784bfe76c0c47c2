"""The content of the page for one run, with its figures, section by section."""

from __future__ import annotations

from dataclasses import dataclass

from norsim.data import Dataset
from norsim.experiments.run_record import Answers, AttributionRecord, Missing, RunRecord
from norsim.report import answers as of_answers
from norsim.report.answers import Flips
from norsim.report.array import Deviation, SolvedTile, deviations, solve_worst
from norsim.report.cells import Curves, curves
from norsim.report.converters import Uses, uses
from norsim.report.figures import of_array, of_results
from norsim.report.figures.svg import Drawing
from norsim.report.settings import Differences, from_preset
from norsim.report.verdict import Verdict, verdict


@dataclass(frozen=True, eq=False)
class Array:
    """Results about the array, with their figures."""

    deviations: list[Deviation]
    by_layer: Drawing
    solved: SolvedTile | Missing
    solved_figures: tuple[Drawing, ...]
    curves: Curves | Missing
    curve_figures: tuple[Drawing, ...]
    uses: Uses
    codes: Drawing


@dataclass(frozen=True, eq=False)
class PageContent:
    """All results about one run; its file names start with `mark`, which is empty if the page has no other run."""

    mark: str
    record: RunRecord
    verdict: Verdict | None
    losses: tuple[tuple[AttributionRecord, Drawing], ...]
    array: Array | Missing
    confusion: Drawing | Missing
    flips: list[Flips] | Missing
    energy: Drawing | Missing
    differences: Differences | Missing

    @property
    def drawings(self) -> list[Drawing]:
        """Return all its figures."""
        array = self.array
        of_array = () if isinstance(array, Missing) else (
            array.by_layer, *array.solved_figures, *array.curve_figures, array.codes
        )  # fmt: skip
        single = [drawn for drawn in (self.confusion, self.energy) if isinstance(drawn, Drawing)]
        return [*(drawn for _, drawn in self.losses), *of_array, *single]


def content_of(record: RunRecord, mark: str = "") -> PageContent:
    """Collect the page content for a run; takes seconds, because a tile and some reads are solved again."""
    layers = record.summary.get("layers", ())
    spent = [layer for layer in layers if layer.get("converters_joules_image")]
    origin = record.origin
    return PageContent(
        mark, record, verdict(record),
        tuple(
            (found, of_results.losses(f"{mark}losses-{number}", found))
            for number, found in enumerate(record.attributions, 1)
        ),
        _array(record, mark), _confusion(record, mark), _flips(record),
        of_results.energy(f"{mark}energy", spent) if spent else Missing(
            "The run has no energy model: no array was read, or the run is from an older norsim."
        ),
        origin if isinstance(origin, Missing) else from_preset(origin),
    )  # fmt: skip


def _array(record: RunRecord, mark: str) -> Array | Missing:
    samples = record.samples
    if isinstance(samples, Missing):
        return samples
    by_layer = record.reads_by_layer()
    if not by_layer:
        return Missing("The run kept no reads.")
    off = deviations(by_layer)
    solved = solve_worst(samples)
    found = curves(samples, solved)
    used = uses(by_layer, record.model, record.data, int(record.summary.get("seed") or 0))
    return Array(
        off, of_results.layer_deviations(f"{mark}layers", off), solved,
        () if isinstance(solved, Missing) else (
            of_array.error_map(f"{mark}error-map", solved), of_array.drops(f"{mark}wires", solved),
            of_array.thresholds(f"{mark}thresholds", solved),
        ),
        found, () if isinstance(found, Missing) else (of_array.cell_curves(f"{mark}cells", found),),
        used, of_array.codes(f"{mark}codes", used.layers),
    )  # fmt: skip


def _confusion(record: RunRecord, mark: str) -> Drawing | Missing:
    answers = record.answers
    if not isinstance(answers, Answers):
        return answers
    classes = of_answers.class_names(record.data, answers)
    return of_results.confusion(f"{mark}confusion", of_answers.confusion(answers, len(classes)), classes)


def _flips(record: RunRecord) -> list[Flips] | Missing:
    if isinstance(record.answers, Missing):
        return record.answers
    return of_answers.flips(record.answers, record.data) if isinstance(record.data, Dataset) else record.data
