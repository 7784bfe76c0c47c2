"""The use of each layer, and the energy and time of an image, with what they include."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from norsim.backends.backend import Backend
from norsim.evaluation.clipping import Use
from norsim.periphery.circuits.energy import USUAL_COSTS
from norsim.tiling.macs import Macs
from norsim.tiling.modules import TiledLayer, tiled_layers

ASSUMPTIONS = (
    "cells conduct until the last conversion of a read ends (with cost.held for cost.sample, with pulse-width for its "
    "slots), on the mean currents of the calibration's reads; a line that rises by dV to V draws C dV V, lines rest at "
    "0 V before each vector, and wordline volts come from a pump with cost.pump_efficiency; a conversion takes "
    "cost.adc_step for each of its 2^bits steps, or cost.decision for each decision of its comparators; all tiles of a "
    "layer are read at once, adc.shared_by outputs of a tile one after the other; regulators of bitline volts, "
    "amplifiers, drivers, references, clocks, the digital part and data movement are left out"
)


def layer_table(
    model: nn.Module, backend: Backend, uses: Mapping[str, Use], images: int, macs: Macs
) -> list[dict[str, Any]]:
    """Return one row per layer: its tiles, their size, its share of the network's multiply-accumulates, the bits of its
    codes and converters, the number of reads, the shares of conversions that are clipped, and their energy and time per
    image.

    All tiles of a layer are read at the same time. Digital layers have no cost.
    """
    return [
        {
            "name": name,
            "tiles": len(layer.grid.tiles),
            "macs_share": macs.share(macs.layers[name]),
            "inputs": layer.grid.layer.inputs,
            "outputs": layer.grid.layer.outputs,
            "weight_bits": layer.grid.layer.weight_bits,
            "activation_bits": layer.grid.layer.input_bits,
            "adc_bits": layer.grid.chip.adc_bits,
            "backend": layer.backend_with(backend).name,
            "reads": use.reads,
            **use.shares(),
            "clipped_cells": layer.grid.clipped.content(),
            "adc_step_joules": layer.grid.chip.costs.joules_per_step,
            **_costs(layer, use.reads / images / len(layer.grid.tiles)),
        }
        for name, layer in tiled_layers(model).items()
        for use in [uses.get(name, Use())]
    ]


def _costs(layer: TiledLayer, reads: float) -> dict[str, float]:
    """Return the cost per image of a layer that reads each of its tiles `reads` times per image."""
    parts = {
        f"{kind}_joules_image": reads * sum(getattr(part.energy, kind) for part in layer.grid.tiles)
        for kind in ("cells", "lines", "converters")
    }
    shape, chip = layer.grid.layer, layer.grid.chip
    macs = reads / chip.encoding.passes(shape.input_bits) * shape.inputs * shape.outputs
    outputs = [part.conversions for part in layer.grid.tiles]
    conversions = min(max(outputs), chip.outputs_per_converter)
    converters = sum(-(-count // chip.outputs_per_converter) for count in outputs) if reads else 0
    seconds = reads * chip.costs.for_bits(chip.adc_bits).read_seconds(
        conversions, chip.encoding.slots(shape.input_bits)
    )
    return {"macs_image": macs, **parts, "seconds_image": seconds, "converters": converters}


def image_costs(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return energy and time per image, from the rows of `layer_table`, with their assumptions.

    `joules_image` is the sum of its parts; `tops_per_watt` counts a multiply-accumulate as two operations;
    `latency_seconds` is the time of one image alone, layer after layer; `interval_seconds` is the time from one image
    to the next if all layers work at once; `converters` is their number on the chip. `adc_step_joules` is the energy of
    a conversion for each of its steps, most of the energy on usual chips, and `adc_step_is_default` whether it is
    norsim's, that of one published converter.
    """
    parts = {kind: sum(row[f"{kind}_joules_image"] for row in layers) for kind in ("cells", "lines", "converters")}
    seconds = [row["seconds_image"] for row in layers]
    step = layers[0]["adc_step_joules"] if layers else USUAL_COSTS.joules_per_step
    macs, joules = sum(row["macs_image"] for row in layers), sum(parts.values())
    return {
        "macs_image": macs, "joules_image": joules, **{f"{kind}_joules_image": part for kind, part in parts.items()},
        "tops_per_watt": 2e-12 * macs / joules if joules else None,
        "latency_seconds": sum(seconds), "interval_seconds": max(seconds, default=0.0),
        "converters": sum(row["converters"] for row in layers), "adc_step_joules": step,
        "adc_step_is_default": step == USUAL_COSTS.joules_per_step, "assumptions": ASSUMPTIONS,
    }  # fmt: skip
