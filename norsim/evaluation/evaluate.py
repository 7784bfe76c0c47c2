"""Run a converted network on labelled data and report the accuracy that it keeps, with its verification."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from norsim.array.cell import Cell
from norsim.backends.backend import Backend, Progress
from norsim.backends.registry import backend_named, reference
from norsim.data.batches import Data, batches_of, check_range, size_of
from norsim.data.inputs.structure import Structure, count_of, joined, taken, tensors_in
from norsim.errors import ConfigurationError, DataError
from norsim.evaluation.batches import classes, done_elsewhere, outputs, run_batches
from norsim.evaluation.chip_costs import chip_costs, costs_of_layers, vectors_of
from norsim.evaluation.chips import Chips
from norsim.evaluation.clipping import total
from norsim.evaluation.costs import image_costs, layer_table
from norsim.evaluation.end_to_end import EndToEnd, end_to_end, usual_images
from norsim.evaluation.intervals import Interval
from norsim.evaluation.metrics import (
    ACCURACY,
    Metric,
    Predictions,
    check_labels,
    labels_of,
    name_of,
    scores_of,
)
from norsim.evaluation.programming import programming
from norsim.evaluation.proof.defaults import MOST_IMAGES, SPICE_SAMPLE
from norsim.evaluation.proof.sampling import KeptReads, Quota, Sample
from norsim.evaluation.proof.verification import Verification, verify
from norsim.evaluation.quality.choice import metric_of
from norsim.evaluation.quality.values import accuracies_of, values_of
from norsim.evaluation.quality.words import results_in_words, witness_in_words
from norsim.jobs.phases import BatchProgress, Report, silent
from norsim.jobs.unit_store import UnitStore
from norsim.jobs.workers import HERE, Workers
from norsim.quantization.copies import independent_copy
from norsim.quantization.forward import device_name, device_of
from norsim.tiling.convert import cells_of, converted_layers
from norsim.tiling.digital import check_on_images
from norsim.tiling.macs import count_macs
from norsim.tiling.modules import TiledLayer
from norsim.tiling.reader import Reader


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation; `summary()` is its JSON.

    `accuracy` is that of the array, `accuracy_quantized` that of the integers, `accuracy_float` that of the float
    network (None if its predictions are unknown): fractions of `images`, with Wilson's intervals, or None where there
    is no class for each image. `drop_points` is 100 (accuracy_float - accuracy).
    `metric` is the name of what the outputs are judged by, `accuracy` by default. `metric_value`, `metric_quantized`
    and `metric_float` are its values on the array, of the integers and of the float network, with 95 % intervals over
    other images (None if a user-supplied metric is too slow). `metric_change_quantized` and `metric_change_float` are
    the changes from these two to the array, with intervals paired by image.
    `verification` is about single reads; `end_to_end` compares predictions with those of the next rung of the ladder,
    None if there is none. `samples` are the reads that were kept, `at_random` of them, those with the smallest keys,
    drawn from all reads.
    `chip_costs` are energy, time and area of the chip: see norsim.evaluation.chip_costs. `programming` is what its
    pulses made of its cells, and took: see norsim.evaluation.programming; None for a chip without pulses.
    `macs_share` is the share of the network's multiply-accumulates that layers on the array do, and `macs_digital` that
    of each other module, by name; '' is the network itself.
    `device` is where the network was computed: `cpu`, or `cuda` with the name of the card.
    `labels` and predictions are classes `[images]`, or the targets and outputs passed to the metric. `chips` and
    `predictions_by_chip` are the results of several chips.
    """

    network: str
    dataset: str
    images: int
    backend: str
    encoding: str
    accuracy: float | None
    accuracy_ci95: Interval | None
    accuracy_quantized: float | None
    accuracy_quantized_ci95: Interval | None
    accuracy_float: float | None
    accuracy_float_ci95: Interval | None
    verification: Verification
    end_to_end: EndToEnd | None
    layers: list[dict[str, Any]]
    macs_share: float
    macs_digital: dict[str, float]
    device: str
    seconds: float
    seed: int
    versions: dict[str, str | None]
    labels: Any = field(repr=False)
    predictions: Any = field(repr=False)
    predictions_quantized: Any = field(repr=False)
    predictions_float: Any = field(repr=False)
    samples: list[Sample] = field(repr=False)
    at_random: int = field(repr=False)
    metric: str
    metric_value: float
    metric_ci95: Interval | None
    metric_quantized: float
    metric_quantized_ci95: Interval | None
    metric_float: float | None
    metric_float_ci95: Interval | None
    metric_change_quantized: float
    metric_change_quantized_ci95: Interval | None
    metric_change_float: float | None
    metric_change_float_ci95: Interval | None
    chip_costs: dict[str, Any] = field(repr=False)
    programming: dict[str, Any] | None = field(default=None, repr=False)
    chips: Chips | None = field(default=None, repr=False)
    predictions_by_chip: list[Predictions] = field(default_factory=list, repr=False)

    @property
    def drop_points(self) -> float | None:
        """Percentage points lost from the float network to the array; None where an accuracy is unknown."""
        if self.accuracy is None or self.accuracy_float is None:
            return None
        return 100 * (self.accuracy_float - self.accuracy)

    def __str__(self) -> str:
        """Return the result in a few lines; `repr` has every field."""
        results = [
            (f"on the array ({self.backend})", self.metric_value, self.metric_ci95),
            ("in integers, digital", self.metric_quantized, self.metric_quantized_ci95),
            ("in floats", self.metric_float, self.metric_float_ci95),
        ]
        title = f"{self.metric} of {self.network} on {self.images} images, {self.encoding}:"
        return "\n  ".join(
            [title, *results_in_words(self.metric, results), *witness_in_words(asdict(self.verification))]
        )

    def summary(self) -> dict[str, Any]:
        """Return the content of summary.json."""
        kept = {part.name: getattr(self, part.name) for part in fields(self) if part.repr}
        proof = {"verification": asdict(self.verification), "end_to_end": self.end_to_end and asdict(self.end_to_end)}
        content = {**kept, **proof, "energy": {**image_costs(self.layers), "chip": self.chip_costs}}
        return {**content, "programming": self.programming, "drop_points": self.drop_points}


