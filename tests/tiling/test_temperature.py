"""A network read at 85 degC: uncompensated, with a reference that follows temperature, and with converters fitted hot.

The converters of the first two are fitted at 27 degC, where the cells were programmed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import norsim
from norsim.chip.load import load_chip
from norsim.data import load
from norsim.data.tensors import images_tensor
from norsim.tiling.fit import at_reference
from norsim.tiling.modules import tiled_layers

HOT = ("silicon.programmed_at=27 degC", "temperature=85 degC")
KINDS = {
    "uncompensated": ("calibration.fresh=true",),
    "ratiometric": ("calibration.fresh=true", "adc.reference=ratiometric"),
    "recalibrated": (),
}
CIFAR10 = Path("/work/shared/data/cifar10")


def on_array(network: nn.Module, images: torch.Tensor, *settings: str) -> nn.Module:
    """Return the network on small tiles of the preset, read by macro."""
    size = ("tile.wordlines=20", "tile.bitlines=16", "calibration.images=64", "calibration.reads=64")
    analog = norsim.convert(norsim.quantize(network, [images[:256]]), load_chip("etox65", (*size, *settings)))
    norsim.calibrate(analog, images[:64], backend="macro")
    return analog
