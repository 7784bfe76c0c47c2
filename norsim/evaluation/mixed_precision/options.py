"""The widths that a layer can have on a chip, with the energy of its conversions.

A read takes one conversion for each output of a tile and each slice of its weight, and a vector takes one read per
pass. So the energy of a layer's conversions per image is

    E(w, a) = vectors x passes(a) x sum over tiles of (outputs x slices(w)) x F 2^(converter bits)

with Walden's F (norsim.periphery.circuits.energy). Widths that take the same energy as wider ones are not worth trying.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from norsim.chip.model import Chip
from norsim.data.inputs.structure import Structure, count_of
from norsim.errors import PlacementError
from norsim.quantization.by_layer.bits import MAX_BITS, Bits
from norsim.quantization.forward import forward
from norsim.quantization.layer import QuantizedLayer
from norsim.quantization.modules import QuantizedOperands, quantized_operands
from norsim.tiling.grid import place

# Narrower codes are not tried: one bit of an unsigned activation has a single step.
LEAST_BITS = 2


@dataclass(frozen=True)
class Choices:
    """The widths that a layer can have.

    `weights`, `activations`   widths that are worth trying, widest first
    `conversions`   conversions of a read of all its tiles, by width of weights
    `passes`        reads of a vector, by width of activations
    `joules`        energy per image of one conversion in each read of each vector
    """

    weights: tuple[int, ...]
    activations: tuple[int, ...]
    conversions: Mapping[int, int]
    passes: Mapping[int, int]
    joules: float

    @property
    def widest(self) -> Bits:
        """The widest codes."""
        return Bits(self.weights[0], self.activations[0])

    def energy(self, bits: Bits) -> float:
        """Return the energy per image of the layer's conversions, joules, at any width up to the widest."""
        return self.joules * self.conversions[bits.weights] * self.passes[bits.activations]


def choices_of(network: nn.Module, chip: Chip, images: Structure) -> dict[str, Choices]:
    """Return the widths that each layer of a quantized network can have on `chip`; `images` `[images, ...]` are a few.

    Raises PlacementError for a layer that the chip holds at no width.
    """
    vectors = _vectors_per_image(network, images)
    layers = quantized_operands(network)
    chips = chip.for_layers(list(layers))
    return {name: _choices(layer.quantized_layer(name), chips[name], vectors[name]) for name, layer in layers.items()}


def _choices(layer: QuantizedLayer, chip: Chip, vectors: float) -> Choices:
    most = min(chip.encoding.activation_bits, MAX_BITS)
    conversions: dict[int, int] = {}
    refused: PlacementError | None = None
    for width in range(1, MAX_BITS + 1):
        # Only the size of a layer matters to its placement.
        codes = np.zeros_like(layer.weights)
        empty = replace(layer, weights=codes, weight_zero=0, weight_bits=width, input_zero=0, input_bits=most)
        try:
            conversions[width] = sum(part.conversions for part in place(empty, chip).tiles)
        except PlacementError as problem:
            refused = problem
    if not conversions and refused is not None:
        raise refused
    passes = {width: chip.encoding.passes(width) for width in range(1, most + 1)}
    joules = vectors * chip.costs.conversion_joules(chip.adc_bits)
    return Choices(_worth_trying(conversions), _worth_trying(passes), conversions, passes, joules)


def _worth_trying(costs: Mapping[int, int]) -> tuple[int, ...]:
    """Return the widths whose cost no wider one has, widest first; at least the widest."""
    widest = max(costs)
    kept = [width for width in costs if width == widest or costs[width] < min(costs[k] for k in costs if k > width)]
    return tuple(sorted((width for width in kept if width in (widest, *range(LEAST_BITS, widest))), reverse=True))


def _vectors_per_image(network: nn.Module, images: Structure) -> dict[str, float]:
    """Return the number of activation vectors per image that each layer multiplies."""
    counted: dict[str, float] = {}

    def count(name: str, layer: QuantizedOperands, output: Tensor) -> None:
        counted[name] = counted.get(name, 0.0) + output.numel() / layer.weight.shape[0] / count_of(images)

    handles = [
        layer.register_forward_hook(lambda layer, _, output, name=name: count(name, layer, output))
        for name, layer in quantized_operands(network).items()
    ]
    try:
        with torch.inference_mode():
            forward(network, images)
    finally:
        for handle in handles:
            handle.remove()
    return counted
