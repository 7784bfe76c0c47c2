"""Data sets as torch tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from norsim.data import Dataset, Samples
from norsim.data.inputs.structure import Structure, mapped, tensors_in

BATCH = 100


def images_tensor(data: Dataset) -> Tensor:
    """Return the images, `[images, channels, height, width]` float32 in [0, 1]."""
    return torch.from_numpy(data.images).float() / data.full_scale


def tensors_of(data: Dataset | Samples) -> tuple[Structure, Structure]:
    """Return inputs and targets as tensors `[samples, ...]`: of a Dataset images float32 in [0, 1], and labels."""
    if isinstance(data, Dataset):
        return images_tensor(data), torch.from_numpy(data.labels)
    return _tensors(data.inputs), _tensors(data.targets)


def _tensors(content: Any) -> Structure:
    if isinstance(content, np.ndarray):
        return torch.from_numpy(content)
    if isinstance(content, Mapping):
        return {key: _tensors(part) for key, part in content.items()}
    parts = map(_tensors, content)
    return list(parts) if isinstance(content, list) else tuple(parts)


def digest_of(values: Iterable[Any]) -> str:
    """Return the SHA-256 of tensors of any shape such as `[n]`, type and layout, and of other values by their text."""
    found = hashlib.sha256()
    for value in values:
        if not isinstance(value, Tensor):
            found.update(repr(value).encode())
            continue
        found.update(f"{value.dtype} {value.layout} {list(value.shape)} {value.is_quantized}".encode())
        dense = value.detach().cpu()
        dense = dense.int_repr() if dense.is_quantized else dense if dense.layout == torch.strided else dense.to_dense()
        # A copy, because a tensor that is contiguous already may have any strides along axes of length 0 or 1.
        plain = dense.clone(memory_format=torch.contiguous_format)
        found.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def identity_of(content: Structure) -> list[object]:
    """Return what tells tensors `[samples, ...]` in a structure from others: values, order in memory, and names."""
    parts = list(tensors_in(content))
    # The order in memory too: sums depend on it to the last bit.
    strides = [part.stride() if part.layout == torch.strided else () for part in parts]
    return [digest_of(parts), strides, mapped(content, lambda part: None)]
