"""Energy, time and area of a whole chip: the arrays of norsim.evaluation.costs, and the circuits around them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from norsim.periphery.circuits.parts import (
    LayerWork,
    Parts,
    TileWork,
    added,
    layer_joules,
    layer_square_metres,
    shared_square_metres,
    sum_bits,
    tile_joules,
    tile_square_metres,
    times,
)
from norsim.periphery.circuits.table import Circuits
from norsim.tiling.modules import TiledLayer, tiled_layers
from norsim.tiling.tile import PlacedTile

CHIP_ASSUMPTIONS = (
    "published costs of single circuits, in the section cost.circuits of the chip file, where values without a source "
    "are marked as assumed; tiles are as large as the chip's, used or not; bitline volts come from linear regulators; "
    "each input bit is read from a buffer for each vector that has it, each output bit is written once, and both "
    "cross two thirds of the side of a square chip; a layer's buffer holds its outputs of one image; one pump and one "
    "reference a chip; clocks, control, decoders, pads, spare rows, the programming circuits and the layers that stay "
    "digital are left out"
)


@dataclass(frozen=True)
class LayerCosts:
    """A layer on a chip of `vectors` input vectors per image: `tiles` and their energy per read, the energy of the
    layer beside them per vector, areas in square metres, and the seconds of an image."""

    name: str
    vectors: float
    passes: int
    tiles: list[tuple[PlacedTile, Parts, Parts]]
    work: LayerWork
    circuits: Circuits
    macs: float
    seconds: float

    def square_metres(self) -> Parts:
        """Return its area by part."""
        return added(*(area for _, _, area in self.tiles), layer_square_metres(self.circuits, self.work))

    def joules(self, chip_square_metres: float) -> Parts:
        """Return its energy per image by part, on a chip of that area."""
        reads = times(self.vectors * self.passes, added(*(joules for _, joules, _ in self.tiles)))
        beside = times(self.vectors, layer_joules(self.circuits, self.work, chip_square_metres))
        return added(reads, beside, {"references": self.circuits.reference_watts * self.seconds})


def vectors_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the input vectors per image of each layer, from the rows of norsim.evaluation.costs.layer_table."""
    return {row["name"]: row["macs_image"] / (row["inputs"] * row["outputs"]) for row in rows}


def costs_of_layers(model: nn.Module, vectors: Mapping[str, float]) -> Iterator[LayerCosts]:
    """Yield the costs of each layer on the array of a calibrated network, with `vectors` input vectors per image."""
    for name, layer in tiled_layers(model).items():
        if not layer.stays_digital:
            yield _layer_costs(name, layer, vectors.get(name, 0.0))


def _layer_costs(name: str, layer: TiledLayer, vectors: float) -> LayerCosts:
    grid = layer.grid
    shape, chip = grid.layer, grid.chip
    circuits, passes = chip.costs.circuits, chip.encoding.passes(shape.input_bits)
    slots, shared = chip.encoding.slots(shape.input_bits), chip.outputs_per_converter
    conversions = min(max(part.conversions for part in grid.tiles), shared)
    seconds = chip.costs.for_bits(chip.adc_bits).read_seconds(conversions, slots)
    encoding = chip.encoding.for_weights(shape.weight_bits)
    rows = len({part.row for part in grid.tiles})
    place_values = float(encoding.place_values(passes).sum() * encoding.slice_values.sum())
    width = sum_bits(chip.adc_bits, rows * place_values)
    tiles = []
    for part in grid.tiles:
        work = TileWork(
            part.energy, seconds, chip.encoding.verify_volts[1], chip.wordlines * chip.bitlines,
            chip.wordlines if chip.encoding.inputs_on == "wordlines" else chip.bitlines,
            -(-part.conversions // shared), part.conversions, chip.adc_bits,
            part.conversions / passes if chip.calibration.column_fit else 0.0, width, chip.costs.converter,
        )  # fmt: skip
        tiles.append((part, tile_joules(circuits, work), tile_square_metres(circuits, work)))
    bits = shape.input_bits
    own = LayerWork(
        shape.outputs, width, (shape.inputs + shape.outputs) * bits, vectors * shape.outputs * bits
    )  # fmt: skip
    macs, busy = vectors * shape.inputs * shape.outputs, vectors * passes * seconds
    return LayerCosts(name, vectors, passes, tiles, own, circuits, macs, busy)


def chip_square_metres(layers: list[LayerCosts]) -> Parts:
    """Return the area of a chip with these layers, by part."""
    shared = shared_square_metres(layers[0].circuits) if layers else {}
    return added(*(layer.square_metres() for layer in layers), shared)


def chip_costs(layers: list[LayerCosts]) -> dict[str, Any]:
    """Return energy, time and area of a chip with these layers, with their parts.

    `joules_image` is the sum of `joules`, `square_metres` that of `areas`. `latency_seconds` is the time of an image
    alone, layer after layer; `interval_seconds` is the time from one image to the next if all layers work at once.
    `tops_per_watt` counts a multiply-accumulate as two operations; `tops` are those of images at that interval, and
    `tops_per_square_millimetre` these on that area. The three are None if no array is read.
    """
    areas = chip_square_metres(layers)
    square_metres = sum(areas.values())
    by_layer = {layer.name: layer.joules(square_metres) for layer in layers}
    joules = added(*by_layer.values())
    total, macs = sum(joules.values()), sum(layer.macs for layer in layers)
    interval = max((layer.seconds for layer in layers), default=0.0)
    tops = 2e-12 * macs / interval if interval else None
    return {
        "joules_image": total,
        "joules": joules,
        "tops_per_watt": 2e-12 * macs / total if total else None,
        "square_metres": square_metres,
        "areas": areas,
        "latency_seconds": sum(layer.seconds for layer in layers),
        "interval_seconds": interval,
        "tops": tops,
        "tops_per_square_millimetre": None if tops is None else tops / (1e6 * square_metres),
        "layers": [
            {"name": layer.name, "joules": by_layer[layer.name], "areas": layer.square_metres()} for layer in layers
        ],
        "assumptions": CHIP_ASSUMPTIONS,
    }
