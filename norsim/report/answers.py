"""Classifications: the confusion matrix, and the images whose class changed."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import binomtest

from norsim.data import Dataset
from norsim.evaluation.metrics import Predictions
from norsim.experiments.run_record import Answers, Missing

MOST_SHOWN = 24
Right = NDArray[np.bool_]


@dataclass(frozen=True)
class Shown:
    """An image with its classifications: `pixels` is a PNG as a data URI, `said` are (network, class) pairs."""

    image: int
    label: str
    pixels: str
    said: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Flips:
    """Images of one kind: their number, and some of them.

    `by_quantization`   those of them that the quantized network already classifies as the array does; None if this
                        says nothing, as in a comparison of runs
    """

    title: str
    count: int
    shown: tuple[Shown, ...]
    by_quantization: int | None = None


@dataclass(frozen=True)
class Paired:
    """Numbers of images by which of two classifications is right.

    `p`  of McNemar's exact test: probability of a split of `only_first` and `only_second` at least as uneven by chance
    """

    images: int
    both: int
    only_first: int
    only_second: int
    neither: int
    p: float


def class_names(data: Dataset | Missing, answers: Answers) -> tuple[str, ...]:
    """Return the names of the classes, or their numbers if the data set is missing."""
    if isinstance(data, Dataset):
        return data.classes
    return tuple(map(str, range(1 + max(int(part.max()) for part in (answers.labels, answers.array)))))


def confusion(answers: Answers, classes: int) -> NDArray[np.int64]:
    """Count images by label and by the array's answer, `[label, answer]`."""
    found = np.zeros((classes, classes), np.int64)
    np.add.at(found, (answers.labels, answers.array), 1)
    return found


def paired(labels: Predictions, first: Predictions, second: Predictions) -> Paired:
    """Return McNemar's table of two classifications `[images]`, with the exact binomial test."""
    one, two = first == labels, second == labels
    both, only_first, only_second, neither = (
        int(cell.sum()) for cell in (one & two, one & ~two, ~one & two, ~one & ~two)
    )
    apart = only_first + only_second
    p = float(binomtest(only_first, apart, 0.5).pvalue) if apart else 1.0
    return Paired(len(labels), both, only_first, only_second, neither, p)


def flips(answers: Answers, data: Dataset) -> list[Flips]:
    """Return images whose class on the array is not that of the float network, or of the quantized network if the
    float network's classes are not known."""
    where, start = ("in integers", answers.quantized) if answers.full is None else ("in float", answers.full)
    before, after = start == answers.labels, answers.array == answers.labels
    said = {"array": answers.array, "quantized": answers.quantized}
    if answers.full is not None:
        said["float"] = answers.full
    same = None if answers.full is None else answers.quantized == answers.array
    return _of_kinds([
        (f"right {where}, wrong on the array", before & ~after),
        (f"wrong {where}, right on the array", ~before & after),
        ("wrong in both, but as another class", ~before & ~after & (answers.array != start)),
    ], answers.labels, said, data, same)  # fmt: skip


def disagreements(labels: Predictions, runs: Mapping[str, Predictions], data: Dataset) -> list[Flips]:
    """Return images that the arrays of two or more runs classify differently; `runs` are classes `[images]` by name."""
    classes = np.stack(list(runs.values()))
    right, differ = classes == labels, (classes != classes[0]).any(axis=0)
    if len(runs) == 2:
        (one, two), (first, second) = right, runs
        kinds = [(f"right in {first}, wrong in {second}", one & ~two),
                 (f"wrong in {first}, right in {second}", ~one & two),
                 ("wrong in both, but as another class", ~one & ~two & differ)]  # fmt: skip
    else:
        kinds = [("right in some runs, wrong in others", differ & right.any(axis=0)),
                 ("wrong in all runs, but not as the same class", differ & ~right.any(axis=0))]  # fmt: skip
    return _of_kinds(kinds, labels, runs, data)


def _of_kinds(
    kinds: Sequence[tuple[str, Right]], labels: Predictions, said: Mapping[str, Predictions], data: Dataset,
    same: Right | None = None,
) -> list[Flips]:  # fmt: skip
    """Return the first images of each kind: 24 in all, split evenly; kinds with fewer leave theirs to the next."""
    names: Callable[[int], str] = lambda code: data.classes[code] if code < len(data.classes) else str(code)  # noqa: E731
    found, left = [], MOST_SHOWN
    for turn, (title, which) in enumerate(kinds):
        places = np.flatnonzero(which)
        shown = tuple(
            Shown(int(place), names(int(labels[place])), thumbnail(data.images[place], data.full_scale),
                  tuple((who, names(int(classes[place]))) for who, classes in said.items()))
            for place in places[: -(-left // (len(kinds) - turn))]
        )  # fmt: skip
        left -= len(shown)
        already = None if same is None else int(same[places].sum())
        found.append(Flips(title, len(places), shown, already))
    return found


def thumbnail(image: NDArray[np.uint8], full_scale: int) -> str:
    """Return `[channels, height, width]` pixels as a PNG data URI: grey, or the first three channels."""
    scaled = np.round(image.astype(np.float64) * (255 / full_scale)).astype(np.uint8)
    picture = Image.fromarray(scaled[0] if len(scaled) < 3 else np.ascontiguousarray(scaled[:3].transpose(1, 2, 0)))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
