"""How a fine-tuning is done."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """`steps` of `batch_size` images each, tiles programmed anew every `refresh` of them.

    `rate`          Adam's learning rate of weights, in steps of their codes, falling to 0 along a cosine; a gain, shift
                    or bias moves by a tenth of that share of its layer's mean
    `distillation`  the share of the loss that follows the teacher at `temperature`
    """

    steps: int = 100
    refresh: int = 10
    batch_size: int = 64
    rate: float = 0.01
    distillation: float = 0.5
    temperature: float = 2.0
    augmentation: str = "none"
    seed: int = 0
