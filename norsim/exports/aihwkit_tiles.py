"""The tiles of `norsim export --to aihwkit` as layers of aihwkit, for version 1.2 of it; it needs no norsim.

from aihwkit_tiles import load
layers = load("tiles.json")
sums = layers["conv1"](codes)        # activation codes [vectors, inputs] -> sums of (q - z) x, [vectors, outputs]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class Layer(nn.Module):
    """The tiles of a layer: rows of tiles are added, columns are outputs beside each other."""

    def __init__(self, entry: dict[str, Any]) -> None:
        super().__init__()
        self.entry = entry
        self.tiles = nn.ModuleList(tile(one) for one in entry["tiles"])

    def forward(self, codes: Tensor) -> Tensor:
        """Return the sums `[vectors, outputs]` for activation codes `[vectors, inputs]`, in code steps."""
        sums = codes.new_zeros((len(codes), self.entry["outputs"]))
        for place, own in zip(self.entry["tiles"], self.tiles, strict=True):
            found = own(codes[:, slice(*place["inputs"])])
            sums[:, slice(*place["outputs"])] += found
        return sums

    def decode(self, sums: Tensor) -> Tensor:
        """Return real outputs `[vectors, outputs]` for the sums."""
        scale = torch.tensor(self.entry["weight_scale"]) * self.entry["input_scale"]
        real = (sums - torch.tensor(self.entry["zero_sums"])) * scale
        found: Tensor = real if self.entry["bias"] is None else real + torch.tensor(self.entry["bias"])
        return found


def tile(entry: dict[str, Any]) -> nn.Module:
    """Return the tile with the weights, gains, offsets and output noise of an entry, an AnalogLinear."""
    # Here, so that norsim can be read as a whole without aihwkit.
    from aihwkit.nn import AnalogLinear
    from aihwkit.simulator.configs import TorchInferenceRPUConfig
    from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType

    weights = torch.tensor(entry["weights"], dtype=torch.float32) * torch.tensor(entry["gain"])[:, None]
    largest = float(weights.abs().max()) or 1.0
    config = TorchInferenceRPUConfig()
    # Everything but the output noise is off: converters and wires are part of the moments.
    config.forward.inp_res = config.forward.out_res = -1.0
    config.forward.inp_bound = config.forward.out_bound = 0.0
    config.forward.noise_management = NoiseManagementType.NONE
    config.forward.bound_management = BoundManagementType.NONE
    # Of the largest weight, since the tile holds weights from -1 to 1.
    config.forward.out_noise = entry["sigma"] / largest
    config.mapping.weight_scaling_omega = 1.0
    config.mapping.weight_scaling_columnwise = False
    config.mapping.max_input_size = config.mapping.max_output_size = 0
    found = AnalogLinear(weights.shape[1], weights.shape[0], bias=True, rpu_config=config)
    found.set_weights(weights, torch.tensor(entry["offset"]))
    made: nn.Module = found.eval()
    return made


def load(path: str | Path) -> dict[str, Layer]:
    """Return the layers of a `tiles.json` by name."""
    content = json.loads(Path(path).read_text())
    return {name: Layer(entry) for name, entry in content["layers"].items()}
