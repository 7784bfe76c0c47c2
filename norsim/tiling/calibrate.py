"""Fit the converters and column corrections of tiled layers to training images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import nn

from norsim.backends.backend import Backend, Progress
from norsim.backends.registry import backend_named
from norsim.caches.arrays import FITS
from norsim.data.batches import Data, first_inputs
from norsim.data.inputs.structure import Structure
from norsim.data.tensors import identity_of
from norsim.jobs.phases import Report, silent, step
from norsim.jobs.unit_store import UnitStore, unit_key
from norsim.jobs.workers import HERE, Workers
from norsim.periphery.code_vectors import CodeVectors
from norsim.periphery.encoding import Codes
from norsim.random_streams import Stream, generator
from norsim.tiling.convert import converted_layers, fingerprint
from norsim.tiling.fit import fit_as_vector, with_fit
from norsim.tiling.grid import TileGrid
from norsim.tiling.modules import TiledLayer, layer_vectors
from norsim.tiling.read_noise import ReadNoise
from norsim.tiling.reader import Reader
from norsim.zoo.attributes import has_own_code, is_ours

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
    `macro`, tiles of a layer, and so does `report("calibrate LAYER", done, total)`. The fits are kept on disk by the
    content of network, chip and inputs, so that no later run reads the array for the same ones; those of user-supplied
    code are not, because its results may depend on anything. Raises ConfigurationError for a network that was not
    converted, DataError for unsuitable data.
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
            inputs = first_inputs(data, count)
            key = _key(model, on_array, wanted, inputs, seed)
            kept = None if key is None else FITS.get(key)
            codes = layer_vectors(model, inputs, on_array) if kept is None else {}
        for place, (name, layer) in enumerate(on_array.items()):
            report(f"calibrate {name}", 0, len(layer.grid.tiles))
            reader = Reader(layer.backend_with(wanted), workers, tell, "calibrate", store=store)
            if kept is None:
                layer.grid = fit_layer(layer.grid, codes.pop(name), reader, seed)
            else:
                grid = layer.grid if layer.grid.arrays else layer.grid.program(reader.backend)
                layer.grid = replace(grid, tiles=with_fit(grid.tiles, kept[str(place)]), calibrated=True)
                tell(f"calibrate {name}", len(grid.tiles), len(grid.tiles))
        if key is not None and kept is None:
            FITS.put(key, {str(n): fit_as_vector(one.grid.tiles) for n, one in enumerate(on_array.values())})
    for layer in layers.values():
        layer.use(Reader(wanted, noise=ReadNoise(seed)))


def fits_are_kept(model: nn.Module, backend: Backend, inputs: Structure, seed: int) -> bool:
    """Return whether `calibrate` finds the fits of a converted network to `inputs` `[images, ...]` on disk."""
    layers = {name: layer for name, layer in converted_layers(model).items() if not layer.stays_digital}
    key = _key(model, layers, backend, inputs, seed)
    return key is not None and FITS.has(key)


def _key(
    model: nn.Module, layers: Mapping[str, TiledLayer], backend: Backend, inputs: Structure, seed: int
) -> str | None:  # fmt: skip
    """Return the key of the fits of `layers`, those of a converted network on the array, to `inputs` `[images, ...]`;
    None if user-supplied code takes part in them."""
    used = [layer.backend_with(backend) for layer in layers.values()]
    ours = all(
        is_ours(part) for one, layer in zip(used, layers.values(), strict=True) for part in (one, layer.grid.chip)
    )
    if not ours or has_own_code(model):
        return None
    versions = [
        sorted(one.versions([layer.grid.chip.cell]).items()) for one, layer in zip(used, layers.values(), strict=True)
    ]
    return unit_key("fits", fingerprint(model, backend), *identity_of(inputs), seed, versions)


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
