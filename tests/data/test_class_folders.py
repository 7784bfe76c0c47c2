"""Files in a folder with one subfolder per class: their order, and forbidden content."""

from __future__ import annotations

from pathlib import Path

import pytest

from norsim.data.class_folders import list_images
from norsim.errors import DataError

CLASSES = ("bird", "cat", "truck")


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_classes_take_turns_and_keep_their_labels(tmp_path: Path) -> None:
    touch(tmp_path, "truck/b.png", "truck/a.PNG", "truck/c.jpeg", "cat/z.jpg", "cat/.hidden", ".cache/x.png")
    found = [(str(file.path.relative_to(tmp_path)), file.label) for file in list_images(tmp_path, CLASSES)]
    assert found == [("cat/z.jpg", 1), ("truck/a.PNG", 2), ("truck/b.png", 2), ("truck/c.jpeg", 2)]


def test_first_images_are_balanced(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}/{number}.png" for name in CLASSES for number in range(4)))
    assert [file.label for file in list_images(tmp_path, CLASSES)] == [0, 1, 2] * 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "plane/1.png",
            "has plane where class folders belong, expected folders named after the classes bird",
        ),
        ("1.png", "has no folder where class folders belong"),
        ("cat/1.bmp", "cat holds 1.bmp, expected only image files"),
        ("cat/more/1.png", "cat holds more, expected only image files"),
        ("cat/more.png/1.png", "cat holds more.png, expected only image files"),
        ("cat/.hidden", "cat is empty, expected image files"),
    ],
)
def test_other_things_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list_images(touch(tmp_path, name), CLASSES)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="test is missing, expected a folder with one folder per class"):
        list_images(tmp_path / "test", CLASSES)
