"""Fit the converters and column corrections of tiled layers to training images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import nn

from norsim.backends.backend import Progress
from norsim.backends.registry import backend_named
from norsim.data.batches import Data, first_inputs
from norsim.jobs.phases import Report, silent, step
from norsim.jobs.unit_store import UnitStore
from norsim.jobs.workers import HERE, Workers
from norsim.periphery.code_vectors import CodeVectors
from norsim.periphery.encoding import Codes
from norsim.random_streams import Stream, generator
from norsim.tiling.convert import converted_layers
from norsim.tiling.grid import TileGrid
from norsim.tiling.modules import layer_vectors
from norsim.tiling.read_noise import ReadNoise
from norsim.tiling.reader import Reader

CALIBRATION_VECTORS = 2048


def calibrate(
    model: nn.Module,
    data: Data,
    backend: str = "macro",
    *,
    seed: int = 0,
    workers: Workers = HERE,
    progress: Progress | None = None,
    report: Report = silent,
    store: UnitStore | None = None,
) -> None:
    """Fit the converters and column corrections of every layer in place; afterwards `backend` reads the network.

    The first inputs of `data`, up to the chip's `calibration.images`, determine the activations of each layer in the
    digital network. `data` is training data of any kind that `norsim.deploy` accepts. Tiles that are not programmed yet
    are programmed first. Digital layers do not change. `progress(done, total)` counts decks or, with
    `macro`, tiles of a layer, and so does `report("calibrate LAYER", done, total)`. Raises ConfigurationError
    for a network that was not converted, DataError for unsuitable data.
    """
    wanted, layers = backend_named(backend), converted_layers(model)
    on_array = {name: layer for name, layer in layers.items() if not layer.stays_digital}
    if on_array:
        count = max(layer.grid.chip.calibration.images for layer in on_array.values())

        def tell(what: str, done: int, total: int) -> None:
            report(what, done, total)
            if progress:
                progress(done, total)

        with step(report, "calibrate"):
            codes = layer_vectors(model, first_inputs(data, count), on_array)
        for name, layer in on_array.items():
            report(f"calibrate {name}", 0, len(layer.grid.tiles))
            reader = Reader(layer.backend_with(wanted), workers, tell, "calibrate", store=store)
            layer.grid = fit_layer(layer.grid, codes.pop(name), reader, seed)
    for layer in layers.values():
        layer.use(Reader(wanted, noise=ReadNoise(seed)))


def fit_layer(grid: TileGrid, codes: Codes | CodeVectors, reader: Reader, seed: int) -> TileGrid:
    """Return `grid`, programmed if necessary, fitted to up to 2,048 of its layer's `[vectors, inputs]` input codes.

    The chip's calibration section sets the number of reads. Random draws depend only on the seed and the layer's name,
    so the fit of a tile does not depend on its neighbours. Noise is drawn for the calibration alone: the fit never sees
    that of an evaluation.
    """
    random = generator(seed, Stream.CALIBRATION_READS, *grid.layer.name.encode())
    chosen = np.sort(random.choice(len(codes), min(CALIBRATION_VECTORS, len(codes)), replace=False))
    programmed = grid if grid.arrays else grid.program(reader.backend)
    return programmed.fit(codes[chosen], replace(reader, noise=ReadNoise(seed, Stream.CALIBRATION_NOISE)), random)
