"""Only the samples that are wanted are read, of functions and folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from norsim.data import Dataset, Samples, load, load_images
from norsim.data.batches import batches_of
from norsim.data.inputs.choice import at_most, drawn, everything, first, spread
from norsim.data.photos import TRANSFORMS
from norsim.errors import ConfigurationError, DataError

FUNCTION = """
from pathlib import Path
import numpy as np

LOG = Path(__file__).with_name("log")

class Counted:
    def __init__(self, split, make, count):
        self.split, self.make, self.count = split, make, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        with LOG.open("a") as file:
            file.write(f"{self.split} {index}\\n")
        return self.make(np.random.default_rng(index), index)

def images(split):
    with LOG.open("a") as file:
        file.write("called\\n")
    return Counted(split, lambda random, index: (random.integers(0, 256, (4, 4, 3), np.uint8), index % 3), 50)

def pairs(split, folder):
    first = lambda random, index: random.normal(size=5)
    return Counted(split, lambda random, index: ((first(random, index), index), {"sum": 0.5 + index}), 20)

def named(split):
    return Counted(split, lambda random, index: ({"tokens": random.integers(0, 9, 6)}, random.integers(0, 9, 6)), 8)

def boxes(split):
    return Counted(split, lambda random, index: (random.normal(size=(3, 8, 8)), np.zeros((index + 1, 4))), 5)

def fractions(split):
    return Counted(split, lambda random, index: (np.zeros((4, 4), np.uint8), 0.7 * index), 5)

def ragged(split):
    return Counted(split, lambda random, index: (np.zeros(3 + index), 1), 5)

def words(split):
    return Counted(split, lambda random, index: ("word", 1), 5)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(FUNCTION)
    return tmp_path / "own.py"


def read(file: Path) -> list[str]:
    log = file.with_name("log")
    return log.read_text().splitlines() if log.exists() else []


def test_a_function_is_called_once_and_read_only_where_it_is_wanted(file: Path) -> None:
    name = f"{file}:images"
    few = load(name, "test", choose=first(5))
    again = load(name, "test", choose=first(5))
    assert again is few and len(few) == 5 and isinstance(few, Dataset) and few.available == 50
    assert read(file) == ["called", *(f"test {index}" for index in range(5))]
    load(name, "train", choose=spread(10))
    # Besides those that are wanted, the first three tell the source.
    assert sorted(read(file)[7:], key=lambda line: int(line.split()[1])) == [
        f"train {index}" for index in (0, 1, 2, 5, 10, 15, 20, 25, 30, 35, 40, 45)
    ]
    whole = load_images(name, "test")
    assert np.array_equal(whole.images[:5], few.images) and whole.source == few.source
    assert np.array_equal(whole.digests()[:5], few.digests())


def test_choices() -> None:
    assert everything(3).tolist() == at_most(5)(3).tolist() == [0, 1, 2] and first(2)(3).tolist() == [0, 1]
    assert spread(4)(10).tolist() == [0, 2, 4, 6] and spread(4)(3).tolist() == [0, 1, 2]
    random = np.random.default_rng(1)
    some = drawn(4, np.random.default_rng(1))(10)
    assert some.tolist() == np.sort(random.choice(10, 4, replace=False)).tolist()
    for count in (0, 4):
        with pytest.raises(DataError, match=f"{count} images were requested, expected 1 to 3"):
            first(count)(3)