def evaluate(
    model: nn.Module,
    data: Data,
    backend: str = "macro",
    *,
    metric: Metric | str | None = None,
    spice_sample: int = SPICE_SAMPLE,
    proof_images: int | None = None,
    proof_seconds: float | None = None,
    each_pass: bool = True,
    verified: bool = True,
    seed: int = 0,
    workers: Workers = HERE,
    progress: Progress | None = None,
    report: Report = silent,
    network: str = "",
    original: nn.Module | None = None,
    calibration: Structure | None = None,
    float_predictions: Predictions | None = None,
    store: UnitStore | None = None,
) -> Evaluation:
    """Return the accuracy of a converted network on labelled data, with every layer read by `backend`.

    `data` is any kind of labelled data that `norsim.deploy` accepts. `metric` judges the outputs instead of the share
    of correct classes: the name of a metric (norsim.evaluation.quality.named), or a function of (outputs, targets) of
    all images. `spice_sample` reads, drawn at random from all reads, are solved
    again by ngspice or the simulator that NORSIM_SIMULATOR names, and compared; with `each_pass` also one read of every
    pass of every layer. 0 skips both. The next rung of the ladder, if the backend has one, solves a few reads of every
    tile, and classifies the first `proof_images` images again: 0 for none, by default as many as
    norsim.evaluation.end_to_end.usual_images says. `proof_seconds` limits the time of the simulator, and that of the
    images. Without `verified`, reads are kept and not solved again. `original` is the float network to compare with, or
    `float_predictions` `[images]` are its classes. `calibration` are inputs `[images, ...]` of the calibration, whose
    range the data must have. Batches and reads of simulators are taken from `store` if it has them, and added to it
    otherwise; the result is the same bit for bit. `report(what, done, total)` reports progress, and
    `progress(done, total)` that of reading and of the end-to-end proof alone. Raises ConfigurationError for a network
    that is not converted or not calibrated (see `norsim.calibrate`), or that does not answer each image by itself,
    DataError for unsuitable data.
    """
    started = time.monotonic()
    judged_by = metric_of(metric)
    _check_proof(spice_sample, proof_images, proof_seconds)
    if original is not None and original.training:
        original = independent_copy(original)
    wanted, layers = backend_named(backend), converted_layers(model)
    kept = KeptReads(Quota.for_sample(spice_sample))
    proven = wanted.rung_above is not None and proof_images != 0
    most = MOST_IMAGES if proof_images is None else proof_images
    # Progress counts images if batches are fast or run in other processes; otherwise the decks of each layer.
    by_images = wanted.by_model or wanted.gives_integers or done_elsewhere(wanted, workers)
    batches_done = BatchProgress(report, progress, by_images)
    targets: list[Any] = []
    full: list[Any] = []
    shown: list[Structure] = []
    first_image: list[Structure] = []
    answer = classes if judged_by is None else outputs

    def images() -> Iterator[Structure]:
        wanting = proven
        scores: Tensor | None = None
        for some, answers in batches_of(data):
            targets.append(labels_of(answers, count_of(some)) if judged_by is None else answers)
            if original is not None:
                full.append(answer(original, some))
            if len(targets) == 1 and calibration is not None:
                check_range(some, calibration)
            if len(targets) == 1:
                first_image.append(taken(some, slice(1)))
                first = check_on_images(model, some, "the inputs")
                scores = scores_of(first) if judged_by is None else None
            if scores is not None:
                check_labels(targets[-1], scores)
            # The first images of one shape, since the proof has batches of its own.
            wanting = wanting and sum(map(count_of, shown)) < most and (not shown or _shape(some) == _shape(shown[0]))
            if wanting:
                shown.append(some)
            yield some

    images_done = batches_done.images("read", size_of(data))
    reader = Reader(wanted, workers, batches_done.layer, store=store)
    results = run_batches(
        model, images(), reader, classify=judged_by is None, kept=kept, seed=seed, progress=images_done
    )
    if not results:
        raise DataError("the data is empty: give at least one batch")
    truth = joined(targets)
    found, exact = (joined([getattr(result, kind) for result in results]) for kind in ("array", "quantized"))
    known = joined(full) if full else float_predictions if judged_by is None else None
    uses = total(result.uses for result in results)
    at_random = min(kept.quota.at_random, sum(use.reads for use in uses.values()))
    if judged_by is not None:
        report("metric", 0, 1)
    three = (found, exact, known)
    judged = {**accuracies_of(three, truth), **values_of(judged_by, three, truth)}
    name = getattr(data, "name", "")
    encodings, cells = {layer.grid.chip.encoding.name for layer in layers.values()}, cells_of(layers)
    count = count_of(truth)
    macs = count_macs(model, first_image[0])
    table = layer_table(model, wanted, uses, count, macs)
    whole = chip_costs(list(costs_of_layers(model, vectors_of(table))))
    again = usual_images(image_costs(table)["macs_image"]) if proof_images is None else proof_images
    proof = end_to_end(
        model, taken(joined(shown), slice(again)), truth, wanted, metric=judged_by, seconds=proof_seconds, seed=seed,
        workers=workers, store=store, batches_done=batches_done,
    ) if proven else None  # fmt: skip
    verification = verify(
        kept.samples, workers, reference(*cells[:1]), spice_sample, each_pass=each_pass, seconds=proof_seconds,
        rungs=rungs_of(layers, wanted), report=report,
    ) if verified else Verification(0)  # fmt: skip
    return Evaluation(
        network=network, dataset=name if isinstance(name, str) else "", images=count, backend=wanted.name,
        encoding=", ".join(sorted(encodings)), **judged, verification=verification, end_to_end=proof, layers=table,
        macs_share=macs.on_array, macs_digital=macs.elsewhere, device=device_name(device_of(model)),
        seconds=time.monotonic() - started, seed=seed, versions=versions(wanted, cells), labels=truth,
        predictions=found, predictions_quantized=exact, predictions_float=known, samples=kept.samples,
        at_random=at_random, metric=ACCURACY if judged_by is None else name_of(judged_by), chip_costs=whole,
        programming=programming(layers),
    )  # fmt: skip


