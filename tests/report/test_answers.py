"""Counts of answers, checked by hand, and thumbnails that match the images."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from norsim.data import Dataset
from norsim.experiments.run_record import Answers, Missing
from norsim.report.answers import MOST_SHOWN, class_names, confusion, disagreements, flips, paired, thumbnail

LABELS = np.array([0, 0, 1, 1, 2, 2])


def images(count: int, classes: int = 3) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 17, (count, 1, 4, 4)).astype(np.uint8)
    names = tuple(f"class <{number}>" for number in range(classes))
    return Dataset("some", "test", pixels, np.arange(count) % classes, names, 16, "made here")


def test_the_matrix_has_labels_as_rows() -> None:
    answers = Answers(LABELS, np.array([0, 1, 1, 1, 2, 0]), LABELS, None)
    assert confusion(answers, 3).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert class_names(Missing("gone"), answers) == ("0", "1", "2")


def test_pairs_are_counted_and_tested_by_the_exact_test() -> None:
    first, second = np.array([0, 0, 1, 1, 2, 0]), np.array([1, 1, 0, 1, 2, 1])
    found = paired(LABELS, first, second)
    assert (found.both, found.only_first, found.only_second, found.neither) == (2, 3, 0, 1)
    assert found.p == pytest.approx(2 * 0.5**3)
    assert paired(LABELS, first, first).p == 1.0


def test_images_are_grouped_by_who_classifies_them_correctly() -> None:
    quantized, array = np.array([0, 1, 1, 1, 2, 0]), np.array([0, 0, 0, 1, 2, 1])
    lost, won, other = flips(Answers(LABELS, array, quantized, None), images(6))
    assert [kind.count for kind in (lost, won, other)] == [1, 1, 1]
    assert [kind.shown[0].image for kind in (lost, won, other)] == [2, 1, 5]
    assert lost.shown[0].said == (("array", "class <0>"), ("quantized", "class <1>"))
    assert lost.by_quantization is None
    a_only, _, _ = disagreements(LABELS, {"A": quantized, "B": array}, images(6))
    assert a_only.shown[0].said == (("A", "class <1>"), ("B", "class <0>"))
    some, none = disagreements(LABELS, {"A": quantized, "B": array, "C": np.array([0, 0, 1, 1, 2, 0])}, images(6))
    assert [kind.count for kind in (some, none)] == [2, 1] and none.shown[0].image == 5
    assert [said for _, said in some.shown[0].said] == ["class <1>", "class <0>", "class <0>"]


def test_a_change_is_counted_from_the_float_network_if_its_classes_are_known() -> None:
    full, quantized, array = LABELS, np.array([1, 0, 0, 1, 2, 2]), np.array([1, 1, 1, 1, 2, 2])
    lost, won, other = flips(Answers(LABELS, array, quantized, full), images(6))
    assert [kind.count for kind in (lost, won, other)] == [2, 0, 0]
    assert lost.title.startswith("right in float") and lost.by_quantization == 1
    assert [one.image for one in lost.shown] == [0, 1] and dict(lost.shown[0].said)["float"] == "class <0>"


@pytest.mark.parametrize("lost", [100, 3])
def test_only_as_many_images_are_shown_as_fit(lost: int) -> None:
    data = images(200)
    array = data.labels.copy()
    quantized = data.labels.copy()
    array[:lost] = (array[:lost] + 1) % 3
    quantized[100:] = (quantized[100:] + 1) % 3
    found = flips(Answers(data.labels, array, quantized, None), data)
    assert [kind.count for kind in found] == [lost, 100, 0]
    shown = [len(kind.shown) for kind in found]
    assert sum(shown) <= MOST_SHOWN and shown[0] == min(lost, 8) and shown[1] >= 8


@pytest.mark.parametrize("channels", [1, 3])
def test_thumbnails_are_the_pixels(channels: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (channels, 5, 6)).astype(np.uint8)
    head, _, content = thumbnail(pixels, 255).partition(",")
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    assert head == "data:image/png;base64"
    assert np.array_equal(found, pixels[0] if channels == 1 else pixels.transpose(1, 2, 0))
    assert np.asarray(Image.open(io.BytesIO(base64.b64decode(thumbnail(pixels // 16, 16).split(",")[1])))).max() <= 240
