"""CIFAR-10: 60,000 colour images of 32x32 pixels in ten classes, from a folder of the user.

All four layouts in use are supported; the file names tell which one a folder has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from norsim.data.arrays import checked
from norsim.data.class_folders import list_images, listing
from norsim.data.dataset import Dataset, Images, Labels, check_split
from norsim.data.decoding import EncodedImage, decode_rgb
from norsim.data.restricted_pickle import load_dict
from norsim.errors import DataError

NAME = "cifar10"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FULL_SCALE = 255
SIDE = 32

_BINARY, _PICKLES = "cifar-10-batches-bin", "cifar-10-batches-py"
_PIXELS = 3 * SIDE * SIDE
_RECORD = 1 + _PIXELS
_BATCHES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}
_SHARD = re.compile(r"-of-(\d+)")


class _Part(NamedTuple):
    """Images uint8 [images, 3, 32, 32], labels int64 [images], and the formats of the image files."""

    images: Images
    labels: Labels
    formats: frozenset[str] = frozenset()


class _Layout(NamedTuple):
    title: str
    child: str
    patterns: tuple[str, ...]
    read: Callable[[Path, str], _Part]


def load(split: str, folder: Path | None = None) -> Dataset:
    """Return one split of CIFAR-10: images uint8 [images, 3, 32, 32] of 0..255, labels int64 [images] of 0..9.

    `folder` has one of: Hugging Face parquet files (also in `plain_text`), `cifar-10-batches-bin`,
    `cifar-10-batches-py`, or train/CLASS and test/CLASS with one image per file; the first one found is read.
    Only files of `split` are opened, and images keep their order; single image files have none, so their
    classes alternate. Raises DataError if no folder is given, it has none of these layouts, it lacks the split,
    or a file of the split is damaged.
    """
    check_split(NAME, split)
    if folder is None:
        raise DataError(f"data set {NAME!r} was given no folder, expected one with {_expected()}.")
    layout, home = _find(folder)
    part = layout.read(home, split)
    about = _about(layout, folder, part.formats)
    return checked(NAME, split, part.images, part.labels, CLASSES, FULL_SCALE, about)


def _expected() -> str:
    return "one of these layouts: " + "; ".join(layout.title for layout in _LAYOUTS)


def _find(folder: Path) -> tuple[_Layout, Path]:
    """Return the layout and the folder of the files, which is `folder` or one inside it."""
    with listing(folder):
        return _found(folder)


def _found(folder: Path) -> tuple[_Layout, Path]:
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {state}, expected a folder of CIFAR-10, so pass one with {_expected()}.")
    for layout in _LAYOUTS:
        for home in (folder, folder / layout.child):
            if any(path for pattern in layout.patterns for path in home.glob(pattern)):
                return layout, home
    raise DataError(f"{folder} holds no CIFAR-10 that can be read, so pass a folder with {_expected()}.")


def _about(layout: _Layout, folder: Path, formats: frozenset[str]) -> str:
    # CIFAR-10 was published lossless, so a JPEG is always a re-encoding; a PNG need not be one.
    lossy = ", JPEG re-encoding of the lossless originals" if "JPEG" in formats else ""
    return f"CIFAR-10 from folder {folder.resolve().name!r}, {layout.title}{lossy}"


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as cause:
        raise DataError(
            f"{path} cannot be read ({cause.strerror}), expected a readable file, so check its permissions."
        ) from cause


def _labels(values: Sequence[object], where: str) -> Labels:
    for index, value in enumerate(values):
        if not isinstance(value, int) or not 0 <= value < len(CLASSES):
            raise DataError(
                f"{where}: image {index} has the label {value!r}, expected an integer from 0 to "
                f"{len(CLASSES) - 1}, so check that this is CIFAR-10 and download it again."
            )
    return np.array(values, dtype=np.int64)


def _decoded(encoded: Sequence[EncodedImage], labels: Labels) -> _Part:
    images, formats = decode_rgb(encoded, SIDE)
    return _Part(images, labels, formats)


def _read_parquet(home: Path, split: str) -> _Part:
    paths = sorted(home.glob(f"{split}-*.parquet"))
    total = _SHARD.search(paths[0].name) if paths else None
    expected = int(total[1]) if total else max(len(paths), 1)
    if len(paths) != expected:
        raise DataError(
            f"{home} holds {len(paths)} files {split}-*.parquet of the split {split!r}, expected {expected}, "
            "so download the missing files or remove those of another copy."
        )
    shards = [_read_shard(path) for path in paths]
    encoded = [image for images, _ in shards for image in images]
    return _decoded(encoded, np.concatenate([labels for _, labels in shards]))


def _read_shard(path: Path) -> tuple[list[EncodedImage], Labels]:
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow)
            table = file.read(columns=["img", "label"]).flatten()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as cause:
        raise DataError(
            f"{path}: this is not a readable parquet file ({type(cause).__name__}), expected one of the "
            "Hugging Face data set cifar10, so download it again."
        ) from cause
    contents = table["img.bytes"].to_pylist()
    if None in contents:
        raise DataError(
            f"{path}: row {contents.index(None)} holds no image bytes, expected an image in each row, "
            "so download the data set with embedded images."
        )
    encoded = [EncodedImage(f"{path}, row {row}", content) for row, content in enumerate(contents)]
    return encoded, _labels(table["label"].to_pylist(), str(path))


def _check_columns(path: Path, schema: pa.Schema) -> None:
    image, label = (schema.field(name).type if name in schema.names else None for name in ("img", "label"))
    has_bytes = image is not None and pa.types.is_struct(image) and image.get_field_index("bytes") >= 0
    has_label = label is not None and pa.types.is_integer(label)
    if not has_bytes or not has_label:
        found = ", ".join(f"{field.name} ({field.type})" for field in schema) or "none"
        raise DataError(
            f"{path}: the columns are {found}, expected img (struct with a field bytes) and label (integer), "
            "so check that this is the Hugging Face data set cifar10."
        )


def _batches(home: Path, split: str, suffix: str) -> list[Path]:
    paths = [home / f"{stem}{suffix}" for stem in _BATCHES[split]]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"{home} lacks {', '.join(missing)} of the split {split!r}, expected "
            f"{', '.join(path.name for path in paths)}, so unpack the CIFAR-10 archive again."
        )
    return paths


def _joined(parts: Sequence[_Part]) -> _Part:
    images = np.concatenate([part.images for part in parts])
    return _Part(images, np.concatenate([part.labels for part in parts]))


def _read_binary(home: Path, split: str) -> _Part:
    return _joined([_read_binary_batch(path) for path in _batches(home, split, ".bin")])


def _read_binary_batch(path: Path) -> _Part:
    content = np.frombuffer(_read_bytes(path), dtype=np.uint8)
    if content.size == 0 or content.size % _RECORD:
        raise DataError(
            f"{path}: the file has {content.size} bytes, expected a multiple of {_RECORD} (a label and "
            f"{_PIXELS} pixel values per image), so it is truncated or not CIFAR-10: unpack the archive again."
        )
    records = content.reshape(-1, _RECORD)
    return _Part(records[:, 1:].reshape(-1, 3, SIDE, SIDE), _labels(records[:, 0].tolist(), str(path)))


def _read_pickles(home: Path, split: str) -> _Part:
    return _joined([_read_pickle(path) for path in _batches(home, split, "")])


def _read_pickle(path: Path) -> _Part:
    batch = load_dict(path)
    data, labels = batch.get("data"), batch.get("labels")
    values = labels.tolist() if isinstance(labels, np.ndarray) else labels
    if not isinstance(data, np.ndarray) or not isinstance(values, list):
        raise DataError(
            f"{path}: the pickle has the keys {', '.join(batch) or 'none'}, expected data (an array) and "
            "labels (a list), so check that this is a batch of cifar-10-batches-py."
        )
    if data.dtype != np.uint8 or data.shape != (len(values), _PIXELS):
        raise DataError(
            f"{path}: data is {data.dtype} of shape {data.shape} for {len(values)} labels, expected uint8 of "
            f"shape ({len(values)}, {_PIXELS}), so unpack the CIFAR-10 archive again."
        )
    return _Part(data.reshape(-1, 3, SIDE, SIDE), _labels(values, str(path)))


def _read_image_folder(home: Path, split: str) -> _Part:
    files = list_images(home / split, CLASSES)
    encoded = [EncodedImage(str(file.path), _read_bytes(file.path)) for file in files]
    return _decoded(encoded, np.array([file.label for file in files], dtype=np.int64))


_LAYOUTS = (
    _Layout("Hugging Face parquet", "plain_text", ("train-*.parquet", "test-*.parquet"), _read_parquet),
    _Layout(_BINARY, _BINARY, ("data_batch_?.bin", "test_batch.bin"), _read_binary),
    _Layout(_PICKLES, _PICKLES, ("data_batch_?", "test_batch"), _read_pickles),
    _Layout("train/CLASS and test/CLASS folders of images", ".", ("train", "test"), _read_image_folder),
)