def _shape(inputs: Structure) -> list[Any]:
    """Return what inputs of two batches must have in common to be joined."""
    return [part.shape[1:] for part in tensors_in(inputs)]


def _check_proof(spice_sample: int, images: int | None, seconds: float | None) -> None:
    """Raise ConfigurationError for settings of the proof that are not numbers of reads, images and seconds."""
    if spice_sample < 0:
        raise ConfigurationError(f"spice_sample is {spice_sample}; expected a number of reads, 0 for none")
    if images is not None and images < 0:
        raise ConfigurationError(f"proof_images is {images}; expected a number of images, 0 for none")
    if seconds is not None and not seconds > 0:
        raise ConfigurationError(f"proof_seconds is {seconds}; expected a time in seconds, or None for no limit")


def rungs_of(layers: Mapping[str, TiledLayer], backend: Backend) -> dict[str, Backend]:
    """Return the next rung of the ladder for each layer that has one, in a network that is read by `backend`."""
    used = {name: layer.backend_with(backend) for name, layer in layers.items()}
    return {name: one.rung_above for name, one in used.items() if one.rung_above is not None}


def versions(backend: Backend, cells: Sequence[Cell]) -> dict[str, str | None]:
    """Return the versions of the software that results for `cells` depend on."""
    return {
        "norsim": version("norsim"),
        "ngspice": None,
        **backend.versions(cells),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
