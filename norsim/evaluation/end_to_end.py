"""The end-to-end proof: two rungs of the ladder answer for the same images, with the same fitted converters and noise.

The errors of single currents do not say how many predictions they change: a small error in every tile can change the
class of an image whose two largest scores are close. So the images are classified again by the next rung.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from torch import nn

from norsim.array.tile import Floats
from norsim.backends.backend import Backend
from norsim.data.inputs.structure import Structure, count_of, joined, taken, tensors_in
from norsim.errors import ThresholdError
from norsim.evaluation.attribution import paired_loss
from norsim.evaluation.batches import run_batches
from norsim.evaluation.intervals import Interval, clopper_pearson, share_over_groups
from norsim.evaluation.metrics import Metric, Predictions, scores_of
from norsim.evaluation.proof.defaults import BUDGET_MACS, FIRST_CHUNK, LARGEST_CHUNK, LEAST_IMAGES, MOST_IMAGES
from norsim.evaluation.quality.judge import judge
from norsim.evaluation.quality.values import class_counts
from norsim.jobs.phases import BatchProgress
from norsim.jobs.unit_store import UnitStore
from norsim.jobs.workers import HERE, Workers
from norsim.tiling.reader import Reader


@dataclass(frozen=True)
class EndToEnd:
    """What two rungs of the ladder make of the same images.

    `rungs`     names of the lower rung, which is the run's backend, and of the upper one
    `predictions`   number of predictions: one for each image, or for each pixel or token of it; None if the outputs are
                no scores of classes
    `changed`   number of predictions that differ, with the 95 % interval of their share: exact, or over images if there
                are several for each
    `metric_difference`     value of the run's metric by the upper rung minus that by the lower one, paired by image,
                with its 95 % interval; None for an accuracy
    `accuracy_difference`   accuracy of the upper rung minus that of the lower one, paired by image, with its 95 %
                interval (norsim.evaluation.attribution.paired_loss)
    `max_logit_difference`  the largest difference of a score between the rungs, over all classes and images
    `small_margin_fraction` share of images whose margin, the largest score minus the second largest of the lower rung,
                is below that difference. Only an image with a margin of at most twice that difference can change.
                None with another metric
    """

    rungs: tuple[str, str]
    images: int
    predictions: int | None
    changed: int | None
    changed_ci95: Interval | None
    accuracy_difference: float | None
    accuracy_difference_ci95: Interval | None
    metric_difference: float | None
    metric_difference_ci95: Interval | None
    max_logit_difference: float
    small_margin_fraction: float | None


def end_to_end(
    model: nn.Module,
    images: Structure,
    targets: Structure,
    lower: Backend,
    *,
    metric: Metric | None = None,
    seconds: float | None = None,
    seed: int = 0,
    workers: Workers = HERE,
    store: UnitStore | None = None,
    batches_done: BatchProgress | None = None,
) -> EndToEnd | None:
    """Compare the outputs for `images` `[images, ...]` by `lower` and by its `rung_above`; None without such a rung.

    `targets` are labels `[images]`, or what `metric` takes. After `seconds`, no chunk of images is started, nor one
    that is expected to take longer; at least FIRST_CHUNK images are compared. Raises ConfigurationError, without a
    metric, for a network that does not return scores `[images, classes]`.
    """
    upper = lower.rung_above
    if upper is None or not count_of(images):
        return None
    # Workers elsewhere take several chunks at once, so the time would be over before the first is done.
    workers = HERE if seconds is not None and workers.elsewhere else workers
    chunks: list[Structure] = []
    batches_done = batches_done or BatchProgress()
    by_upper, by_lower = (Reader(one, workers, batches_done.layer, "proof", store=store) for one in (upper, lower))
    proof = batches_done.images("proof", count_of(images))
    above = _outputs(model, _within(images, seconds, chunks), by_upper, seed, proof)
    # The same chunks, so that both rungs have the same noise.
    below = _outputs(model, chunks, by_lower, seed, batches_done.images("proof", sum(map(count_of, chunks))))
    rungs, truth = (lower.name, upper.name), taken(targets, slice(sum(map(count_of, chunks))))
    if metric is not None:
        return compared_by(metric, rungs, below, above, truth)
    scores = [scores_of(found).double().numpy() for found in (below, above)]
    return compared(rungs, scores[0], scores[1], truth)


def usual_images(macs: float) -> int:
    """Return the default number of images, of which each takes `macs` multiply-accumulates on the array."""
    return min(max(int(BUDGET_MACS / macs), LEAST_IMAGES), MOST_IMAGES) if macs else MOST_IMAGES


def compared(rungs: tuple[str, str], lower: Floats, upper: Floats, labels: Predictions) -> EndToEnd:
    """Compare the scores `[images, classes]` of two rungs on images with `labels` `[images]`."""
    below, above = lower.argmax(axis=1), upper.argmax(axis=1)
    changed, difference = int((below != above).sum()), float(np.abs(lower - upper).max())
    best = np.sort(lower, axis=1)
    margins = best[:, -1] - best[:, -2] if lower.shape[1] > 1 else np.full(len(lower), np.inf)
    gain = paired_loss(above, below, labels)
    return EndToEnd(
        rungs, len(labels), len(labels), changed, clopper_pearson(changed, len(labels)), gain.points / 100,
        (gain.ci95[0] / 100, gain.ci95[1] / 100), None, None, difference, float((margins < difference).mean()),
    )  # fmt: skip


def compared_by(
    metric: Metric, rungs: tuple[str, str], lower: Structure, upper: Structure, targets: Structure
) -> EndToEnd:
    """Compare the outputs `[images, ...]` of two rungs by their predictions, as far as `targets` are classes, and by
    the values of `metric`."""
    pairs = zip(tensors_in(lower), tensors_in(upper), strict=True)
    off = [float((one.double() - other.double()).abs().max()) for one, other in pairs if one.numel()]
    counts = class_counts(lower, upper, targets)
    changed: int | None = None
    share: Interval | None = None
    predicted: int | None = None
    if counts is not None and max(counts[1], default=0):
        changed, predicted = int(np.sum(counts[0])), int(np.sum(counts[1]))
        single = max(counts[1]) == 1
        share = clopper_pearson(changed, predicted) if single else share_over_groups(*_predicting(*counts))[1]
    moved, interval = judge(metric, {"lower": lower, "upper": upper}, targets).change("lower", "upper")
    images = count_of(targets)
    return EndToEnd(rungs, images, predicted, changed, share, None, None, moved, interval, max(off, default=0.0), None)


def _predicting(changed: list[int], sizes: list[int]) -> tuple[list[int], list[int]]:
    """Return the counts of the images that have predictions."""
    kept = [pair for pair in zip(changed, sizes, strict=True) if pair[1]]
    return [one for one, _ in kept], [size for _, size in kept]


def chunk_sizes(images: int) -> Iterator[int]:
    """Yield the sizes of the chunks that `images` are classified in."""
    left, size = images, FIRST_CHUNK
    while left > 0:
        yield min(size, left)
        left -= size
        size = min(2 * size, LARGEST_CHUNK)


def check_changed(found: EndToEnd | None, most: float | None) -> None:
    """Raise ThresholdError if more than a share `most` of the predictions may change, or if that is unknown."""
    if most is None:
        return
    if found is None:
        raise ThresholdError(
            "a limit for changed predictions needs the end-to-end proof, and there is none: it needs at least one "
            "image, and a backend with a next rung that is no simulator, such as macro"
        )
    if found.changed_ci95 is None:
        raise ThresholdError("a limit for changed predictions needs outputs that are scores of classes")
    if found.changed_ci95[1] > most:
        raise ThresholdError(
            f"{found.changed} of {found.predictions} predictions differ between {found.rungs[0]} and {found.rungs[1]}, "
            f"so up to {100 * found.changed_ci95[1]:.2f} % may change; the limit is {100 * most:g} %"
        )


def in_words(found: EndToEnd) -> str:
    """Return the result in two sentences."""
    lower, upper = found.rungs
    if found.accuracy_difference is None or found.accuracy_difference_ci95 is None:
        return _in_other_words(found)
    assert found.changed is not None and found.changed_ci95 is not None and found.small_margin_fraction is not None
    low, high = (100 * end for end in found.changed_ci95)
    difference, (least, most) = 100 * found.accuracy_difference, (100 * end for end in found.accuracy_difference_ci95)
    return (
        f"End to end: {lower} and {upper} classify {found.images - found.changed} of {found.images} images alike, so "
        f"{low:.2f} % to {high:.2f} % of the predictions may change (95 %); the accuracy of {upper} differs by "
        f"{difference:+.2f} points ({least:+.2f} to {most:+.2f}). The largest difference of a score is "
        f"{found.max_logit_difference:.2g}, and {100 * found.small_margin_fraction:.1f} % of the images have a margin "
        "below that."
    )


def _in_other_words(found: EndToEnd) -> str:
    """Return the result for a metric other than the accuracy."""
    lower, upper = found.rungs
    text = f"End to end, {lower} and {upper} on {found.images} images: "
    if found.changed is not None and found.changed_ci95 is not None and found.predictions:
        low, high = (100 * end for end in found.changed_ci95)
        text += (
            f"{found.changed} of {found.predictions} predictions differ, so {low:.2f} % to {high:.2f} % may change "
            "(95 %); "
        )
    ends = found.metric_difference_ci95
    between = "" if ends is None else f" ({ends[0]:+.3g} to {ends[1]:+.3g})"
    return (
        f"{text}the metric by {upper} differs by {found.metric_difference:+.3g}{between}. The largest difference of an "
        f"output is {found.max_logit_difference:.2g}."
    )


def why_absent(backend: Backend) -> str:
    """Return why a backend has no end-to-end proof, if it can have none; an empty text if it can."""
    if backend.gives_integers:
        return "integers need no proof"
    if backend.simulator is not None:
        return f"{backend.simulator.name} itself solved every read"
    return "" if backend.rung_above else f"{backend.name} has no next rung without a simulator"


def _within(images: Structure, seconds: float | None, chunks: list[Structure]) -> Iterator[Structure]:
    """Yield chunks of images until the time is over, and add them to `chunks`."""
    started, done, total = time.monotonic(), 0, count_of(images)
    for size in chunk_sizes(total):
        spent = time.monotonic() - started
        if done and seconds is not None and spent * (1 + size / done) > seconds:
            return
        chunks.append(taken(images, slice(done, done + size)))
        done += size
        yield chunks[-1]


def _outputs(
    model: nn.Module, chunks: Iterable[Structure], reader: Reader, seed: int, report: Callable[[int], None]
) -> Structure:
    """Return the outputs `[images, ...]` for all chunks."""
    return joined([result.array for result in run_batches(
        model, chunks, reader, classify=False, seed=seed, progress=report
    )])  # fmt: skip
