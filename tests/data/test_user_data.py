"""User-supplied data sets: the same images from a folder, an npz file and a function."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from norsim.data import load
from norsim.errors import ConfigurationError, DataError

RANDOM = np.random.default_rng(0)
IMAGES = {
    split: RANDOM.integers(0, 256, (count, 5, 4, 3), dtype=np.uint8) for split, count in (("train", 6), ("test", 4))
}
LABELS = {"train": np.array([0, 1, 2, 0, 1, 2]), "test": np.array([0, 1, 2, 2])}
CLASSES = ("ant", "bee", "cow")
FUNCTION = """
import numpy as np
from PIL import Image
from torch import from_numpy
from torch.utils.data import Dataset

class Insects(Dataset):
    classes = ["ant", "bee", "cow"]

    def __init__(self, split, turn):
        content = np.load(__file__.replace("own.py", "plain.npz"))
        self.images, self.labels, self.turn = content[f"{split}_images"], content[f"{split}_labels"], turn

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.turn(self.images[index]), self.labels[index]

def arrays(split):
    return Insects(split, lambda image: image)

def pictures(split):
    return Insects(split, Image.fromarray)

def tensors(split):
    return Insects(split, lambda image: from_numpy(image).permute(2, 0, 1) / 255)

def ragged(split):
    sides = iter([5, 5, 4, 5, 5, 5])
    return Insects(split, lambda image: image[:next(sides)])

def empty(split):
    return []

def nothing(split):
    return None

def failing(split):
    return Insects(split, lambda image: image.no_such)

def unlabelled(split):
    return [1, 2, 3]
