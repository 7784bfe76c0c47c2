"""CIFAR-10 in each of its four layouts, and errors for invalid files."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from PIL import Image

from norsim.data import load
from norsim.data.cifar10 import CLASSES
from norsim.errors import DataError

SHARED = Path(__file__).resolve().parents[2] / "../shared/data/cifar10"
COUNTS = {"train": 25, "test": 12}
Writer = Callable[[Path, str], None]


class Part(NamedTuple):
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def part(split: str) -> Part:
    """Random images and labels, written in every layout and read back."""
    generator = np.random.default_rng(len(split))
    images = generator.integers(0, 256, (COUNTS[split], 3, 32, 32)).astype(np.uint8)
    return Part(images, np.arange(COUNTS[split], dtype=np.int64) % 10)


def encoded(image: npt.NDArray[np.uint8], kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer, kind)
    return buffer.getvalue()


def write_shard(path: Path, images: list[bytes | None], labels: list[int | None]) -> None:
    rows = [{"bytes": content, "path": f"{row}.png"} for row, content in enumerate(images)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"img": pa.array(rows, kind), "label": pa.array(labels, pa.int64())}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def write_parquet(folder: Path, split: str) -> None:
    images, labels = part(split)
    contents: list[bytes | None] = [encoded(image) for image in images]
    write_shard(folder / f"{split}-00000-of-00002.parquet", contents[:5], labels[:5].tolist())
    write_shard(folder / f"{split}-00001-of-00002.parquet", contents[5:], labels[5:].tolist())


def batches(split: str, suffix: str) -> list[tuple[str, Part]]:
    names = [f"data_batch_{number}" for number in range(1, 6)] if split == "train" else ["test_batch"]
    images, labels = part(split)
    shares = zip(names, np.split(images, len(names)), np.split(labels, len(names)), strict=True)
    return [(name + suffix, Part(some, theirs)) for name, some, theirs in shares]


def write_binary(folder: Path, split: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, (images, labels) in batches(split, ".bin"):
        records = np.column_stack([labels.astype(np.uint8), images.reshape(len(images), -1)])
        (folder / name).write_bytes(records.tobytes())


def python2_batch(images: npt.NDArray[np.uint8], labels: list[int]) -> bytes:
    """The protocol 2 pickle of a batch as Python 2 writes it: all text is byte strings."""
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = struct.pack("<sisis", b"J", len(images), b"J", 3072, b"\x86")
    pixels = b"T" + struct.pack("<i", images.size) + images.tobytes()
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    array = empty + b"(K\x01" + shape + dtype + b"\x89" + pixels + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    title = b"U\x0bbatch_labelU\x15training batch 1 of 5"
    return b"\x80\x02}(" + title + b"U\x06labels" + numbers + b"U\x04data" + array + b"u."


def write_pickles(folder: Path, split: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, (images, labels) in batches(split, ""):
        (folder / name).write_bytes(python2_batch(images, labels.tolist()))


def write_folders(folder: Path, split: str) -> None:
    images, labels = part(split)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / split / CLASSES[label] / f"{index:03d}.{'PNG' if index % 2 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image))


LAYOUTS: dict[str, tuple[Writer, str, str]] = {
    "parquet": (write_parquet, ".", "Hugging Face parquet"),
    "parquet below": (write_parquet, "plain_text", "Hugging Face parquet"),
    "binary": (write_binary, ".", "cifar-10-batches-bin"),
    "binary below": (write_binary, "cifar-10-batches-bin", "cifar-10-batches-bin"),
    "pickles": (write_pickles, ".", "cifar-10-batches-py"),
    "pickles below": (write_pickles, "cifar-10-batches-py", "cifar-10-batches-py"),
    "folders": (write_folders, ".", "train/CLASS and test/CLASS folders of images"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("split", COUNTS)
def test_split_comes_back_exactly_without_the_other_one(tmp_path: Path, layout: str, split: str) -> None:
    write, child, title = LAYOUTS[layout]
    write(tmp_path / child, split)
    found = load("cifar10", split, tmp_path)
    assert np.array_equal(found.images, part(split).images)
    assert np.array_equal(found.labels, part(split).labels)
    assert (found.name, found.split, found.full_scale) == ("cifar10", split, 255)
    assert found.classes == CLASSES
    assert found.source.partition(", SHA-256 ")[0] == f"CIFAR-10 from folder {tmp_path.name!r}, {title}"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("split", "other"), [("test", "train"), ("train", "test")])
def test_missing_split_is_named(tmp_path: Path, layout: str, split: str, other: str) -> None:
    write, child, _ = LAYOUTS[layout]
    write(tmp_path / child, other)
    with pytest.raises(DataError, match=rf"(lacks|holds 0 files|{split} is missing).*expected"):
        load("cifar10", split, tmp_path)


def test_folder_is_asked_for() -> None:
    with pytest.raises(DataError, match=r"no folder, expected one with .*parquet; .*-bin; .*-py; train/CLASS"):
        load("cifar10", "test")


def test_folder_without_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no CIFAR-10 that can be read"):
        load("cifar10", "test", tmp_path)
    with pytest.raises(DataError, match="nowhere does not exist, expected a folder"):
        load("cifar10", "test", tmp_path / "nowhere")
    (tmp_path / "cifar.tar.gz").touch()
    with pytest.raises(DataError, match="is a file, expected a folder"):
        load("cifar10", "test", tmp_path / "cifar.tar.gz")


@pytest.mark.parametrize("kind", ["parquet", "folders"])
def test_jpeg_is_named_as_re_encoding(tmp_path: Path, kind: str) -> None:
    content = encoded(part("test").images[0], "JPEG")
    if kind == "parquet":
        write_shard(tmp_path / "test-00000-of-00001.parquet", [content], [3])
    else:
        (tmp_path / "test" / "cat").mkdir(parents=True)
        (tmp_path / "test" / "cat" / "1.jpeg").write_bytes(content)
    found = load("cifar10", "test", tmp_path)
    assert found.labels.tolist() == [3]
    assert ", JPEG re-encoding of the lossless originals, SHA-256 " in found.source
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    assert np.array_equal(found.images[0], pixels.transpose(2, 0, 1))


PNG = encoded(part("test").images[0])


def test_broken_image_of_a_parquet_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "test-00000-of-00001.parquet"
    write_shard(path, [PNG, b"not an image"], [0, 1])
    with pytest.raises(DataError, match=rf"{path.name}, row 1: this is not a readable image"):
        load("cifar10", "test", tmp_path)
    write_shard(path, [PNG, None], [0, 1])
    with pytest.raises(DataError, match="row 1 holds no image bytes"):
        load("cifar10", "test", tmp_path)


@pytest.mark.parametrize("label", [10, -1, None])
def test_label_out_of_range(tmp_path: Path, label: int | None) -> None:
    write_shard(tmp_path / "test-00000-of-00001.parquet", [PNG, PNG], [0, label])
    with pytest.raises(DataError, match=rf"image 1 has the label {label}, expected an integer from 0 to 9"):
        load("cifar10", "test", tmp_path)


@pytest.mark.parametrize(
    "columns",
    [
        {"label": [1]},
        {"img": [{"bytes": PNG, "path": ""}]},
        {"image": [{"bytes": PNG, "path": ""}], "label": [1]},
        {"img": [{"path": "1.png"}], "label": [1]},
        {"img": [PNG], "label": [1]},
        {"img": [{"bytes": PNG, "path": ""}], "label": ["cat"]},
    ],
)
def test_parquet_columns(tmp_path: Path, columns: dict[str, list[Any]]) -> None:
    pq.write_table(pa.table(columns), tmp_path / "test-00000-of-00001.parquet")
    with pytest.raises(DataError, match=rf"the columns are {next(iter(columns))} .*, expected img"):
        load("cifar10", "test", tmp_path)


def test_parquet_files(tmp_path: Path) -> None:
    write_parquet(tmp_path, "test")
    (tmp_path / "test-00001-of-00002.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="test-00001-of-00002.parquet: this is not a readable parquet file"):
        load("cifar10", "test", tmp_path)
    (tmp_path / "test-00001-of-00002.parquet").unlink()
    with pytest.raises(DataError, match="holds 1 files .* expected 2"):
        load("cifar10", "test", tmp_path)
    (tmp_path / "test-00000-of-00002.parquet").unlink()
    write_shard(tmp_path / "test-0.parquet", [], [])
    with pytest.raises(DataError, match="are empty"):
        load("cifar10", "test", tmp_path)


@pytest.mark.parametrize("size", [0, 3072, 3073 + 3072])
def test_binary_cut_off(tmp_path: Path, size: int) -> None:
    (tmp_path / "test_batch.bin").write_bytes(bytes(size))
    with pytest.raises(DataError, match=rf"the file has {size} bytes, expected a multiple of 3073"):
        load("cifar10", "test", tmp_path)


def test_binary_label_and_missing_batch(tmp_path: Path) -> None:
    (tmp_path / "test_batch.bin").write_bytes(bytes(3073) + b"\x0a" + bytes(3072))
    with pytest.raises(DataError, match="test_batch.bin: image 1 has the label 10"):
        load("cifar10", "test", tmp_path)
    write_binary(tmp_path, "train")
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"lacks data_batch_3\.bin of the split 'train'"):
        load("cifar10", "train", tmp_path)


ZEROS = np.zeros((2, 3072), dtype=np.uint8)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({b"data": ZEROS, b"fine_labels": [1, 2]}, "the keys data, fine_labels, expected data"),
        ({b"data": [1], b"labels": [1]}, "the keys data, labels, expected data"),
        ({}, "the keys none"),
        ({b"data": ZEROS, b"labels": [1, 2, 3]}, r"shape \(2, 3072\) for 3 labels"),
        ({b"data": ZEROS.astype(np.int64), b"labels": [1, 2]}, "data is int64"),
        ({b"data": ZEROS[:, :768], b"labels": [1, 2]}, r"shape \(2, 768\) for 2 labels"),
        ({b"data": ZEROS, b"labels": [1, 10]}, "image 1 has the label 10"),
        ({b"data": ZEROS, b"labels": [1, b"cat"]}, "image 1 has the label b'cat'"),
        ({b"data": ZEROS, b"labels": print}, "asks for .*print, which was refused"),
    ],
)
def test_pickle_contents(tmp_path: Path, batch: dict[bytes, object], message: str) -> None:
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(DataError, match=message):
        load("cifar10", "test", tmp_path)


def test_pickle_of_python_3_with_an_array_of_labels(tmp_path: Path) -> None:
    images, labels = part("test")
    (tmp_path / "test_batch").write_bytes(pickle.dumps({"data": images.reshape(-1, 3072), "labels": labels}))
    found = load("cifar10", "test", tmp_path)
    assert np.array_equal(found.images, images)
    assert np.array_equal(found.labels, labels)


def test_class_folders_take_turns_and_keep_their_labels(tmp_path: Path) -> None:
    for name in ("truck/b.png", "truck/a.png", "cat/z.png", "truck/c.png", "cat/.hidden"):
        path = tmp_path / "test" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    (tmp_path / "test" / ".cache").mkdir()
    assert load("cifar10", "test", tmp_path).labels.tolist() == [3, 9, 9, 9]


def test_class_folder_with_a_text_named_png(tmp_path: Path) -> None:
    (tmp_path / "test" / "cat").mkdir(parents=True)
    (tmp_path / "test" / "cat" / "1.png").write_text("no image")
    with pytest.raises(DataError, match=r"1\.png: this is not a readable image"):
        load("cifar10", "test", tmp_path)


@pytest.mark.parametrize("layout", ["binary", "folders"])
def test_unreadable_file(tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    write, child, _ = LAYOUTS[layout]
    write(tmp_path / child, "test")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)"):
        load("cifar10", "test", tmp_path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no copy of CIFAR-10 in ../shared/data/cifar10")
@pytest.mark.parametrize(("split", "each"), [("train", 5000), ("test", 1000)])
def test_all_images_of_the_shared_copy(split: str, each: int) -> None:
    found = load("cifar10", split, SHARED)
    assert found.images.shape == (10 * each, 3, 32, 32)
    assert np.bincount(found.labels).tolist() == [each] * 10
    assert "'cifar10'" in found.source
    assert "JPEG re-encoding" in found.source
