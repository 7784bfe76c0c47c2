"""Several chips of one kind: how far their accuracies lie apart, and what the mean of all such chips may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, t
from torch import nn

from norsim.data import Dataset
from norsim.network.batch import Predictions
from norsim.network.evaluate import Evaluation, evaluate
from norsim.network.verify import choose_samples, verify
from norsim.workers import HERE, Workers


@dataclass(frozen=True)
class Chips:
    """Accuracies of chips that differ in what was drawn for them alone; all saw the same test images.

    `accuracies`    of each
    `sigma`         their standard deviation: how far chips lie apart on these images
    `ci95`          interval of the mean over all chips and all images that there could be
    `ci95_chips`    the same if these images were all that matter, `ci95_images` if these chips were
    """

    accuracies: tuple[float, ...]
    sigma: float
    ci95: tuple[float, float]
    ci95_chips: tuple[float, float]
    ci95_images: tuple[float, float]

    def above(self, least: float) -> dict[str, Any]:
        """The share of chips with at least that accuracy, with Wilson's interval."""
        good, count = sum(accuracy >= least for accuracy in self.accuracies), len(self.accuracies)
        interval = binomtest(good, count).proportion_ci(0.95, method="wilson")
        return {"accuracy": least, "share": good / count, "ci95": (float(interval.low), float(interval.high))}


def compare_chips(right: NDArray[np.bool_]) -> Chips:
    """What `[chips, images]`, whether each chip has each image right, says of their mean; two chips at least.

    Chips and images are both samples, and each image can be hard for one chip and easy for another: the two-way random
    model without replication (Searle, Casella, McCulloch, Variance Components, 1992, chapter 4). With the mean squares
    of chips, images and the rest, the variance of the mean is (MS_chips + MS_images - MS_rest) / (chips images), and
    Satterthwaite's formula gives the degrees of freedom of its t interval.
    """
    chips, images = right.shape
    values = right.astype(np.float64)
    mean, of_chips, of_images = float(values.mean()), values.mean(axis=1), values.mean(axis=0)
    rest = values - of_chips[:, None] - of_images + mean
    freedom = np.array([chips - 1.0, images - 1.0, (chips - 1.0) * (images - 1.0)])
    between = (images * ((of_chips - mean) ** 2).sum(), chips * ((of_images - mean) ** 2).sum(), (rest**2).sum())
    each = np.array(between) / freedom
    # The two sources cannot have less variance than either has without the other.
    whole = max(each[0] + each[1] - each[2], each[0], each[1])
    dof = whole**2 / max(float((each**2 / freedom).sum()), 1e-300) if whole else 1.0

    def interval(square: float, degrees: float) -> tuple[float, float]:
        reach = float(t.ppf(0.975, max(degrees, 1.0))) * np.sqrt(square / values.size)
        return max(mean - reach, 0.0), min(mean + reach, 1.0)

    return Chips(
        tuple(of_chips.tolist()), float(of_chips.std(ddof=1)),
        interval(whole, dof), interval(each[0], freedom[0]), interval(each[1], freedom[1]),
    )  # fmt: skip


def evaluate_chips(
    fitted: Callable[[int], nn.Module],
    count: int,
    data: Dataset,
    backend: str = "macro",
    *,
    spice_sample: int = 12,
    workers: Workers = HERE,
    **options: Any,
) -> tuple[Evaluation, list[Predictions], Chips | None]:
    """`evaluate` on `count` chips; `fitted(k)` is the converted and calibrated network of the k-th.

    The accuracy is the mean over the chips, its interval that of `Chips`, and the proof's reads are taken from all of
    them. With it come the classes that each chip gives, and what the chips say of each other (None for one).
    """
    if count == 1:
        found = evaluate(fitted(0), data, backend, spice_sample=spice_sample, workers=workers, **options)
        return found, [found.predictions], None
    each = [evaluate(fitted(k), data, backend, spice_sample=0, workers=workers, **options) for k in range(count)]
    chips = compare_chips(np.array([found.predictions == data.labels for found in each]))
    samples = choose_samples([sample for found in each for sample in found.samples], spice_sample)
    mean = replace(
        each[0], accuracy=float(np.mean(chips.accuracies)), accuracy_ci95=chips.ci95, samples=samples,
        verification=verify(samples, workers), seconds=sum(found.seconds for found in each),
    )  # fmt: skip
    return mean, [found.predictions for found in each], chips


def table_of_chips(predictions: Sequence[Predictions]) -> dict[str, Predictions]:
    """Columns of results.csv beside `array`, which is the first chip's."""
    return {f"array_{number}": classes for number, classes in enumerate(predictions) if number}
