"""Energies, areas and counts of each tile as YAML that Accelergy reads.

Accelergy (Y. N. Wu, J. S. Emer and V. Sze, ICCAD 2019; https://github.com/Accelergy-Project/accelergy) multiplies the
counts of actions of each component by the energies in an energy reference table (ERT), in picojoules, and lists areas
in an area reference table (ART), in square micrometres. The components here are the parts of each tile, of each layer
and of the chip (norsim.evaluation.chip_costs), such as `chip.conv1.tile_0_0.converters`. So the estimate of Accelergy
for an image is the energy that norsim reports, and other counts of reads can be put in the place of these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from torch import nn

from norsim.data.inputs.structure import Structure, taken
from norsim.errors import ConfigurationError
from norsim.evaluation.chip_costs import LayerCosts, chip_square_metres, costs_of_layers
from norsim.exports.names import plain_names
from norsim.periphery.circuits.parts import layer_joules, layer_square_metres, shared_square_metres
from norsim.tiling.modules import layer_vectors

# The version of Accelergy's files.
VERSION = 0.4
HEADS = {
    "ERT.yaml": "Energy of each action, pJ: a read of a tile, an input vector of a layer, an image",
    "ART.yaml": "Area of each component, square micrometres",
    "action_counts.yaml": "Actions of an image",
}


@dataclass(frozen=True)
class Component:
    """A part of a chip: its full name, its action with joules and its count in an image, and its square metres. None
    for a part that takes no energy or no area."""

    name: str
    action: str
    count: float
    joules: float | None
    square_metres: float | None


def files(model: nn.Module, images: Structure) -> Iterator[tuple[str, str]]:
    """Return name and text of `ERT.yaml`, `ART.yaml` and `action_counts.yaml` of a calibrated network.

    The first of the `images` `[n, ...]` gives the number of input vectors of each layer. Raises ConfigurationError for
    a network without a layer on the array, or with two layers whose names differ only in characters that these files
    do not allow."""
    vectors = {name: float(len(codes)) for name, codes in layer_vectors(model, taken(images, slice(1))).items()}
    layers = list(costs_of_layers(model, vectors))
    if not layers:
        raise ConfigurationError("no layer of the network is on the array; there are no tiles to export")
    found = list(components(layers))
    tables = [
        {"name": one.name, "actions": [{"name": one.action, "arguments": {}, "energy": 1e12 * one.joules}]}
        for one in found
        if one.joules is not None
    ]
    areas = [{"name": one.name, "area": 1e12 * one.square_metres} for one in found if one.square_metres is not None]
    counts = [
        {"name": one.name, "action_counts": [{"name": one.action, "counts": one.count}]}
        for one in found
        if one.joules is not None
    ]
    contents = {
        "ERT.yaml": {"ERT": {"version": VERSION, "tables": tables}},
        "ART.yaml": {"ART": {"version": VERSION, "tables": areas}},
        "action_counts.yaml": {"action_counts": {"version": VERSION, "local": counts}},
    }
    return ((name, _text(HEADS[name], content)) for name, content in contents.items())


def components(layers: Sequence[LayerCosts]) -> Iterator[Component]:
    """Yield the parts of a chip with these layers."""
    total = sum(chip_square_metres(list(layers)).values())
    names = plain_names([layer.name for layer in layers])
    for layer in layers:
        name = f"chip.{names[layer.name]}"
        for part, joules, areas in layer.tiles:
            reads = layer.vectors * layer.passes
            yield from _parts(f"{name}.tile_{part.row}_{part.column}", "read", reads, joules, areas)
        beside = layer_joules(layer.circuits, layer.work, total)
        yield from _parts(name, "vector", layer.vectors, beside, layer_square_metres(layer.circuits, layer.work))
    watts, seconds = layers[0].circuits.reference_watts, sum(layer.seconds for layer in layers)
    yield from _parts("chip", "image", 1.0, {"references": watts * seconds}, shared_square_metres(layers[0].circuits))


def _parts(
    name: str, action: str, count: float, joules: Mapping[str, float], areas: Mapping[str, float]
) -> Iterator[Component]:
    for part in [*joules, *(one for one in areas if one not in joules)]:
        yield Component(f"{name}.{part}", action, count, joules.get(part), areas.get(part))


def _text(head: str, content: dict[str, Any]) -> str:
    return f"# {head}. Written by norsim.\n{yaml.safe_dump(content, sort_keys=False)}"
