"""The quantized network for other packages: layers of torch on the grid of activation codes. It needs torch alone.

Each convolution or linear layer gets codes x / top in 0 to 1 and has the weights (q - z) / largest in -1 to 1, so a
package quantizes nothing again, and knows its inputs' range. What is left of the layer is digital."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from norsim.zoo.architectures import resnet20

Convert = Callable[[nn.Module, "Range"], nn.Module]


class Range:
    """What is known of a layer: its `name`, `inputs`, and the largest magnitudes of partial sums of at most the rows of
    a tile over training images: `largest`, and `largest_by_weight`, of the largest weight of the same output."""

    def __init__(self, name: str, inputs: int, largest: float, largest_by_weight: float) -> None:
        self.name, self.inputs, self.largest, self.largest_by_weight = name, inputs, largest, largest_by_weight


class OnGrid(nn.Module):
    """A layer whose inputs are rounded to codes and whose outputs are scaled digitally."""

    scale: Tensor
    bias: Tensor

    def __init__(self, layer: nn.Module, arrays: dict[str, Any]) -> None:
        super().__init__()
        self.layer = layer
        self.step, self.top = float(arrays["input_scale"]), float(arrays["top"])
        self.record: list[Tensor] | None = None
        shape = (-1, 1, 1) if isinstance(layer, nn.Conv2d) else (-1,)
        signed = torch.tensor(arrays["weights"], dtype=torch.float32)
        self.largest = float(signed.abs().max())
        with torch.no_grad():
            layer.weight.copy_((signed / self.largest).view_as(layer.weight))  # type: ignore[operator,arg-type]
        scale = torch.tensor(arrays["weight_scale"]) * self.step * self.top * self.largest
        self.register_buffer("scale", scale.view(shape))
        self.register_buffer("bias", torch.tensor(arrays["bias"]).view(shape))

    def forward(self, activations: Tensor) -> Tensor:
        """Return real outputs for real activations."""
        codes = torch.clamp(torch.round(activations / self.step), 0, self.top) / self.top
        if self.record is not None:
            self.record.append(codes)
        found: Tensor = self.layer(codes) * self.scale + self.bias
        return found


def load(job: Path, convert: Convert | None = None) -> nn.Module:
    """Return the network of a job in eval mode, with each layer converted to that of a package."""
    arrays = dict(np.load(job / "network.npz"))
    network, names = resnet20(), [str(name) for name in arrays.pop("names")]
    for name in names:
        of_layer = {key.removeprefix(f"{name}/"): value for key, value in arrays.items() if key.startswith(f"{name}/")}
        parent, _, last = name.rpartition(".")
        owner = network.get_submodule(parent)
        old = getattr(owner, last)
        bare = nn.Linear(old.in_features, old.out_features, False) if isinstance(old, nn.Linear) else nn.Conv2d(
            old.in_channels, old.out_channels, old.kernel_size, old.stride, old.padding, bias=False
        )  # fmt: skip
        new = OnGrid(bare, of_layer)
        if convert is not None:
            limits = [float(of_layer[key]) for key in ("largest", "largest_by_weight")]
            new.layer = convert(bare, Range(name, int(of_layer["weights"][0].size), *limits))
        setattr(owner, last, new)
    state = {key.removeprefix("state/"): torch.tensor(value) for key, value in arrays.items()
             if key.startswith("state/")}  # fmt: skip
    missing = network.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys, missing.unexpected_keys
    return network.eval()


def classes(network: nn.Module, images: Tensor, batch: int) -> list[int]:
    """Return the class of each image `[n, channels, height, width]`."""
    with torch.no_grad():
        return [int(one) for part in images.split(batch) for one in network(part).argmax(dim=1)]
