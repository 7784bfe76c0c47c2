"""What a report is made of, wherever it comes from: a run's folder, or an evaluation in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from norsim.data import Dataset
from norsim.evaluation.metrics import Predictions
from norsim.evaluation.proof import Sample


@dataclass(frozen=True)
class Missing:
    """What the report cannot show, and why; the page says so in its place."""

    reason: str


@dataclass(frozen=True, eq=False)
class Answers:
    """Classes `[images]`: the right ones, and what each network says; `full` is the float network's, where known."""

    labels: Predictions
    array: Predictions
    quantized: Predictions
    full: Predictions | None


@dataclass(frozen=True)
class Attribution:
    """A result of `norsim attribute`, as its summary.json has it, and where that lies."""

    place: str
    summary: Mapping[str, Any]

    @property
    def by(self) -> str:
        """`causes`, `cures` or `layers`."""
        return str(self.summary["by"])


@dataclass(frozen=True)
class Origin:
    """Where a run comes from: its manifest, its chip file's content, and the seconds it took, where they are known."""

    manifest: Mapping[str, Any]
    chip: Mapping[str, Any]
    seconds: float | None


@dataclass(frozen=True, eq=False)
class RunRecord:
    """One run.

    `title`     what the page calls it
    `summary`   its summary.json; that of an attribute run has no accuracies
    `samples`   reads that it kept, on their tiles
    `model`     the converted network, to see which activations its layers get
    `data`      its images, at least as many as it classified
    """

    title: str
    summary: Mapping[str, Any]
    answers: Answers | Missing
    samples: Sequence[Sample] | Missing
    model: nn.Module | Missing
    data: Dataset | Missing
    origin: Origin | Missing
    attributions: tuple[Attribution, ...] = ()

    def reads_by_layer(self) -> dict[str, list[Sample]]:
        """The kept reads of each layer that has some, in the order of the run's layers."""
        kept = [] if isinstance(self.samples, Missing) else self.samples
        names = [str(layer["name"]) for layer in self.summary.get("layers", ())]
        found = {name: [sample for sample in kept if sample.part.layer.name == name] for name in names}
        return {name: samples for name, samples in found.items() if samples}

    @property
    def evaluated(self) -> bool:
        """Whether it holds accuracies."""
        return "accuracy" in self.summary
