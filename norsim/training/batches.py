"""The training images on a device, in random order and augmented."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from norsim.training.images import augment, draw_moves, to_input
from norsim.training.recipes import AUGMENTATIONS, Recipe


class Batches:
    """Batches of training images.

    `pixels`     uint8 `[images, channels, h, w]`, with `labels` `[images]`; bytes count in `full_scale`
    `layout`     the memory format of a batch
    `generator`  draws order and augmentation in the processor's memory, so that they are the same on every device
    `mirrored`   whether each image is mirrored in every other epoch from the first on, `[images]`; the others are in
                 those between, so that each image is seen both ways sooner than by chance (Jordan, "94% on CIFAR-10 in
                 3.29 seconds on a single GPU", 2024)
    """

    def __init__(
        self, pixels: Tensor, labels: Tensor, full_scale: int, recipe: Recipe, layout: torch.memory_format,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.recipe, self.layout, self.full_scale = recipe, layout, full_scale
        self.generator = torch.Generator().manual_seed(recipe.seed)
        mirrored = torch.zeros(len(labels), dtype=torch.bool)
        if AUGMENTATIONS[recipe.augmentation][1]:
            mirrored = torch.rand(len(labels), generator=self.generator) < 0.5
        self.pixels, self.labels, self.mirrored = (part.to(device) for part in (pixels, labels, mirrored))
        self.size = min(recipe.batch_size, len(labels))

    def __len__(self) -> int:
        """Number of batches in an epoch: without an incomplete last one, because batch norm would give its few images
        too much weight."""
        return len(self.labels) // self.size

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images `[batch, channels, h, w]`, float32 in [0, 1], with labels `[batch]`, of epoch `number` from 0.

        Random numbers reach the device once an epoch, so that no batch waits for them.
        """
        device, kind = self.pixels.device, self.recipe.augmentation
        order = torch.randperm(len(self.labels), generator=self.generator)[: len(self) * self.size]
        size = self.pixels.shape[2:]
        moves = torch.stack([draw_moves(self.size, size, kind, self.generator) for _ in range(len(self))])
        mirrored = self.mirrored ^ bool(number % 2)
        for chosen, drawn in zip(order.view(-1, self.size).to(device), moves.to(device), strict=True):
            pixels = augment(self.pixels[chosen], mirrored[chosen], drawn, kind)
            yield to_input(pixels, self.full_scale, self.layout), self.labels[chosen]

    def observed(self) -> list[Tensor]:
        """Return batches of unaugmented images for a calibration, spread evenly over all."""
        stride = max(len(self.pixels) // self.recipe.calibration_images, 1)
        chosen = self.pixels[::stride][: self.recipe.calibration_images]
        return [to_input(part, self.full_scale, self.layout) for part in torch.split(chosen, self.recipe.batch_size)]
