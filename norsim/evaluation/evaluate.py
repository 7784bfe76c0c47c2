"""Run a converted network on labelled data and report the accuracy that it keeps, with its verification."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from norsim.backends.backend import Backend, Progress
from norsim.backends.registry import backend_named, reference
from norsim.data.batches import Data, batches_of, check_range, size_of
from norsim.errors import ConfigurationError, DataError
from norsim.evaluation.batches import classes, done_elsewhere, outputs, run_batches
from norsim.evaluation.chips import Chips
from norsim.evaluation.clipping import total
from norsim.evaluation.costs import image_costs, layer_table
from norsim.evaluation.end_to_end import EndToEnd, end_to_end, usual_images
from norsim.evaluation.intervals import Interval, wilson
from norsim.evaluation.metrics import (
    ACCURACY,
    Metric,
    Predictions,
    check_labels,
    check_metric,
    joined,
    labels_of,
    name_of,
    scores_of,
    value_of,
)
from norsim.evaluation.proof.defaults import MOST_IMAGES, SPICE_SAMPLE
from norsim.evaluation.proof.sampling import KeptReads, Quota, Sample
from norsim.evaluation.proof.verification import Verification, verify
from norsim.jobs.phases import BatchProgress, Report, silent
from norsim.jobs.unit_store import UnitStore
from norsim.jobs.workers import HERE, Workers
from norsim.quantization.copies import independent_copy
from norsim.quantization.forward import device_name, device_of
from norsim.tiling.convert import converted_layers
from norsim.tiling.digital import check_on_images
from norsim.tiling.macs import count_macs
from norsim.tiling.modules import TiledLayer
from norsim.tiling.reader import Reader


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation; `summary()` is its JSON.

    `accuracy` is that of the array, `accuracy_quantized` that of the integers, `accuracy_float` that of the float
    network (None if its predictions are unknown): fractions of `images`, or values of a user-supplied `metric`.
    `accuracy_ci95` is Wilson's interval, None for a user-supplied metric; `drop_points` is 100 (accuracy_float -
    accuracy).
    `verification` is about single reads; `end_to_end` compares classes with those of the next rung of the ladder, None
    if there is none. `samples` are the reads that were kept, `at_random` of them, those with the smallest keys, drawn
    from all reads.
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
    accuracy: float
    accuracy_ci95: Interval | None
    accuracy_quantized: float
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
    metric: str = "accuracy"
    chips: Chips | None = field(default=None, repr=False)
    predictions_by_chip: list[Predictions] = field(default_factory=list, repr=False)

    @property
    def drop_points(self) -> float | None:
        """Percentage points lost from the float network to the array; None for a metric other than accuracy."""
        known = self.accuracy_float is not None and self.metric == ACCURACY
        return 100 * (self.accuracy_float - self.accuracy) if known and self.accuracy_float is not None else None

    def summary(self) -> dict[str, Any]:
        """Return the content of summary.json."""
        kept = {part.name: getattr(self, part.name) for part in fields(self) if part.repr}
        proof = {"verification": asdict(self.verification), "end_to_end": self.end_to_end and asdict(self.end_to_end)}
        content = {**kept, **proof, "energy": image_costs(self.layers)}
        return {**content, "drop_points": self.drop_points}


def evaluate(
    model: nn.Module,
    data: Data,
    backend: str = "macro",
    *,
    metric: Metric | None = None,
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
    calibration: Tensor | None = None,
    float_predictions: Predictions | None = None,
    store: UnitStore | None = None,
) -> Evaluation:
    """Return the accuracy of a converted network on labelled data, with every layer read by `backend`.

    `data` is any kind of labelled data that `norsim.deploy` accepts. `metric`, a function of (outputs, targets) of all
    images, replaces the share of correct classes. `spice_sample` reads, drawn at random from all reads, are solved
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
    check_metric(metric)
    _check_proof(spice_sample, proof_images, proof_seconds)
    if original is not None and original.training:
        original = independent_copy(original)
    wanted, layers = backend_named(backend), converted_layers(model)
    kept = KeptReads(Quota.for_sample(spice_sample))
    proven = wanted.rung_above is not None and metric is None and proof_images != 0
    most = MOST_IMAGES if proof_images is None else proof_images
    # Progress counts images if batches are fast or run in other processes; otherwise the decks of each layer.
    by_images = wanted.by_model or wanted.gives_integers or done_elsewhere(wanted, workers)
    batches_done = BatchProgress(report, progress, by_images)
    targets: list[Any] = []
    full: list[Any] = []
    shown: list[Tensor] = []
    first_image: list[Tensor] = []
    answer = classes if metric is None else outputs

    def images() -> Iterator[Tensor]:
        wanting = proven
        scores: Tensor | None = None
        for some, answers in batches_of(data):
            targets.append(labels_of(answers, len(some)) if metric is None else answers)
            if original is not None:
                full.append(answer(original, some))
            if len(targets) == 1 and calibration is not None:
                check_range(some, calibration)
            if len(targets) == 1:
                first_image.append(some[:1])
                first = check_on_images(model, some, "the inputs")
                scores = scores_of(first) if metric is None else None
            if scores is not None:
                check_labels(targets[-1], scores)
            # The first images of one shape, since the proof has batches of its own.
            wanting = wanting and sum(map(len, shown)) < most and (not shown or some.shape[1:] == shown[0].shape[1:])
            if wanting:
                shown.append(some)
            yield some

    images_done = batches_done.images("read", size_of(data))
    reader = Reader(wanted, workers, batches_done.layer, store=store)
    results = run_batches(model, images(), reader, classify=metric is None, kept=kept, seed=seed, progress=images_done)
    if not results:
        raise DataError("the data is empty: give at least one batch")
    truth = joined(targets)
    found, exact = (joined([getattr(result, kind) for result in results]) for kind in ("array", "quantized"))
    known = joined(full) if full else float_predictions
    uses = total(result.uses for result in results)
    at_random = min(kept.quota.at_random, sum(use.reads for use in uses.values()))
    if metric is not None:
        report("metric", 0, 1)
    judged = [_judge(metric, answers, truth) for answers in (found, exact, known)]
    (accuracy, interval), (quantized, quantized_interval), (of_float, float_interval) = judged
    name = getattr(data, "name", "")
    encodings = {layer.grid.chip.encoding.name for layer in layers.values()}
    count = _count(truth)
    macs = count_macs(model, first_image[0])
    table = layer_table(model, wanted, uses, count, macs)
    again = usual_images(image_costs(table)["macs_image"]) if proof_images is None else proof_images
    proof = end_to_end(
        model, torch.cat(shown)[:again], truth, wanted, seconds=proof_seconds, seed=seed, workers=workers, store=store,
        batches_done=batches_done,
    ) if proven else None  # fmt: skip
    return Evaluation(
        network, name if isinstance(name, str) else "", count, wanted.name, ", ".join(sorted(encodings)),
        accuracy, interval, quantized, quantized_interval, of_float, float_interval,
        verify(
            kept.samples, workers, reference(), spice_sample, each_pass=each_pass, seconds=proof_seconds,
            rungs=rungs_of(layers, wanted), report=report,
        ) if verified else Verification(0), proof,
        table, macs.on_array, macs.elsewhere, device_name(device_of(model)),
        time.monotonic() - started, seed, versions(wanted), truth, found, exact, known, kept.samples, at_random,
        ACCURACY if metric is None else name_of(metric),
    )  # fmt: skip


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


def _judge(metric: Metric | None, answers: Any, truth: Any) -> Any:
    """Return the value of classes `[images]` or outputs, and its interval, as far as they are known."""
    if answers is None:
        return None, None
    if metric is not None:
        return value_of(metric, answers, truth), None
    if len(answers) != len(truth):
        raise ConfigurationError(f"{len(answers)} float predictions for {len(truth)} images; expected one per image")
    return share(answers, truth)


def _count(truth: Any) -> int:
    """Return the number of images that targets are for."""
    if isinstance(truth, Mapping):
        return _count(next(iter(truth.values())))
    return _count(truth[0]) if isinstance(truth, tuple) else len(truth)


def share(predictions: Predictions, labels: Predictions) -> tuple[float, Interval]:
    """Return the share of predictions `[images]` that equal the labels `[images]`, and its 95 % Wilson interval."""
    right = int((predictions == labels).sum())
    return right / len(labels), wilson(right, len(labels))


def versions(backend: Backend) -> dict[str, str | None]:
    """Return the versions of the software that results depend on."""
    return {
        "norsim": version("norsim"),
        "ngspice": None,
        **backend.versions(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
