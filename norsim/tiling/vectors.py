"""Activation vectors for a layer or a tile: drawn from a data set, or read from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import nn

from norsim.data import Dataset, Samples
from norsim.data.tensors import tensors_of
from norsim.errors import ConfigurationError, DataError
from norsim.periphery.encoding import Codes
from norsim.quantization.layer import QuantizedLayer
from norsim.random_streams import Stream, generator
from norsim.tiling.modules import layer_vectors
from norsim.tiling.tile import PlacedTile

IMAGES = 64


def draw_vectors(model: nn.Module, name: str, data: Dataset | Samples, count: int, seed: int) -> Codes:
    """Return `[count, inputs]` activation codes of layer `name`, drawn from those of the first 64 images of `data`.

    Raises ConfigurationError if there are fewer than `count`.
    """
    codes = layer_vectors(model, tensors_of(data.take(min(IMAGES, len(data)), None))[0], [name])[name]
    if not 1 <= count <= len(codes):
        raise ConfigurationError(
            f"layer {name!r} has {len(codes)} activation vectors in {min(IMAGES, len(data))} images, but {count} were "
            "requested"
        )
    random = generator(seed, Stream.TEST_VECTORS)
    return codes[np.sort(random.choice(len(codes), count, replace=False))]


def read_vectors(path: Path, layer: QuantizedLayer, part: PlacedTile | None) -> Codes:
    """Return `[vectors, layer inputs]` codes from a NumPy file of `[vectors, inputs]` integers.

    The file is for the inputs of the tile `part`, if given (the layer's other inputs become 0), else for those of the
    whole layer. Raises DataError for any other content.
    """
    try:
        # Mapping fails before anything is allocated unless the file is as long as its header says.
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as problem:  # whatever a damaged header makes NumPy raise, SyntaxError among it
        raise DataError(f"{path} cannot be read as a NumPy file of activation codes: {problem}") from None
    inputs = part.inputs if part else range(layer.vector_length)
    top = 2**layer.input_bits - 1
    if not isinstance(loaded, np.ndarray) or loaded.ndim != 2 or loaded.shape[1] != len(inputs) or not len(loaded):
        shape = f"an array of shape {loaded.shape}" if isinstance(loaded, np.ndarray) else "no single array"
        raise DataError(f"{path} holds {shape}; expected activation codes [vectors, {len(inputs)}]")
    if loaded.dtype.kind not in "iu" or loaded.min() < 0 or loaded.max() > top:
        raise DataError(f"{path}: expected integer activation codes from 0 to {top}")
    codes = np.zeros((len(loaded), layer.vector_length), dtype=np.uint8)
    codes[:, inputs.start : inputs.stop] = loaded
    return codes
