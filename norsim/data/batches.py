"""The kinds of data that every function takes, as batches of inputs and targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.utils.data
from torch import Tensor

from norsim.data.dataset import Dataset
from norsim.data.inputs.samples import Samples
from norsim.data.inputs.structure import Structure, count_of, described, joined, mapped, split, taken, tensors_in
from norsim.data.tensors import BATCH, images_tensor, tensors_of
from norsim.errors import DataError

# The ratio from which the ranges of two sets of inputs are not the same.
RANGE = 32
# A norsim data set, a torch Dataset or DataLoader, a pair (inputs, targets) of tensors, or batches: inputs, or pairs.
# The inputs of a batch are a tensor or, for a network with several, a tuple or dict of tensors. A batch of two tensors
# is a pair, so several inputs without targets are a tuple in a tuple, ((first, second),), or a dict.
Data: TypeAlias = "Dataset | Samples | InputBatches | torch.utils.data.Dataset[Any] | Iterable[Any]"


@dataclass(frozen=True, eq=False)
class InputBatches:
    """Batches of inputs without targets, `[images, ...]`: a tuple of tensors is several inputs, not a pair."""

    batches: Iterable[Structure]


KINDS = (
    "a DataLoader, a torch Dataset, a pair (inputs, targets) of tensors, a norsim data set, or an iterable of batches"
)


def batches_of(data: Data, size: int = BATCH) -> Iterator[tuple[Structure, Any]]:
    """Batches of inputs `[images, ...]` with their targets; batches of a loader or an iterable stay as they are.

    Raises DataError for anything else than the kinds that `Data` lists, for batches without targets, and for inputs
    that are not finite.
    """
    for inputs, targets in _batches(data, size):
        if targets is None:
            raise DataError(
                "the data has inputs and no targets, which an accuracy needs; give pairs (inputs, targets), for "
                "example a DataLoader of a labelled data set"
            )
        if any(part.is_floating_point() and not torch.isfinite(part).all() for part in tensors_in(inputs)):
            raise DataError(
                "inputs hold numbers that are not finite, NaN or infinity; expected finite ones in all of them"
            )
        yield inputs, targets


def inputs_of(data: Data, size: int = BATCH) -> Iterator[Structure]:
    """Batches of inputs `[images, ...]`, of data with or without targets. Raises DataError as `batches_of` does."""
    return (inputs for inputs, _ in _batches(data, size))


def first_inputs(data: Data, count: int) -> Structure:
    """The first `count` inputs of data, or all where it has fewer: `[images, ...]`. Raises DataError for no input."""
    found: list[Structure] = []
    have = 0
    for inputs in inputs_of(data):
        found.append(taken(inputs, slice(count - have)))
        have += count_of(found[-1])
        if have >= count:
            break
    if not have:
        raise DataError("the data is empty: give at least one batch of inputs")
    return joined(found)


def check_range(inputs: Structure, known: Structure) -> None:
    """Raise DataError if real `inputs` `[images, ...]` have another range than those a network was calibrated with.

    `known` are those, `[images, ...]`. Only ranges that differ as bytes differ from fractions count.
    """
    for some, others in zip(tensors_in(inputs), tensors_in(known), strict=False):
        if not (some.is_floating_point() and others.is_floating_point() and some.numel() and others.numel()):
            continue
        largest, usual = float(some.abs().max()), float(others.abs().max())
        if largest > RANGE * usual > 0 or 0 < largest < usual / RANGE:
            raise DataError(
                f"inputs go up to {largest:.4g}, but those of the calibration go up to {usual:.4g}; scale both in the "
                "same way, for example to 0 to 1"
            )


def size_of(data: Data) -> int:
    """The number of inputs of data, 0 where that is not known before they are read."""
    held = data.dataset if isinstance(data, torch.utils.data.DataLoader) else data
    held = held[0] if isinstance(held, tuple) and held else held
    if isinstance(held, (tuple, dict)):
        return count_of(_tensors(held)) if _is_inputs(held) else 0
    if not isinstance(held, (Dataset, Samples, torch.utils.data.Dataset, Tensor, np.ndarray)):
        return 0
    try:
        return len(held)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        # A torch IterableDataset has no length, and a tensor without axes none either.
        return 0


def check_repeatable(data: Data) -> None:
    """Raise DataError for data that can be gone through once only, where it is needed several times."""
    if isinstance(data, Iterator):
        raise DataError(
            f"data is a {type(data).__name__}, which ends after one pass, and several are needed; give a DataLoader, "
            "a data set, or a list of batches"
        )


def _batches(data: Data, size: int) -> Iterator[tuple[Structure, Any]]:
    """Batches, with None for targets where there are none."""
    if isinstance(data, InputBatches):
        yield from ((inputs, None) for inputs in data.batches)
    elif isinstance(data, Dataset):
        for start in range(0, len(data), size):
            some = data.chosen(np.arange(start, min(start + size, len(data))))
            yield images_tensor(some), torch.from_numpy(some.labels)
    elif isinstance(data, Samples):
        inputs, targets = tensors_of(data)
        yield from zip(split(inputs, size), split(targets, size), strict=True)
    elif isinstance(data, torch.utils.data.Dataset):
        yield from map(_pair, torch.utils.data.DataLoader(data, batch_size=size))
    elif isinstance(data, (Tensor, np.ndarray)):
        yield from ((_input(part), None) for part in torch.split(torch.as_tensor(data), size))
    elif isinstance(data, tuple) and len(data) == 2 and _is_inputs(data[0]) and _is_tensor(data[1]):
        inputs, targets = _tensors(data[0]), torch.as_tensor(data[1])
        counts = {len(part) if part.ndim else -1 for part in tensors_in((inputs, targets))}
        if len(counts) != 1 or -1 in counts:
            shape = list(inputs.shape) if isinstance(inputs, Tensor) else [list(p.shape) for p in tensors_in(inputs)]
            raise DataError(
                f"inputs of shape {shape} and targets of shape {list(targets.shape)} do not belong "
                "together; expected as many targets as inputs"
            )
        for some, answers in zip(split(inputs, size), torch.split(targets, size), strict=True):
            yield _input(some), answers
    elif isinstance(data, Iterable) and not isinstance(data, (str, bytes, dict)):
        yield from map(_pair, data)
    else:
        raise DataError(f"data is a {type(data).__name__}; expected {KINDS}")


def _pair(batch: Any) -> tuple[Structure, Any]:
    """A batch as inputs and targets; None for no targets."""
    if isinstance(batch, (tuple, list)) and len(batch) in (1, 2):
        return _input(batch[0]), batch[1] if len(batch) == 2 else None
    if isinstance(batch, (Tensor, np.ndarray, Mapping)):
        return _input(batch), None
    held = f"{len(batch)} parts" if isinstance(batch, (tuple, list)) else f"a {type(batch).__name__}"
    raise DataError(f"a batch holds {held}; expected a tensor of inputs, or a pair (inputs, targets)")


def _is_tensor(content: Any) -> bool:
    return isinstance(content, (Tensor, np.ndarray))


def _is_inputs(content: Any) -> bool:
    """Whether these are tensors in tuples, lists and dicts."""
    if isinstance(content, Mapping):
        return bool(content) and all(map(_is_inputs, content.values()))
    if isinstance(content, (tuple, list)):
        return bool(content) and all(map(_is_inputs, content))
    return _is_tensor(content)


def _tensors(content: Any) -> Structure:
    """Inputs with tensors in place of arrays, and tuples in place of lists."""
    if isinstance(content, Mapping):
        return {str(key): _tensors(part) for key, part in content.items()}
    return tuple(map(_tensors, content)) if isinstance(content, (tuple, list)) else torch.as_tensor(content)


def _input(inputs: Any) -> Structure:
    """Inputs of a network as tensors `[images, ...]`, real numbers as float32. Raises DataError for pixels that nobody
    has scaled yet."""
    if not _is_inputs(inputs):
        raise DataError(
            f"a batch has inputs of type {type(inputs).__name__}; expected a tensor [images, ...], or a tuple or dict "
            "of tensors"
        )
    found = _tensors(inputs)
    if len({len(part) if part.ndim else -1 for part in tensors_in(found)}) != 1:
        raise DataError(f"inputs are {described(found)}; expected tensors with one axis 0, which counts the images")
    return mapped(found, _number)


def _number(found: Tensor) -> Tensor:
    if found.ndim == 0:
        raise DataError("a batch is a single number; expected a tensor [images, ...]")
    if found.dtype == torch.uint8:
        raise DataError(
            "inputs are bytes (uint8); expected numbers as the network was trained on, for example images.float() / 255"
        )
    return found.float() if found.is_floating_point() else found
