"""A data set of any inputs and targets: the representation of data that are not images with one class each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from norsim.data.inputs.choice import Indices, check_count, draw
from norsim.errors import DataError

# An array `[samples, ...]`, or a tuple, list or dict of them.
Arrays = Any


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of one split.

    Fields:
        name: the data set's name, such as `/home/me/text.py:windows`.
        split: the part of it, for example `test`.
        inputs: the network's inputs: an array `[samples, ...]`, or a tuple or dict of arrays for several.
        targets: what the outputs are judged by, in the same forms; a list of one object for each sample if these
            cannot be stacked.
        source: one line that identifies this copy of the data in result files.
        hashes: one of each sample, uint32 `[samples]`.
        available: the number of samples of the split, of which these are all or some.
    """

    name: str
    split: str
    inputs: Arrays
    targets: Arrays
    source: str
    hashes: NDArray[np.uint32]
    available: int

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.hashes)

    def chosen(self, indices: Indices) -> Samples:
        """Return the samples with these indices `[chosen]`."""
        return replace(
            self, inputs=_chosen(self.inputs, indices), targets=_chosen(self.targets, indices),
            hashes=self.hashes[indices],
        )  # fmt: skip

    def take(self, count: int, generator: np.random.Generator | None = None) -> Samples:
        """Return the first `count` samples or, with a generator, a random subset in order.

        Raises DataError if count is below 1 or above the number of samples.
        """
        check_count(count, len(self))
        return self.chosen(np.arange(count) if generator is None else draw(count, len(self), generator))

    def digests(self) -> NDArray[np.uint32]:
        """Return a hash of each sample, uint32 `[samples]`."""
        return self.hashes


def _chosen(content: Arrays, indices: Indices) -> Arrays:
    if isinstance(content, Mapping):
        return {key: _chosen(part, indices) for key, part in content.items()}
    if isinstance(content, tuple):
        return tuple(_chosen(part, indices) for part in content)
    return [content[index] for index in indices] if isinstance(content, list) else content[indices]


def as_arrays(item: Any) -> Arrays:
    """Return an input or a target of one sample as arrays `[...]` in tuples and dicts, real numbers in float32.

    Torch's tensors, Pillow's images and nested lists of numbers become arrays, and lists of arrays tuples. Raises
    TypeError for other objects.
    """
    if isinstance(item, Mapping):
        return {str(key): as_arrays(part) for key, part in item.items()}
    if isinstance(item, tuple) or (isinstance(item, list) and not _is_numbers(item)):
        return tuple(map(as_arrays, item))
    found = np.asarray(item)
    if found.dtype.kind not in "biuf":
        raise TypeError(f"{type(item).__name__} of {found.dtype}")
    return found.astype(np.float32) if found.dtype.kind == "f" else found


def _is_numbers(item: list[Any]) -> bool:
    return all(isinstance(one, int | float) or (isinstance(one, list) and _is_numbers(one)) for one in item)


def stacked(items: Sequence[Arrays], where: str) -> Arrays:
    """Return samples of `as_arrays` as arrays `[samples, ...]`. Raises DataError, starting with `where`, if they differ
    in kind or shape."""
    first = items[0]
    if isinstance(first, Mapping):
        for index, item in enumerate(items):
            if not isinstance(item, Mapping) or item.keys() != first.keys():
                raise DataError(f"{where}: sample {index} has other keys than the first, {', '.join(first)}.")
        return {key: stacked([item[key] for item in items], where) for key in first}
    if isinstance(first, tuple):
        for index, item in enumerate(items):
            if not isinstance(item, tuple) or len(item) != len(first):
                raise DataError(f"{where}: sample {index} has another number of parts than the first, {len(first)}.")
        return tuple(stacked(list(part), where) for part in zip(*items, strict=True))
    for index, item in enumerate(items):
        if not isinstance(item, np.ndarray) or item.shape != first.shape or item.dtype.kind != first.dtype.kind:
            held = f"{item.dtype} {item.shape}" if isinstance(item, np.ndarray) else type(item).__name__
            raise DataError(f"{where}: sample {index} is {held}, the first {first.dtype} {first.shape}.")
    return np.stack(items)
