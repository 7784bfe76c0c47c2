"""The energy of a published macro per operation: a chip file, and random layers that fill it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from norsim.chip.model import Chip
from norsim.evaluation.chip_costs import chip_costs, costs_of_layers
from norsim.experiments.deploy import deploy
from norsim.validation.row import Load, Predicted

# Few reads suffice for mean currents.
CALIBRATION: dict[str, str | None] = {"calibration.reads": "8", "calibration.images": "8"}


@dataclass(frozen=True)
class Layers:
    """Layers of random weights, and their inputs.

    `sizes`   of the layers, from inputs to outputs
    `weight_bits`, `activation_bits`   widths
    `active`   share of inputs that are not zero
    """

    sizes: tuple[int, ...]
    weight_bits: int
    activation_bits: int
    active: float

    @property
    def operations(self) -> int:
        """Operations of an input vector, two per multiply-accumulate."""
        return 2 * sum(one * other for one, other in zip(self.sizes[:-1], self.sizes[1:], strict=True))


def costs_of(layers: Layers, chip: Chip) -> dict[str, Any]:
    """Return the parts of norsim.evaluation.chip_costs of a chip with these layers, for an input vector: `joules` and
    `areas` by part, and the `seconds` of all reads."""
    torch.manual_seed(0)
    sizes = zip(layers.sizes[:-1], layers.sizes[1:], strict=True)
    network = nn.Sequential(*(nn.Linear(one, other) for one, other in sizes))
    drawn = torch.rand(16, layers.sizes[0])
    values = torch.ones_like(drawn) if layers.activation_bits == 1 else drawn / layers.active
    net = deploy(
        network, chip, calibration=values * (drawn < layers.active), weight_bits=layers.weight_bits,
        activation_bits=layers.activation_bits, backend="nodal",
    )  # fmt: skip
    found = chip_costs(list(costs_of_layers(net.parts.analog, dict.fromkeys(net.tiled, 1.0))))
    return {"joules": found["joules"], "areas": found["areas"], "seconds": found["latency_seconds"]}


def total(parts: Mapping[str, float], left_out: Sequence[str]) -> float:
    """Return the sum of parts, without some of them."""
    return sum(value for name, value in parts.items() if name not in left_out)


def femtojoules(load: Load, layers: Layers, left_out: tuple[str, ...] = ()) -> Predicted:
    """Return the energy per operation, femtojoules, without some parts that the published number does not count."""
    joules = costs_of(layers, load(CALIBRATION))["joules"]
    each = {name: 1e15 * value / layers.operations for name, value in joules.items()}
    counted = sorted((name for name in each if name not in left_out), key=lambda name: -each[name])[:3]
    largest = ", ".join(f"{name} {each[name]:.2g} fJ" for name in counted)
    without = f" Not counted: {', '.join(left_out)}." if left_out else ""
    return Predicted(total(each, left_out), f"The largest parts are {largest}.{without}")
