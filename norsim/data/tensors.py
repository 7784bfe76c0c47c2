"""Data sets as torch tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from norsim.data import Dataset

BATCH = 100
Batches = Iterable[tuple[Tensor, Tensor]]


def images_tensor(data: Dataset) -> Tensor:
    """Return the images, `[images, channels, height, width]` float32 in [0, 1]."""
    return torch.from_numpy(data.images).float() / data.full_scale


def dataset_batches(data: Dataset) -> Batches:
    """Return batches of 100 images, `[images, channels, height, width]`, with their labels `[images]`."""
    images, labels = images_tensor(data), torch.from_numpy(data.labels)
    return zip(torch.split(images, BATCH), torch.split(labels, BATCH), strict=True)


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
