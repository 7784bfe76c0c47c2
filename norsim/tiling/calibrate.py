"""Fit the converters and column corrections of tiled layers on training images."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from norsim.backends.registry import Progress
from norsim.jobs.unit_store import UnitStore
from norsim.jobs.workers import HERE, Workers
from norsim.periphery.encoding import Codes
from norsim.tiling.grid import TileGrid
from norsim.tiling.modules import (
    layer_codes,
    tiled_layers,
)
from norsim.tiling.reader import Reader


def calibrate(
    model: nn.Module,
    images: Tensor,
    backend: str = "macro",
    *,
    seed: int = 0,
    workers: Workers = HERE,
    progress: Progress | None = None,
    store: UnitStore | None = None,
) -> None:
    """Fit every layer's converters and column corrections in place, on training images alone.

    `images` `[images, channels, height, width]` show each layer the activations of the digital network.
    A layer whose backend is fixed to `ideal` is left as it is.
    """
    layers = {name: layer for name, layer in tiled_layers(model).items() if layer.fixed_backend != "ideal"}
    codes = layer_codes(model, images, layers)
    for name, layer in layers.items():
        own = Reader(layer.fixed_backend or backend, workers, progress, store=store)
        layer.grid = calibrate_layer(layer.grid, codes.pop(name), own, seed)


def calibrate_layer(grid: TileGrid, codes: Codes, reader: Reader, seed: int) -> TileGrid:
    """`grid` fitted on up to 2,048 of the `[vectors, inputs]` activation codes that its layer gets.

    The chip's calibration section says how many reads of them the array makes. What is drawn depends on
    the seed and the layer's name alone, so that a tile is fitted alike with or without its neighbours.
    """
    random = np.random.default_rng([seed, 1, *grid.layer.name.encode()])
    chosen = np.sort(random.choice(len(codes), min(CALIBRATION_VECTORS, len(codes)), replace=False))
    return grid.calibrate(codes[chosen], reader, random)


CALIBRATION_VECTORS = 2048
