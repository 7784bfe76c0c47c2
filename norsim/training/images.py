"""Images as inputs of a network in training, augmented, and a check that they fit it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from norsim.data import Dataset
from norsim.errors import ConfigurationError
from norsim.evaluation.metrics import check_labels, scores_of
from norsim.quantization.forward import check_single_images, forward
from norsim.training.recipes import AUGMENTATIONS

# For pixels of 0 to 255.
GREY = 128


@torch.no_grad()
def check_fit(network: nn.Module, data: Dataset) -> None:
    """Raise ConfigurationError unless `network` has, for each image of `data` by itself, a score for each label."""
    mode, images = network.training, to_input(torch.from_numpy(data.images[:3]), data.full_scale)
    network.eval()
    try:
        check_single_images(network, images)
        check_labels(data.labels, scores_of(forward(network, images)))
    except ConfigurationError as problem:
        raise type(problem)(f"the {data.split} images of {data.name} do not fit the network: {problem}") from problem
    finally:
        network.train(mode)


def to_input(pixels: Tensor, full_scale: int, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    """Convert pixels uint8 `[n, channels, h, w]` to network input: float32 in [0, 1], in a memory format."""
    return pixels.to(torch.float32, memory_format=layout) / full_scale


def augment(pixels: Tensor, mirrored: Tensor, augmentation: str, generator: torch.Generator) -> Tensor:
    """Augment `pixels` uint8 `[n, channels, h, w]`: shift each image (zeros fill in), mirror those of `mirrored` `[n]`,
    and grey a square if the augmentation has one."""
    reach, mirror, hole = AUGMENTATIONS[augmentation]
    if not reach:
        return pixels
    count, _, height, width = pixels.shape
    padded = functional.pad(pixels, (reach,) * 4)
    top, left = torch.randint(2 * reach + 1, (2, count, 1), generator=generator)
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    if mirror:
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    images = torch.arange(count)[:, None, None]
    moved = padded[images, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if not hole:
        return moved
    y, x = (torch.randint(side, (count, 1), generator=generator) for side in (height, width))
    down, across = ((torch.arange(side) - at + hole // 2) for side, at in ((height, y), (width, x)))
    within = ((down >= 0) & (down < hole))[:, :, None] & ((across >= 0) & (across < hole))[:, None, :]
    return moved.masked_fill(within[:, None], GREY)
