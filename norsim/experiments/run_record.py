"""The input of a report, read from a run folder or made from an evaluation in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from norsim.data import Dataset
from norsim.evaluation.metrics import Predictions
from norsim.evaluation.proof.sampling import Sample


@dataclass(frozen=True)
class Missing:
    """The reason why the report cannot show something; the page states it in its place."""

    reason: str


@dataclass(frozen=True, eq=False)
class Answers:
    """Classes `[images]`: the labels, and the predictions of each network; `full` are the float network's, if known."""

    labels: Predictions
    array: Predictions
    quantized: Predictions
    full: Predictions | None


@dataclass(frozen=True)
class AttributionRecord:
    """The summary.json of a run of `norsim attribute`, and its place."""

    place: str
    summary: Mapping[str, Any]

    @property
    def by(self) -> str:
        """`causes`, `cures` or `layers`."""
        return str(self.summary["by"])


@dataclass(frozen=True)
class Origin:
    """The origin of a run: its manifest, the content of its chip file, and its duration in seconds, if known."""

    manifest: Mapping[str, Any]
    chip: Mapping[str, Any]
    seconds: float | None


@dataclass(frozen=True, eq=False)
class RunRecord:
    """The record of one run.

    `title`     its name on the page
    `summary`   its summary.json; that of an attribute run has no accuracies
    `samples`   reads that it kept, on their tiles
    `model`     the converted network, which determines the activations of its layers
    `data`      its images, at least those that it classified
    """

    title: str
    summary: Mapping[str, Any]
    answers: Answers | Missing
    samples: Sequence[Sample] | Missing
    model: nn.Module | Missing
    data: Dataset | Missing
    origin: Origin | Missing
    attributions: tuple[AttributionRecord, ...] = ()

    def reads_by_layer(self) -> dict[str, list[Sample]]:
        """Return the kept reads of each layer with any, in the order of the run's layers."""
        kept = [] if isinstance(self.samples, Missing) else self.samples
        names = [str(layer["name"]) for layer in self.summary.get("layers", ())]
        found = {name: [sample for sample in kept if sample.part.layer.name == name] for name in names}
        return {name: samples for name, samples in found.items() if samples}

    @property
    def evaluated(self) -> bool:
        """Whether the summary has accuracies."""
        return "accuracy" in self.summary
