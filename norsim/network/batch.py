"""One batch of images on the array: what a run is made of, and what is kept of it when the run is interrupted."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from norsim.array.tile import Stimulus
from norsim.network.layers import digital, reading, tiled_layers
from norsim.network.placement import TileGrid
from norsim.network.quantized import QuantizedLayer
from norsim.network.reader import Reader
from norsim.network.verify import Sample, Sampler
from norsim.spice.ngspice import find_ngspice, version_line
from norsim.units import UnitStore, unit_key

Predictions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class BatchResult:
    """`array`, `quantized`   `[images]`: the classes that the array and the integers give
    `samples`   reads kept for the proof
    `reads`     reads made, by layer
    """

    array: Predictions
    quantized: Predictions
    samples: list[Sample]
    reads: Counter[str]


def run_batch(model: nn.Module, images: Tensor, reader: Reader, sampler: Sampler) -> BatchResult:
    """Classify `[images, channels, height, width]` digitally and by `reader`, watched by `sampler`."""
    with digital(model):
        quantized = classes(model, images)
    with reading(model, reader):
        array = classes(model, images)
    return BatchResult(array, quantized, sampler.samples(), sampler.reads)


def classes(model: nn.Module, images: Tensor) -> Predictions:
    """`[images]`: the class the network gives each image."""
    with torch.inference_mode():
        found: Predictions = model(images).argmax(dim=1).numpy()
    return found


def fingerprint(model: nn.Module, backend: str) -> str:
    """A hash of all that decides what a converted network makes of an image, its converters' fit included."""
    simulator = None if backend == "ideal" else version_line(find_ngspice())
    parts: list[object] = [torch.__version__, np.__version__, simulator, backend, str(model)]
    parts += [(name, value.numpy().tobytes().hex()) for name, value in model.state_dict().items()]
    for name, layer in tiled_layers(model).items():
        parts += [name, layer.fixed_backend, repr(layer.grid.chip), *_of_layer(layer.grid.layer)]
        for tile in layer.grid.tiles:
            parts += [tile.name, repr(tile.adc), tile.gain.tobytes().hex(), tile.offset.tobytes().hex()]
    return unit_key(*parts)


def _of_layer(layer: QuantizedLayer) -> list[str]:
    values = [getattr(layer, field.name) for field in fields(layer)]
    return [value.tobytes().hex() if isinstance(value, np.ndarray) else repr(value) for value in values]


def keep(store: UnitStore, key: str, result: BatchResult) -> None:
    """Put a batch into a store: its samples first, because the batch counts as done once its classes are there."""
    store.put(f"{key}-samples", _samples_table(result.samples))
    columns = {"array": result.array, "quantized": result.quantized}
    store.put(key, pa.table(columns).replace_schema_metadata({"reads": json.dumps(result.reads)}))


def find(store: UnitStore, key: str, grids: Mapping[str, TileGrid]) -> BatchResult | None:
    """The batch of that name, its samples on the tiles of `grids` by layer; None where the store lacks it."""
    kept, samples = store.get(key), store.get(f"{key}-samples")
    if kept is None or samples is None:
        return None
    array, quantized = (np.array(kept[name].to_numpy(), dtype=np.int64) for name in ("array", "quantized"))
    reads = Counter(json.loads(kept.schema.metadata[b"reads"]))
    return BatchResult(array, quantized, [_sample(row, grids) for row in samples.to_pylist()], reads)


def batch_key(print_of_model: str, index: int, images: Tensor, per_tile: int, seed: int) -> str:
    """The name of a batch as a unit."""
    pixels = hashlib.sha256(images.contiguous().numpy().tobytes()).hexdigest()
    return unit_key("batch", print_of_model, index, pixels, tuple(images.shape), per_tile, seed)


def _samples_table(samples: Sequence[Sample]) -> pa.Table:
    """One row a read: its place, its random key, its volts and what came of it."""
    volts, amps = {"unit": "V"}, {"unit": "A"}
    schema = pa.schema([
        pa.field("layer", pa.string()), pa.field("row", pa.int32()), pa.field("column", pa.int32()),
        pa.field("key", pa.float64()), pa.field("wordline_volts", pa.list_(pa.float64()), metadata=volts),
        pa.field("bitline_volts", pa.list_(pa.float64()), metadata=volts),
        pa.field("amps", pa.list_(pa.float64()), metadata=amps), pa.field("adc", pa.list_(pa.int32())),
    ])  # fmt: skip
    rows = [
        {
            "layer": sample.part.layer.name, "row": sample.part.row, "column": sample.part.column, "key": sample.key,
            "wordline_volts": sample.stimulus.wordline_volts[0], "bitline_volts": sample.stimulus.bitline_volts[0],
            "amps": sample.amps, "adc": sample.adc,
        }
        for sample in samples
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema)


def _sample(row: Mapping[str, object], grids: Mapping[str, TileGrid]) -> Sample:
    wordlines, bitlines = (np.array([row[name]], dtype=np.float64) for name in ("wordline_volts", "bitline_volts"))
    part = grids[str(row["layer"])].at(int(str(row["row"])), int(str(row["column"])))
    amps, adc = np.array(row["amps"], dtype=np.float64), np.array(row["adc"], dtype=np.int32)
    return Sample(float(str(row["key"])), part, Stimulus(wordlines, bitlines), amps, adc)
