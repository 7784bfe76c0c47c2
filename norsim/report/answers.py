"""What the images were taken for: the confusion matrix, and the images that the array answers otherwise."""

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
    """An image with what each says of it; `pixels` is a PNG as a data URI, `said` (who, which class) pairs."""

    image: int
    label: str
    pixels: str
    said: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Flips:
    """Images of one kind: how many there are, and some of them."""

    title: str
    count: int
    shown: tuple[Shown, ...]


@dataclass(frozen=True)
class Paired:
    """Two classifications of the same images, by whether they are right.

    `p`  of McNemar's exact test: how likely so uneven a split of `only_first` and `only_second` is by chance
    """

    images: int
    both: int
    only_first: int
    only_second: int
    neither: int
    p: float


def class_names(data: Dataset | Missing, answers: Answers) -> tuple[str, ...]:
    """The names of classes, or their numbers."""
    if isinstance(data, Dataset):
        return data.classes
    return tuple(map(str, range(1 + max(int(part.max()) for part in (answers.labels, answers.array)))))


def confusion(answers: Answers, classes: int) -> NDArray[np.int64]:
    """`[label, answer]`: images, as the array answers."""
    found = np.zeros((classes, classes), np.int64)
    np.add.at(found, (answers.labels, answers.array), 1)
    return found


def paired(labels: Predictions, first: Predictions, second: Predictions) -> Paired:
    """McNemar's table of two classifications `[images]`, with the exact binomial test."""
    one, two = first == labels, second == labels
    both, only_first, only_second, neither = (
        int(cell.sum()) for cell in (one & two, one & ~two, ~one & two, ~one & ~two)
    )
    apart = only_first + only_second
    p = float(binomtest(only_first, apart, 0.5).pvalue) if apart else 1.0
    return Paired(len(labels), both, only_first, only_second, neither, p)


def flips(answers: Answers, data: Dataset) -> list[Flips]:
    """Images that the array gets wrong where the 4-bit network does not, and the other way round."""
    before, after = answers.quantized == answers.labels, answers.array == answers.labels
    said = {"array": answers.array, "4-bit": answers.quantized}
    if answers.full is not None:
        said["float"] = answers.full
    return _of_kinds([
        ("right in 4 bits, wrong on the array", before & ~after),
        ("wrong in 4 bits, right on the array", ~before & after),
        ("wrong in both, but as another class", ~before & ~after & (answers.array != answers.quantized)),
    ], answers.labels, said, data)  # fmt: skip


def disagreements(labels: Predictions, first: Predictions, second: Predictions, data: Dataset) -> list[Flips]:
    """Images that two runs' arrays answer otherwise, A being the first; classes are `[images]`."""
    one, two = first == labels, second == labels
    return _of_kinds([
        ("right in A, wrong in B", one & ~two), ("wrong in A, right in B", ~one & two),
        ("wrong in both, but as another class", ~one & ~two & (first != second)),
    ], labels, {"A": first, "B": second}, data)  # fmt: skip


def _of_kinds(
    kinds: list[tuple[str, Right]], labels: Predictions, said: dict[str, Predictions], data: Dataset
) -> list[Flips]:  # fmt: skip
    """The first images of each kind: 24 in all, shared out evenly, what one kind leaves going to the next."""
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
    """`[channels, height, width]` pixels as a PNG in a data URI: grey, or the first three channels."""
    scaled = np.round(image.astype(np.float64) * (255 / full_scale)).astype(np.uint8)
    picture = Image.fromarray(scaled[0] if len(scaled) < 3 else np.ascontiguousarray(scaled[:3].transpose(1, 2, 0)))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
