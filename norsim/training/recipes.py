"""Training recipes of the networks in the zoo."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from norsim.errors import ConfigurationError
from norsim.quantization.by_layer.bits import read_bits
from norsim.quantization.post_training.ranges import MSE, read_range

# Largest translation in pixels, whether images are mirrored, and the side of the square greyed at a random place
# (DeVries and Taylor, "Improved regularization of convolutional neural networks with Cutout", 2017).
AUGMENTATIONS = {
    "none": (0, False, 0),
    "shift": (1, False, 0),
    "crop-flip": (4, True, 0),
    "crop-flip-cutout": (4, True, 8),
}


@dataclass(frozen=True)
class Recipe:
    """All settings of a training apart from the network and the data.

    `float_rate` and `quantized_rate` are peak learning rates; `ema_decay` 0 turns the moving average of
    the weights off; `distillation` is the share (0 to 1) of the quantized loss that follows the float
    network's outputs at `temperature` (Hinton et al. 2015) instead of the labels. With `precision` bfloat16,
    convolutions and linear layers multiply in it during training, which is faster on processors that support
    it; weights and the accuracies of the result are still float32. `bits` are the widths of codes, as text for
    norsim.quantization.by_layer.bits.read_bits; `activation_range`, as text, and `learned_rounding` are those of
    `norsim.quantize`.
    """

    float_epochs: int
    quantized_epochs: int
    batch_size: int
    float_rate: float
    quantized_rate: float
    weight_decay: float = 5e-4
    momentum: float = 0.9
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    augmentation: Literal["none", "shift", "crop-flip", "crop-flip-cutout"] = "none"
    distillation: float = 0.0
    temperature: float = 2.0
    precision: Literal["float32", "bfloat16"] = "float32"
    calibration_images: int = 512
    bits: str = "4/4"
    activation_range: str = MSE
    learned_rounding: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.augmentation not in AUGMENTATIONS:
            known = ", ".join(AUGMENTATIONS)
            raise ConfigurationError(f"augmentation is {self.augmentation!r}; expected one of {known}")
        if self.precision not in ("float32", "bfloat16"):
            raise ConfigurationError(f"precision is {self.precision!r}; expected float32 or bfloat16")
        read_bits(self.bits)
        read_range(self.activation_range)
        for field in ("label_smoothing", "ema_decay", "distillation", "momentum"):
            if not 0 <= getattr(self, field) <= 1:
                raise ConfigurationError(f"{field} is {getattr(self, field)}; expected 0 to 1")
        for field in ("batch_size", "calibration_images", "float_rate", "quantized_rate", "temperature"):
            if not getattr(self, field) > 0:
                raise ConfigurationError(f"{field} is {getattr(self, field)}; expected above 0")


# For a GPU: batches that fill one.
_FULL_WIDTH = Recipe(
    80, 16, 512, 0.2, 0.02, label_smoothing=0.1, ema_decay=0.999, augmentation="crop-flip-cutout", distillation=0.5,
    precision="bfloat16",
)  # fmt: skip

# For a trained float network: only its scales and zero points are fitted to training images.
POST_TRAINING = Recipe(0, 0, 128, 0.1, 0.02)

# The recipe of each network at any width.
RECIPES = {
    "digits-cnn": Recipe(60, 40, 64, 0.1, 0.02, ema_decay=0.99, augmentation="shift"),
    "alexnet": _FULL_WIDTH,
    "vgg16": replace(_FULL_WIDTH, quantized_epochs=14),
    "resnet18": replace(_FULL_WIDTH, float_epochs=60, quantized_epochs=12, float_rate=0.3),
    "resnet20": Recipe(
        45, 4, 128, 0.2, 0.04, label_smoothing=0.05, ema_decay=0.999, augmentation="crop-flip", distillation=0.5,
        precision="bfloat16",
    ),
}  # fmt: skip
