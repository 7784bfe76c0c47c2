"""How a fine-tuning is done."""

from __future__ import annotations

from dataclasses import dataclass

from norsim.errors import ConfigurationError
from norsim.training.recipes import AUGMENTATIONS


@dataclass(frozen=True)
class Tuning:
    """Train for `steps` batches of `batch_size` images each, and program the tiles again every `refresh` steps.

    `rate`          Adam's learning rate of weights, in steps of their codes, falling to 0 along a cosine; a gain, shift
                    or bias moves by a tenth of that share of its layer's mean
    `distillation`  the share of the loss that follows the teacher at `temperature`

    Raises ConfigurationError for values that are not usable.
    """

    steps: int = 100
    refresh: int = 10
    batch_size: int = 64
    rate: float = 0.01
    distillation: float = 0.5
    temperature: float = 2.0
    augmentation: str = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "refresh", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigurationError(f"{name} is {value!r}; expected an integer of at least 1")
        for name in ("rate", "temperature"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not value > 0:
                raise ConfigurationError(f"{name} is {value!r}; expected a number above 0")
        if not isinstance(self.distillation, int | float) or not 0 <= self.distillation <= 1:
            raise ConfigurationError(f"distillation is {self.distillation!r}; expected 0 to 1")
        if self.augmentation not in AUGMENTATIONS:
            raise ConfigurationError(
                f"augmentation is {self.augmentation!r}; expected one of {', '.join(AUGMENTATIONS)}"
            )
