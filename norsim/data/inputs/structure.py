"""Inputs, outputs and targets of networks: a tensor, or tensors in tuples and dicts, nested to any depth.

The first axis of every tensor counts samples: `[samples, ...]`. A list has one entry for each sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from norsim.errors import DataError

# A Tensor, or a tuple, list or dict of Structures.
Structure: TypeAlias = Any


def tensors_in(content: Structure) -> Iterator[Tensor]:
    """Yield the tensors of a structure, `[samples, ...]` each, in order; other values are left out."""
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, Mapping):
        for part in content.values():
            yield from tensors_in(part)
    elif isinstance(content, (tuple, list)):
        for part in content:
            yield from tensors_in(part)


def mapped(content: Structure, change: Callable[[Tensor], Any]) -> Structure:
    """Return the structure with `change` of each tensor `[samples, ...]` in its place; other values stay."""
    if isinstance(content, Tensor):
        return change(content)
    if isinstance(content, Mapping):
        return {key: mapped(part, change) for key, part in content.items()}
    if isinstance(content, (tuple, list)):
        parts = [mapped(part, change) for part in content]
        return parts if isinstance(content, list) else tuple(parts)
    return content


def count_of(content: Structure) -> int:
    """Return the number of samples: the length of the first tensor or list with an axis, 0 if there is none."""
    if isinstance(content, Mapping):
        return count_of(next(iter(content.values()), ()))
    if isinstance(content, tuple):
        return count_of(content[0]) if content else 0
    if isinstance(content, Tensor):
        return len(content) if content.ndim else 0
    return len(content) if hasattr(content, "__len__") else 0


def taken(content: Structure, chosen: slice | Tensor) -> Structure:
    """Return some samples, by a slice or by indices `[chosen]`, of each tensor `[samples, ...]` and list."""
    if isinstance(content, Tensor):
        return content[chosen]
    if isinstance(content, Mapping):
        return {key: taken(part, chosen) for key, part in content.items()}
    if isinstance(content, tuple):
        return tuple(taken(part, chosen) for part in content)
    if isinstance(content, list):
        return content[chosen] if isinstance(chosen, slice) else [content[place] for place in chosen.tolist()]
    if isinstance(content, np.ndarray):
        return content[chosen if isinstance(chosen, slice) else chosen.numpy()]
    return content


def split(content: Structure, size: int) -> Iterator[Structure]:
    """Yield parts of at most `size` samples, in order."""
    for start in range(0, count_of(content), size):
        yield taken(content, slice(start, start + size))


def joined(parts: Sequence[Structure]) -> Structure:
    """Join the inputs, outputs or targets of batches: tensors `[samples, ...]` and lists directly, dicts and tuples by
    part.

    Raises DataError for no batches, and for batches that differ in kind or shape.
    """
    if not parts:
        raise DataError("the data is empty: give at least one batch")
    try:
        return _joined(parts)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as problem:
        raise DataError(
            f"the first batch is {described(parts[0])} and the last {described(parts[-1])}; expected outputs and "
            "targets of one kind and shape in every batch"
        ) from problem


def _joined(parts: Sequence[Structure]) -> Structure:
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat([part if part.ndim else part[None] for part in parts])
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    if isinstance(first, Mapping):
        return {key: _joined([part[key] for part in parts]) for key in first}
    if isinstance(first, list):
        return [one for part in parts for one in part]
    if isinstance(first, tuple):
        return tuple(_joined(part) for part in zip(*parts, strict=True))
    return list(parts)


def described(content: Structure) -> str:
    """Return a description for messages."""
    if isinstance(content, Tensor):
        return f"a tensor {list(content.shape)}"
    if isinstance(content, Mapping):
        return "a dict of " + ", ".join(f"{key} {described(part)}" for key, part in content.items())
    if isinstance(content, (tuple, list)):
        return f"a {type(content).__name__} of " + ", ".join(map(described, content[:4]))
    return f"a {type(content).__name__}"


def shapes(content: Structure) -> str:
    """Return the shapes and types of all tensors for messages, such as `[8, 3, 32, 32] of torch.float32`."""
    return ", ".join(f"{list(part.shape)} of {part.dtype}" for part in tensors_in(content))
