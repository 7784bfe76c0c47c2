"""User-supplied data sets: a function in a Python file, FILE.py:FUNCTION, called with `train` or `test`.

It returns a torch.utils.data.Dataset of finite size: `len(data)`, and `data[i]` is (input, target). Only the samples
that are used are read. This module does not import torch: tensors, arrays and Pillow images all convert to arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from norsim.data.arrays import HASH, bytes_of, images_of, number_classes
from norsim.data.dataset import Dataset, check_split
from norsim.data.inputs.choice import Choice, Indices, everything
from norsim.data.inputs.samples import Arrays, Samples, as_arrays, stacked
from norsim.errors import ConfigurationError, DataError
from norsim.user_code import absolute, call_code, guarded, once

# The first samples of a split, whose hash is part of its source.
IDENTIFYING = 3


def load(reference: str, split: str, folder: Path | None = None, choose: Choice = everything) -> Dataset | Samples:
    """Read samples of the data set that the function returns for `split`: the function is called, and a choice of
    samples is read, once in a process. The file is executed, so it must be trusted.

    With a `folder`, the function gets it as its second argument. Where every sample is an image and the number of its
    class, the result is a Dataset: an image is `[h, w]`, `[channels, h, w]` or `[h, w, channels]`, of uint8 or of real
    numbers n / 255, and class names come from the attribute `classes`, if there is one. Otherwise the result is
    Samples: inputs and targets are numbers, arrays or tensors of any shape, or tuples or dicts of these; images of
    uint8 are scaled to 0 to 1, `[images, channels, h, w]`.

    Raises ConfigurationError if the code fails or returns something else, DataError if samples do not fit together.
    """
    name = absolute(reference)
    check_split(name, split)
    place = str(folder)
    data = once(name, f"{split} in {place}", lambda: _called(reference, name, split, folder))
    available = guarded(name, lambda: len(data))
    if not available:
        raise DataError(f"{reference}, {split}: there is no image, expected at least one.")
    indices = choose(available)
    key = f"{split} in {place}, {hashlib.sha256(indices.tobytes()).hexdigest()}"
    found: Dataset | Samples = once(name, key, lambda: _read(data, reference, name, split, available, indices))
    return found


def _called(reference: str, name: str, split: str, folder: Path | None) -> Any:
    try:
        data = call_code(name, split) if folder is None else call_code(name, split, folder)
    except ConfigurationError as problem:
        if folder is None or "positional argument" not in str(problem):
            raise
        raise DataError(
            f"data set {reference!r} is a path already, so leave out the folder {folder}, or let the function take it "
            "as a second argument."
        ) from problem
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        raise ConfigurationError(
            f"{reference} returned {type(data).__name__} for {split!r}, expected a torch.utils.data.Dataset: an object "
            "with a length that returns (input, target) for each index."
        )
    return data


def _read(data: Any, reference: str, name: str, split: str, available: int, indices: Indices) -> Dataset | Samples:
    where = f"{reference}, {split}"
    wanted = sorted({*range(min(IDENTIFYING, available)), *indices.tolist()})
    pairs = dict(zip(wanted, guarded(name, lambda: [_pair(data[index]) for index in wanted]), strict=True))
    digest = hashlib.sha256()
    for index in range(min(IDENTIFYING, available)):
        digest.update(_bytes(pairs[index]))
    about = f"function {Path(name).name!r}, {available} samples{HASH}{digest.hexdigest()[:16]}"
    kept = [pairs[index] for index in indices.tolist()]
    if all(_is_labelled_image(*pair) for pair in kept):
        images = [bytes_of(image, f"{where}, image {index}") for index, (image, _) in zip(indices, kept, strict=True)]
        for index, image in zip(indices, images, strict=True):
            if image.shape != images[0].shape:
                raise DataError(f"{where}, image {index} has shape {image.shape}, the first {images[0].shape}.")
        labels = np.array([label for _, label in kept], dtype=np.int64)
        names = guarded(name, lambda: getattr(data, "classes", None))
        named = isinstance(names, list | tuple) and all(isinstance(text, str) for text in names)
        classes = tuple(names) if named and names else number_classes([labels], where)
        return Dataset(name, split, images_of(np.stack(images), where), labels, classes, 255, about, available)
    digests = [int.from_bytes(hashlib.sha256(_bytes(pair)).digest()[:4], "little") for pair in kept]
    inputs = stacked([given for given, _ in kept], f"{where}, inputs")
    if isinstance(inputs, np.ndarray) and inputs.dtype == np.uint8 and inputs.ndim in (3, 4):
        inputs = images_of(inputs, where).astype(np.float32) / 255
    targets = _targets([target for _, target in kept], where)
    return Samples(name, split, inputs, targets, about, np.array(digests, np.uint32), available)


def _pair(item: Any) -> tuple[Arrays, Arrays]:
    if not isinstance(item, Sequence) or len(item) != 2:
        raise TypeError(f"a sample is a {type(item).__name__}; expected (input, target)")
    given, target = item
    return as_arrays(given), as_arrays(target)


def _targets(targets: list[Arrays], where: str) -> Arrays:
    """Return targets as arrays `[samples, ...]`, or as a list where they differ in shape, as boxes of objects do."""
    try:
        return stacked(targets, where)
    except DataError:
        return targets


def _is_labelled_image(image: Arrays, label: Arrays) -> bool:
    """Return whether a sample is an image that bytes can hold and one integer, which is the number of its class."""
    if not isinstance(image, np.ndarray) or not isinstance(label, np.ndarray):
        return False
    if label.ndim or label.dtype.kind not in "iu" or image.ndim not in (2, 3):
        return False
    if image.dtype == np.uint8:
        return True
    try:
        bytes_of(image, "")
    except DataError:
        return False
    return True


def _bytes(content: Arrays) -> bytes:
    """Return what determines a sample's hash."""
    if isinstance(content, Mapping):
        return b"".join(key.encode() + _bytes(part) for key, part in content.items())
    if isinstance(content, tuple):
        return b"".join(map(_bytes, content))
    return f"{content.dtype} {content.shape}".encode() + np.ascontiguousarray(content).tobytes()