"""


def arrays(**changes: Any) -> dict[str, Any]:
    content = {
        f"{split}_{key}": part[split] for key, part in (("images", IMAGES), ("labels", LABELS)) for split in IMAGES
    }
    return {key: value for key, value in (content | changes).items() if value is not None}


def as_folder(folder: Path) -> str:
    for split, images in IMAGES.items():
        for index, (image, label) in enumerate(zip(images, LABELS[split], strict=True)):
            path = folder / "insects" / split / CLASSES[label] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return str(folder / "insects")


def as_npz(folder: Path) -> str:
    np.savez(folder / "plain.npz", **arrays(classes=np.array(CLASSES)))
    return str(folder / "plain.npz")


def as_function(name: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        as_npz(folder)
        (folder / "own.py").write_text(FUNCTION)
        return f"{folder / 'own.py'}:{name}"

    return make


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    "make", [as_folder, as_npz, as_function("arrays"), as_function("pictures"), as_function("tensors")]
)
def test_every_form_gives_the_same_images(make: Callable[[Path], str], split: str, tmp_path: Path) -> None:
    name = make(tmp_path)
    found = load(name, split)
    # In a folder the classes alternate, each in the order of its file names; here that is the original order.
    order = [0, 1, 2, 3, 4, 5] if split == "train" else [0, 1, 2, 3]
    assert np.array_equal(found.images, IMAGES[split][order].transpose(0, 3, 1, 2))
    assert found.labels.tolist() == LABELS[split][order].tolist() and found.classes == CLASSES
    assert (found.full_scale, found.split) == (255, split) and Path(found.name).is_absolute()
    # The same by the name stored on cards.
    again = load(found.name, split)
    assert again.source == found.source and np.array_equal(again.images, found.images)


@pytest.mark.parametrize("make", [as_folder, as_npz, as_function("arrays")])
def test_what_is_no_split_or_needs_no_folder_is_said(make: Callable[[Path], str], tmp_path: Path) -> None:
    name = make(tmp_path)
    with pytest.raises(DataError, match="has no split 'all'"):
        load(name, "all")
    with pytest.raises(DataError, match="is a path already, so leave out the folder"):
        load(name, "test", tmp_path)


def test_another_copy_has_another_source(tmp_path: Path) -> None:
    before = load(as_npz(tmp_path), "test").source
    IMAGES_OF = IMAGES["test"].copy()
    IMAGES_OF[0, 0, 0, 0] ^= 1
    np.savez(tmp_path / "plain.npz", **arrays(test_images=IMAGES_OF))
    assert load(str(tmp_path / "plain.npz"), "test").source != before


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((4, 5, 6), (4, 1, 5, 6)), ((4, 3, 5, 6), (4, 3, 5, 6)), ((4, 5, 6, 1), (4, 1, 5, 6)),
     ((4, 5, 6, 3), (4, 3, 5, 6)), ((4, 3, 5, 3), (4, 3, 5, 3)), ((4, 2, 5, 6), (4, 2, 5, 6))],
)  # fmt: skip
def test_axes_of_an_npz(shape: tuple[int, ...], expected: tuple[int, ...], tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", **arrays(test_images=np.zeros(shape, np.uint8), full_scale=np.array(16)))
    found = load(str(tmp_path / "a.npz"), "test")
    assert found.images.shape == expected and found.full_scale == 16
    assert found.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"test_images": IMAGES["test"].astype(float)}, "test_images: images are float64"),
        ({"test_images": IMAGES["test"][0, 0]}, r"test_images: images are uint8 of shape \(4, 3\)"),
        ({"test_labels": LABELS["test"].astype(float)}, "labels are float64"),
        ({"test_labels": LABELS["test"][:3]}, "one for each image"),
        ({"test_labels": LABELS["test"] - 1}, "labels run from -1"),
        ({"test_labels": np.array([0, 1, 2, 10**9])}, "expected at most 65536 classes"),
        ({"classes": np.array(["ant", "bee"])}, "labels run from 0 to 2, expected 0 to 1"),
        ({"classes": np.array([1, 2, 3])}, "classes are int64"),
        ({"full_scale": np.array([255])}, "full_scale is int64 of shape"),
        ({"full_scale": np.array(100)}, "with a full scale of 100"),
        ({"train_labels": None}, "expected the arrays train_images, train_labels"),
        ({"test_images": np.array([{}], dtype=object)}, "does not fit its"),
    ],
)
def test_what_is_wrong_with_an_npz_names_the_file(changes: dict[str, Any], problem: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", **arrays(**changes))
    with pytest.raises(DataError, match=f"bad.npz.*{problem}"):
        load(str(tmp_path / "bad.npz"), "test")


def test_a_header_that_asks_for_more_than_the_file_has_takes_no_memory(tmp_path: Path) -> None:
    as_npz(tmp_path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": (2**40, 8, 8), "fortran_order": False, "descr": "|u1"})
    with zipfile.ZipFile(tmp_path / "plain.npz") as old, zipfile.ZipFile(tmp_path / "bad.npz", "w") as new:
        for name in old.namelist():
            new.writestr(name, header.getvalue() + b"0" * 64 if name == "test_images.npy" else old.read(name))
    with pytest.raises(DataError, match=r"bad.npz, test_images: uint8 of shape \(1099511627776, 8, 8\) does not fit"):
        load(str(tmp_path / "bad.npz"), "test")


def test_a_damaged_or_missing_npz_names_the_file(tmp_path: Path) -> None:
    content = Path(as_npz(tmp_path)).read_bytes()
    place = content.index(b"test_images") + 300
    (tmp_path / "bad.npz").write_bytes(content[:place] + b"damage" + content[place + 6 :])
    with pytest.raises(DataError, match=r"bad.npz: this is not a readable npz file \(BadZipFile"):
        load(str(tmp_path / "bad.npz"), "test")
    (tmp_path / "bad.npz").write_bytes(content[:100])
    with pytest.raises(DataError, match="bad.npz: this is not a readable npz file"):
        load(str(tmp_path / "bad.npz"), "test")
    with pytest.raises(DataError, match="none.npz cannot be read: No such file"):
        load(str(tmp_path / "none.npz"), "test")


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    folder = Path(as_folder(tmp_path))
    for path in folder.rglob("*.png"):
        Image.open(path).convert("L").save(path)
    found = load(str(folder), "test")
    assert found.images.shape == (4, 1, 5, 4)
    with Image.open(folder / "test" / "bee" / "1.png") as image:
        assert np.array_equal(found.images[1, 0], np.asarray(image))
    Image.fromarray(IMAGES["test"][1]).save(folder / "test" / "bee" / "1.png")
    with pytest.raises(DataError, match="bee/1.png: the image has mode RGB, expected 8-bit grey as the first image"):
        load(str(folder), "test")


@pytest.mark.parametrize(
    ("break_it", "problem"),
    [
        (lambda folder: (folder / "train").rename(folder / "tarin"), "train is missing, expected train/CLASS"),
        (
            lambda folder: (folder / "test" / "bee").rename(folder / "test" / "wasp"),
            "test has wasp where class folders",
        ),
        (
            lambda folder: (folder / "test" / "bee" / "1.png").write_bytes(b"no image"),
            "bee/1.png: this is not a readable",
        ),
        (
            lambda folder: (folder / "train" / "ant" / "0.png").write_bytes(b"no image"),
            "ant/0.png: this is not a readable",
        ),
        (lambda folder: Image.new("RGB", (4, 6)).save(folder / "test" / "bee" / "1.png"), "4x6 pixels, expected 4x5"),
        (lambda folder: Image.new("L", (1, 1025)).save(folder / "train" / "ant" / "0.png"), "expected at most 1024"),
        (lambda folder: Image.new("RGBA", (4, 5)).save(folder / "test" / "bee" / "1.png"), "has mode RGBA"),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(break_it: Callable[[Path], Any], problem: str, tmp_path: Path) -> None:
    folder = Path(as_folder(tmp_path))
    break_it(folder)
    with pytest.raises(DataError, match=problem):
        load(str(folder), "test")


@pytest.mark.parametrize(
    ("name", "kind", "problem"),
    [
        ("ragged", DataError, r"image 2 has shape \(4, 4, 3\), the first \(5, 4, 3\)"),
        ("empty", DataError, "there is no image"),
        ("nothing", ConfigurationError, "returned NoneType for 'test', expected a torch.utils.data.Dataset"),
        ("failing", ConfigurationError, r"own.py, line 40: AttributeError: .*no_such"),
        ("unlabelled", ConfigurationError, r"TypeError: a sample is a int; expected"),
        ("absent", ConfigurationError, "has no function 'absent'; it has Insects, arrays, pictures"),
    ],
)
def test_what_is_wrong_with_a_function_is_said(name: str, kind: type[Exception], problem: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=problem):
        load(as_function(name)(tmp_path), "test")


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(
        DataError, match="no data set 'digit'; .* Your own data set is a folder of images by class, NAME.npz or"
    ):
        load("digit", "test")
    with pytest.raises(DataError, match="no/such is not a folder"):
        load("no/such", "test")
