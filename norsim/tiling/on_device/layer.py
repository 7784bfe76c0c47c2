"""All tiles of a layer read in torch, as much at a time as fits the device's memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from norsim.tiling.on_device.tile import DeviceRead, DeviceTile, Noise
from norsim.tiling.on_device.vectors import DigitalSide

# Called with the index of a tile, codes `[vectors, inputs]` of the layer, and the tile's read of them.
Observer = Callable[[int, Tensor, DeviceRead], None]
# Memory for the reads of a tile: a share of the device's, within these bounds. It does not depend on what is free, so
# that vectors are split alike in every run.
SHARE, LEAST_BYTES, MOST_BYTES = 1 / 16, 2**26, 2**31


@dataclass(frozen=True, eq=False)
class DeviceLayer:
    """A layer as tensors: its integers, its tiles, and the memory that one step of work may take."""

    side: DigitalSide
    tiles: tuple[DeviceTile, ...]
    most_bytes: int

    def sums(self, codes: Tensor, noises: Sequence[Noise | None], observe: Observer) -> Tensor:
        """Return the sums `[vectors, outputs]`, float64, of (q - z) x over activation codes `[vectors, inputs]`, uint8,
        read from the tiles with the `noises` of each."""
        found = torch.zeros(len(codes), len(self.side.step), dtype=torch.float64, device=codes.device)
        for place, (tile, noise) in enumerate(zip(self.tiles, noises, strict=True)):
            for first, read in tile.read(codes, noise, self.most_bytes):
                some = slice(first, first + len(read.sums))
                observe(place, codes[some], read)
                found[some, tile.outputs[0] : tile.outputs[1]] += read.sums
        return found

    def vectors_at_once(self) -> int:
        """Return the number of vectors whose codes and sums take the memory of one step."""
        groups, inputs, outputs = self.side.weights.shape
        return max(self.most_bytes // (groups * (3 * inputs + 24 * outputs)), 1)


def bytes_at_once(device: torch.device) -> int:
    """Return the memory that one step of work may take on a device."""
    if device.type != "cuda":
        return LEAST_BYTES
    total = torch.cuda.get_device_properties(device).total_memory
    return int(min(max(SHARE * total, LEAST_BYTES), MOST_BYTES))
