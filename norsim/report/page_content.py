"""The content of the page for one run, with its figures, section by section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from norsim.data import Dataset
from norsim.experiments.run_record import Answers, AttributionRecord, Missing, RunRecord
from norsim.report import answers as of_answers
from norsim.report.answers import Flips
from norsim.report.array import Deviation, SolvedTile, deviations
from norsim.report.cells import Curves, curves
from norsim.report.converters import Uses, uses
from norsim.report.figures import of_array, of_results
from norsim.report.figures.network import network
from norsim.report.figures.svg import Drawing
from norsim.report.layers import MOST_SOLVED, Layer, Network, network_of, solve_layers
from norsim.report.settings import Differences, from_preset
from norsim.report.verdict import Verdict, verdict


@dataclass(frozen=True, eq=False)
class Array:
    """Results about the array, with their figures.

    `by_name`   the worst read of each layer, by its name; `solved` is the worst of all
    """

    deviations: list[Deviation]
    by_layer: Drawing
    by_name: dict[str, SolvedTile | Missing]
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
    network: Network
    network_figure: Drawing | None
    layer_figures: dict[int, tuple[Drawing, ...]]
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
        single = [drawn for drawn in (self.network_figure, self.confusion, self.energy) if isinstance(drawn, Drawing)]
        of_layers = (drawn for drawings in self.layer_figures.values() for drawn in drawings)
        return [*(drawn for _, drawn in self.losses), *of_layers, *of_array, *single]


def content_of(record: RunRecord, mark: str = "", most_solved: int = MOST_SOLVED) -> PageContent:
    """Collect the page content for a run; takes seconds, because a read of each of at most `most_solved` layers and
    some others are solved again."""
    layers = record.summary.get("layers", ())
    spent = [layer for layer in layers if layer.get("converters_joules_image")]
    origin, array = record.origin, _array(record, mark, most_solved)
    parts = (array.deviations, array.uses.layers, array.by_name) if isinstance(array, Array) else ((), (), {})
    found = network_of(record, *parts)
    return PageContent(
        mark, record, verdict(record),
        tuple(
            (found, of_results.losses(f"{mark}losses-{number}", found))
            for number, found in enumerate(record.attributions, 1)
        ),
        array, found, network(f"{mark}network", found) if found.layers else None, _of_layers(found.layers, mark),
        _confusion(record, mark), _flips(record),
        of_results.energy(f"{mark}energy", spent) if spent else Missing(
            "The run has no energy model: no array was read, or the run is from an older norsim."
        ),
        origin if isinstance(origin, Missing) else from_preset(origin),
    )  # fmt: skip


def _of_layers(layers: Sequence[Layer], mark: str) -> dict[int, tuple[Drawing, ...]]:
    """Draw the worst read of each layer that was solved again."""
    return {
        layer.number: (
            of_array.error_map(f"{mark}layer-{layer.number}-error-map", layer.solved),
            of_array.drops(f"{mark}layer-{layer.number}-wires", layer.solved),
        )
        for layer in layers
        if isinstance(layer.solved, SolvedTile)
    }


def _array(record: RunRecord, mark: str, most_solved: int) -> Array | Missing:
    samples = record.samples
    if isinstance(samples, Missing):
        return samples
    by_layer = record.reads_by_layer()
    if not by_layer:
        return Missing("The run kept no reads.")
    off = deviations(by_layer)
    by_name = solve_layers(by_layer, off, most_solved)
    solved = by_name[max(off, key=lambda part: part.worst).layer]
    found = curves(samples, solved)
    used = uses(by_layer, record.model, record.data, int(record.summary.get("seed") or 0))
    return Array(
        off, of_results.layer_deviations(f"{mark}layers", off), by_name, solved,
        () if isinstance(solved, Missing) else (
            of_array.error_map(f"{mark}error-map", solved), of_array.current_map(f"{mark}current-map", solved),
            of_array.loss_map(f"{mark}loss-map", solved), of_array.threshold_map(f"{mark}threshold-map", solved),
            of_array.drops(f"{mark}wires", solved), of_array.thresholds(f"{mark}thresholds", solved),
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
