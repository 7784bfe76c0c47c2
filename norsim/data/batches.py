"""The kinds of data that every function takes, as batches of inputs and targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.utils.data
from torch import Tensor

from norsim.data.dataset import Dataset
from norsim.data.tensors import BATCH, images_tensor
from norsim.errors import DataError

# The ratio from which the ranges of two sets of inputs are not the same.
RANGE = 32
# A norsim data set, a torch Dataset or DataLoader, a pair (inputs, targets) of tensors, or batches: inputs, or pairs.
Data: TypeAlias = "Dataset | torch.utils.data.Dataset[Any] | Iterable[Any]"
KINDS = (
    "a DataLoader, a torch Dataset, a pair (inputs, targets) of tensors, a norsim data set, or an iterable of batches"
)


def batches_of(data: Data, size: int = BATCH) -> Iterator[tuple[Tensor, Any]]:
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
        if inputs.is_floating_point() and not torch.isfinite(inputs).all():
            raise DataError(
                "inputs hold numbers that are not finite, NaN or infinity; expected finite ones in all of them"
            )
        yield inputs, targets


def inputs_of(data: Data, size: int = BATCH) -> Iterator[Tensor]:
    """Batches of inputs `[images, ...]`, of data with or without targets. Raises DataError as `batches_of` does."""
    return (inputs for inputs, _ in _batches(data, size))


def first_inputs(data: Data, count: int) -> Tensor:
    """The first `count` inputs of data, or all where it has fewer: `[images, ...]`. Raises DataError for no input."""
    found: list[Tensor] = []
    have = 0
    for inputs in inputs_of(data):
        found.append(inputs[: count - have])
        have += len(found[-1])
        if have >= count:
            break
    if not have:
        raise DataError("the data is empty: give at least one batch of inputs")
    return torch.cat(found)


def check_range(inputs: Tensor, known: Tensor) -> None:
    """Raise DataError if real `inputs` `[images, ...]` have another range than those a network was calibrated with.

    `known` are those, `[images, ...]`. Only ranges that differ as bytes differ from fractions count.
    """
    if not (inputs.is_floating_point() and known.is_floating_point() and inputs.numel() and known.numel()):
        return
    largest, usual = float(inputs.abs().max()), float(known.abs().max())
    if largest > RANGE * usual > 0 or 0 < largest < usual / RANGE:
        raise DataError(
            f"inputs go up to {largest:.4g}, but those of the calibration go up to {usual:.4g}; scale both in the same "
            "way, for example to 0 to 1"
        )


def size_of(data: Data) -> int:
    """The number of inputs of data, 0 where that is not known before they are read."""
    held = data.dataset if isinstance(data, torch.utils.data.DataLoader) else data
    held = held[0] if isinstance(held, tuple) and held else held
    if not isinstance(held, (Dataset, torch.utils.data.Dataset, Tensor, np.ndarray)):
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


def _batches(data: Data, size: int) -> Iterator[tuple[Tensor, Any]]:
    """Batches, with None for targets where there are none."""
    if isinstance(data, Dataset):
        labels = torch.from_numpy(data.labels)
        yield from zip(torch.split(images_tensor(data), size), torch.split(labels, size), strict=True)
    elif isinstance(data, torch.utils.data.Dataset):
        yield from map(_pair, torch.utils.data.DataLoader(data, batch_size=size))
    elif isinstance(data, (Tensor, np.ndarray)):
        yield from ((_input(part), None) for part in torch.split(torch.as_tensor(data), size))
    elif isinstance(data, tuple) and len(data) == 2 and all(isinstance(part, (Tensor, np.ndarray)) for part in data):
        inputs, targets = (torch.as_tensor(part) for part in data)
        if inputs.ndim == 0 or targets.ndim == 0 or len(inputs) != len(targets):
            raise DataError(
                f"inputs of shape {list(inputs.shape)} and targets of shape {list(targets.shape)} do not belong "
                "together; expected as many targets as inputs"
            )
        for some, answers in zip(torch.split(inputs, size), torch.split(targets, size), strict=True):
            yield _input(some), answers
    elif isinstance(data, Iterable) and not isinstance(data, (str, bytes, dict)):
        yield from map(_pair, data)
    else:
        raise DataError(f"data is a {type(data).__name__}; expected {KINDS}")


def _pair(batch: Any) -> tuple[Tensor, Any]:
    """A batch as inputs and targets; None for no targets."""
    if isinstance(batch, (tuple, list)) and len(batch) in (1, 2):
        return _input(batch[0]), batch[1] if len(batch) == 2 else None
    if isinstance(batch, (Tensor, np.ndarray)):
        return _input(batch), None
    held = f"{len(batch)} parts" if isinstance(batch, (tuple, list)) else f"a {type(batch).__name__}"
    raise DataError(f"a batch holds {held}; expected a tensor of inputs, or a pair (inputs, targets)")


def _input(inputs: Any) -> Tensor:
    """Inputs of a network as a tensor `[images, ...]`, real numbers as float32. Raises DataError for pixels that nobody
    has scaled yet."""
    if not isinstance(inputs, (Tensor, np.ndarray)):
        raise DataError(f"a batch has inputs of type {type(inputs).__name__}; expected a tensor [images, ...]")
    found = torch.as_tensor(inputs)
    if found.ndim == 0:
        raise DataError("a batch is a single number; expected a tensor [images, ...]")
    if found.dtype == torch.uint8:
        raise DataError(
            "inputs are bytes (uint8); expected numbers as the network was trained on, for example images.float() / 255"
        )
    return found.float() if found.is_floating_point() else found