def test_other_images_of_a_folder_are_not_opened(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for split, count in (("train", 1), ("test", 3)):
        for kind in ("ant", "bee"):
            folder = tmp_path / split / kind
            folder.mkdir(parents=True)
            for index in range(count):
                Image.fromarray(random.integers(0, 256, (4, 5, 3), np.uint8)).save(folder / f"{index}.png")
    (tmp_path / "test" / "bee" / "2.png").write_bytes(b"no image")
    found = load(str(tmp_path), "test", choose=first(4))
    assert isinstance(found, Dataset) and found.labels.tolist() == [0, 1, 0, 1] and found.available == 6
    with pytest.raises(DataError, match=r"2.png: this is not a readable image"):
        load(str(tmp_path), "test")


def test_photos_are_resized_and_cut(tmp_path: Path) -> None:
    """Compared with Pillow: a photo that is wide, one that is high, and a grey one with transparency."""
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        (tmp_path / split / "cat").mkdir(parents=True)
    pixels = random.integers(0, 256, (300, 517, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "test" / "cat" / "a.png")
    Image.fromarray(np.swapaxes(pixels, 0, 1)).save(tmp_path / "test" / "cat" / "b.png")
    Image.fromarray(pixels[..., :2], "LA").save(tmp_path / "test" / "cat" / "c.png")
    (tmp_path / "classes.txt").write_text("ant\ncat\ndog\n")
    (tmp_path / "train" / "cat" / "a.png").write_bytes((tmp_path / "test" / "cat" / "a.png").read_bytes())
    found = load(str(tmp_path), "test", transform="imagenet")
    assert isinstance(found, Dataset) and found.images.shape == (3, 3, 224, 224)
    assert found.classes == ("ant", "cat", "dog") and found.labels.tolist() == [1, 1, 1]
    resized = Image.fromarray(pixels).resize((441, 256), Image.Resampling.BILINEAR)
    left, top = round((441 - 224) / 2), 16
    assert np.array_equal(found.images[0], np.asarray(resized)[top : top + 224, left : left + 224].transpose(2, 0, 1))
    # The other axis is cut alike; resizing is in the other order of axes, which rounds otherwise.
    assert np.abs(found.images[1].astype(int) - np.swapaxes(found.images[0], 1, 2)).max() <= 2
    assert TRANSFORMS["imagenet"].mean == (0.485, 0.456, 0.406)
    for name, problem in (
        ("imagenett", "no transform 'imagenett'; did you mean 'imagenet'"),
        ("imagenet", "no folder"),
    ):
        with pytest.raises(DataError, match=problem):
            load("digits", "test", transform=name)
    (tmp_path / "classes.txt").write_text("ant\n")
    with pytest.raises(DataError, match="has cat where class folders belong"):
        load(str(tmp_path), "test", transform="imagenet")


def test_other_data_than_images_are_samples(file: Path, tmp_path: Path) -> None:
    found = load(f"{file}:pairs", "test", tmp_path, first(4))
    assert isinstance(found, Samples) and len(found) == 4 and found.available == 20
    assert found.inputs[0].shape == (4, 5) and found.inputs[0].dtype == np.float32
    assert found.inputs[1].tolist() == [0, 1, 2, 3] and found.targets["sum"].tolist() == [0.5, 1.5, 2.5, 3.5]
    batches = list(batches_of(found, 3))
    assert [len(inputs[0]) for inputs, _ in batches] == [3, 1] and batches[1][1]["sum"].tolist() == [3.5]
    assert found.take(2, np.random.default_rng(0)).inputs[0].shape == (2, 5)
    tokens = load(f"{file}:named", "test")
    assert isinstance(tokens, Samples) and tokens.inputs["tokens"].dtype == np.int64
    detection = load(f"{file}:boxes", "test")
    assert isinstance(detection, Samples) and [len(boxes) for boxes in detection.targets] == [1, 2, 3, 4, 5]
    (inputs, targets), *_ = batches_of(detection)
    assert inputs.shape == (5, 3, 8, 8) and all(isinstance(part, torch.Tensor) for part in targets)


def test_labels_that_are_no_integers_are_not_rounded(file: Path) -> None:
    """They used to be cut to integers, and the accuracy was one of other labels."""
    found = load(f"{file}:fractions", "test")
    assert isinstance(found, Samples) and found.targets.tolist() == pytest.approx([0, 0.7, 1.4, 2.1, 2.8])
    with pytest.raises(DataError, match="is not one of images with a class each"):
        load_images(f"{file}:fractions", "test")


@pytest.mark.parametrize(
    ("name", "kind", "problem"),
    [
        ("ragged", DataError, r"sample 1 is float32 \(4,\), the first float32 \(3,\)"),
        ("words", ConfigurationError, "TypeError: str of <U4"),
    ],
)
def test_samples_that_do_not_fit_together(file: Path, name: str, kind: type[Exception], problem: str) -> None:
    with pytest.raises(kind, match=problem):
        load(f"{file}:{name}", "test")
