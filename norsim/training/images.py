"""Images as inputs of a network in training, augmented. Needs torch alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from norsim.training.recipes import AUGMENTATIONS

# For pixels of 0 to 255.
GREY = 128


def to_input(pixels: Tensor, full_scale: int, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    """Convert pixels uint8 `[n, channels, h, w]` to network input: float32 in [0, 1], in a memory format."""
    return pixels.to(torch.float32, memory_format=layout) / full_scale


def draw_moves(count: int, size: Sequence[int], augmentation: str, generator: torch.Generator) -> Tensor:
    """Draw what is random in the augmentation of `count` images of `size` (height, width): int64 `[draws, count, 1]`,
    the first row and column of the shifted image, and those of the middle of the grey square."""
    reach, _, hole = AUGMENTATIONS[augmentation]
    if not reach:
        return torch.empty(0, count, 1, dtype=torch.int64)
    drawn = [torch.randint(2 * reach + 1, (2, count, 1), generator=generator)]
    if hole:
        drawn += [torch.randint(side, (1, count, 1), generator=generator) for side in size]
    return torch.cat(drawn)


def augment(pixels: Tensor, mirrored: Tensor, moves: Tensor, augmentation: str) -> Tensor:
    """Augment `pixels` uint8 `[n, channels, h, w]` by `moves` `[draws, n, 1]`, on their device: shift each image (zeros
    fill in), mirror those of `mirrored` `[n]`, and grey a square if the augmentation has one."""
    reach, mirror, hole = AUGMENTATIONS[augmentation]
    if not reach:
        return pixels
    count, _, height, width = pixels.shape
    images, down, across = (torch.arange(length, device=pixels.device) for length in (count, height, width))
    padded = functional.pad(pixels, (reach,) * 4)
    rows, columns = moves[0] + down, moves[1] + across
    if mirror:
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    moved = padded[images[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if not hole:
        return moved
    down, across = (places - at + hole // 2 for places, at in ((down, moves[2]), (across, moves[3])))
    within = ((down >= 0) & (down < hole))[:, :, None] & ((across >= 0) & (across < hole))[:, None, :]
    return moved.masked_fill(within[:, None], GREY)
