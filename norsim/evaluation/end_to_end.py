"""The end-to-end proof: two rungs of the ladder classify the same images, with the same fitted converters and noise.

The errors of single currents do not say how many predictions they change: a small error in every tile can change the
class of an image whose two largest scores are close. So the images are classified again by the next rung.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from norsim.array.tile import Floats
from norsim.backends.backend import Backend
from norsim.errors import ThresholdError
from norsim.evaluation.attribution import paired_loss
from norsim.evaluation.batches import run_batches
from norsim.evaluation.intervals import Interval, clopper_pearson
from norsim.evaluation.metrics import Predictions, scores_of
from norsim.evaluation.proof.defaults import BUDGET_MACS, FIRST_CHUNK, LARGEST_CHUNK, LEAST_IMAGES, MOST_IMAGES
from norsim.jobs.phases import BatchProgress
from norsim.jobs.unit_store import UnitStore
from norsim.jobs.workers import HERE, Workers
from norsim.tiling.reader import Reader


@dataclass(frozen=True)
class EndToEnd:
    """What two rungs of the ladder make of the same images.

    `rungs`     names of the lower rung, which is the run's backend, and of the upper one
    `changed`   number of images that they classify differently, with the exact 95 % interval of their share
    `accuracy_difference`   accuracy of the upper rung minus that of the lower one, paired by image, with its 95 %
                interval (norsim.evaluation.attribution.paired_loss)
    `max_logit_difference`  the largest difference of a score between the rungs, over all classes and images
    `small_margin_fraction` share of images whose margin, the largest score minus the second largest of the lower rung,
                is below that difference. Only an image with a margin of at most twice that difference can change
    """

    rungs: tuple[str, str]
    images: int
    changed: int
    changed_ci95: Interval
    accuracy_difference: float
    accuracy_difference_ci95: Interval
    max_logit_difference: float
    small_margin_fraction: float


def end_to_end(
    model: nn.Module,
    images: Tensor,
    labels: Predictions,
    lower: Backend,
    *,
    seconds: float | None = None,
    seed: int = 0,
    workers: Workers = HERE,
    store: UnitStore | None = None,
    batches_done: BatchProgress | None = None,
) -> EndToEnd | None:
    """Classify `images` `[images, ...]` by `lower` and by its `rung_above`; None without such a rung.

    After `seconds`, no chunk of images is started, nor one that is expected to take longer; at least FIRST_CHUNK images
    are classified. Raises ConfigurationError for a network that does not return scores `[images, classes]`.
    """
    upper = lower.rung_above
    if upper is None or not len(images):
        return None
    # Workers elsewhere take several chunks at once, so the time would be over before the first is done.
    workers = HERE if seconds is not None and workers.elsewhere else workers
    chunks: list[Tensor] = []
    batches_done = batches_done or BatchProgress()
    by_upper, by_lower = (Reader(one, workers, batches_done.layer, "proof", store=store) for one in (upper, lower))
    scores = _scores(model, _within(images, seconds, chunks), by_upper, seed, batches_done.images("proof", len(images)))
    # The same chunks, so that both rungs have the same noise.
    below = _scores(model, chunks, by_lower, seed, batches_done.images("proof", sum(map(len, chunks))))
    return compared((lower.name, upper.name), below, scores, labels[: len(scores)])


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
        rungs, len(labels), changed, clopper_pearson(changed, len(labels)), gain.points / 100,
        (gain.ci95[0] / 100, gain.ci95[1] / 100), difference, float((margins < difference).mean()),
    )  # fmt: skip


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
    if found.changed_ci95[1] > most:
        raise ThresholdError(
            f"{found.changed} of {found.images} predictions differ between {found.rungs[0]} and {found.rungs[1]}, so "
            f"up to {100 * found.changed_ci95[1]:.2f} % may change; the limit is {100 * most:g} %"
        )


def in_words(found: EndToEnd) -> str:
    """Return the result in two sentences."""
    lower, upper = found.rungs
    low, high = (100 * end for end in found.changed_ci95)
    difference, (least, most) = 100 * found.accuracy_difference, (100 * end for end in found.accuracy_difference_ci95)
    return (
        f"End to end: {lower} and {upper} classify {found.images - found.changed} of {found.images} images alike, so "
        f"{low:.2f} % to {high:.2f} % of the predictions may change (95 %); the accuracy of {upper} differs by "
        f"{difference:+.2f} points ({least:+.2f} to {most:+.2f}). The largest difference of a score is "
        f"{found.max_logit_difference:.2g}, and {100 * found.small_margin_fraction:.1f} % of the images have a margin "
        "below that."
    )


def why_absent(backend: Backend) -> str:
    """Return why a backend has no end-to-end proof, if it can have none; an empty text if it can."""
    if backend.gives_integers:
        return "integers need no proof"
    if backend.simulator is not None:
        return f"{backend.simulator.name} itself solved every read"
    return "" if backend.rung_above else f"{backend.name} has no next rung without a simulator"


def _within(images: Tensor, seconds: float | None, taken: list[Tensor]) -> Iterator[Tensor]:
    """Yield chunks of images until the time is over, and add them to `taken`."""
    started, done = time.monotonic(), 0
    for size in chunk_sizes(len(images)):
        spent = time.monotonic() - started
        if done and seconds is not None and spent * (1 + size / done) > seconds:
            return
        taken.append(images[done : done + size])
        done += size
        yield taken[-1]


def _scores(
    model: nn.Module, chunks: Iterable[Tensor], reader: Reader, seed: int, report: Callable[[int], None]
) -> Floats:
    """Return the scores `[images, classes]` of all chunks."""
    results = run_batches(model, chunks, reader, classify=False, seed=seed, progress=report)
    parts: list[Any] = [scores_of(result.array).double() for result in results]
    found: Floats = torch.cat(parts).numpy()
    return found
