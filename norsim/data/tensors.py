"""Data sets as torch tensors."""

from __future__ import annotations

from collections.abc import Iterable

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
