"""Classifications: the confusion matrix, and the images that the array classifies differently."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
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
    """Images of one kind: their number, and some of them."""

    title: str
    count: int
    shown: tuple[Shown, ...]


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
    """Return images that only the quantized network or only the array classifies correctly."""
    before, after = answers.quantized == answers.labels, answers.array == answers.labels
    said = {"array": answers.array, "quantized": answers.quantized}
    if answers.full is not None:
        said["float"] = answers.full
    return _of_kinds([
        ("right in integers, wrong on the array", before & ~after),
        ("wrong in integers, right on the array", ~before & after),
        ("wrong in both, but as another class", ~before & ~after & (answers.array != answers.quantized)),
    ], answers.labels, said, data)  # fmt: skip


def disagreements(labels: Predictions, first: Predictions, second: Predictions, data: Dataset) -> list[Flips]:
    """Return images that the arrays of two runs, A and B, classify differently; classes are `[images]`."""
    one, two = first == labels, second == labels
    return _of_kinds([
        ("right in A, wrong in B", one & ~two), ("wrong in A, right in B", ~one & two),
        ("wrong in both, but as another class", ~one & ~two & (first != second)),
    ], labels, {"A": first, "B": second}, data)  # fmt: skip


def _of_kinds(
    kinds: list[tuple[str, Right]], labels: Predictions, said: dict[str, Predictions], data: Dataset
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
        found.append(Flips(title, len(places), shown))
    return found


def thumbnail(image: NDArray[np.uint8], full_scale: int) -> str:
    """Return `[channels, height, width]` pixels as a PNG data URI: grey, or the first three channels."""
    scaled = np.round(image.astype(np.float64) * (255 / full_scale)).astype(np.uint8)
    picture = Image.fromarray(scaled[0] if len(scaled) < 3 else np.ascontiguousarray(scaled[:3].transpose(1, 2, 0)))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
