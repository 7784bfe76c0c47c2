"""Tiles of a network with their measured moments, which aihwkit's inference tiles take over.

aihwkit (M. J. Rasch et al., AICAS 2021, DOI 10.1109/AICAS51828.2021.9458494; https://github.com/IBM/aihwkit) computes a
tile as a product of matrices with noise at its outputs. So each tile of norsim is reduced to that, by its reads of a
few images: for each output, the least-squares line in the exact sums,

    read = gain · exact + offset + residual,

and for the tile the standard deviation of the residuals. Gain and offset go into the weights and the digital bias of
aihwkit's tile, the standard deviation into its output noise. Mean and variance of the sums, over these reads, are then
norsim's. What the residuals depend on is lost: those of wires and converters depend on the input and come back for an
equal input, aihwkit's are drawn for each read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from norsim.data.inputs.structure import Structure, count_of
from norsim.exports.names import layers_on_array
from norsim.tiling.fit import fit_lines
from norsim.tiling.modules import TiledLayer, layer_codes
from norsim.tiling.tile import PlacedTile, TileRead

TILES = "tiles.json"
# Reads the tiles into aihwkit; copied beside them, since who uses it may not have norsim.
LOADER = Path(__file__).with_name("aihwkit_tiles.py")


def files(model: nn.Module, images: Structure) -> Iterator[tuple[str, str]]:
    """Return name and text of `tiles.json` and of `aihwkit_tiles.py`, which makes aihwkit's tiles from it.

    The moments are those of the reads of a calibrated network for `images` `[n, ...]`, by the backend that it was
    calibrated with. Raises ConfigurationError for a network without a layer on the array.
    """
    layers = layers_on_array(model, "tiles to export")
    codes, count = layer_codes(model, images, list(layers)), count_of(images)
    found = {name: _layer(layer, codes[name], count) for name, layer in layers.items()}
    content = {"images": count, "layers": found}
    return iter([(TILES, json.dumps(content) + "\n"), (LOADER.name, LOADER.read_text())])


def _layer(layer: TiledLayer, codes: Any, images: int) -> dict[str, Any]:
    quantized, grid = layer.grid.layer, layer.grid
    reads = grid.read_whole(codes, layer.reader_of_call(images))
    tiles = [_tile(part, codes, read) for part, read in zip(grid.tiles, reads, strict=True)]
    return {
        "inputs": quantized.vector_length, "outputs": quantized.outputs,
        "weight_bits": quantized.weight_bits, "input_bits": quantized.input_bits,
        "weight_scale": quantized.weight_scale.tolist(), "input_scale": quantized.input_scale,
        "input_zero": quantized.input_zero, "zero_sums": np.asarray(quantized.zero_sums).tolist(),
        "bias": None if quantized.bias is None else quantized.bias.tolist(), "tiles": tiles,
    }  # fmt: skip


def _tile(part: PlacedTile, codes: Any, read: TileRead) -> dict[str, Any]:
    gain, offset, sigma = moments(part, codes, read)
    signed = part.weights_in_layer_order.T.astype(np.int64) - part.layer.weight_zero
    return {
        "row": part.row, "column": part.column, "inputs": [part.inputs.start, part.inputs.stop],
        "outputs": [part.outputs.start, part.outputs.stop], "weights": signed.tolist(),
        "gain": gain.tolist(), "offset": offset.tolist(), "sigma": sigma,
    }  # fmt: skip


def moments(part: PlacedTile, codes: Any, read: TileRead) -> tuple[Any, Any, float]:
    """Return gain and offset `[outputs]` of a tile's sums, and the standard deviation of what is left, in code steps,
    for the `read` of activation codes `[vectors, inputs]` of its layer."""
    exact, sums = part.ideal_sums(codes), np.asarray(read.sums, dtype=np.float64)
    gain, offset = fit_lines(exact, sums, np.ones(len(exact)), flat_slope=1.0)
    return gain, offset, float(np.std(sums - (gain * exact + offset)))
