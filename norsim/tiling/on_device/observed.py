"""What observers get of reads on a device: they bring to memory only what is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from norsim.periphery.encoding import Codes
from norsim.tiling.on_device.tile import DeviceRead
from norsim.tiling.tile import PlacedTile, TileRead


@dataclass(frozen=True, eq=False)
class ObservedDeviceRead:
    """A read of `[vectors, inputs]` codes on a device, as norsim.tiling.tile.ObservedRead."""

    read: DeviceRead

    @property
    def shape(self) -> tuple[int, int, int]:
        """(vectors, passes, conversions)."""
        vectors, passes, conversions = self.read.amps.shape
        return vectors, passes, conversions

    def take(self, which: NDArray[np.int64]) -> TileRead:
        """Return the read of some vectors `[n]`, in memory."""
        read, noise = self.read, self.read.line_noise
        return TileRead(
            rows_of(read.amps, which), rows_of(read.adc, which), rows_of(read.sums, which),
            None if noise is None else rows_of(noise, which),
        )  # fmt: skip

    def clipped(self, part: PlacedTile) -> tuple[int, int]:
        """Return the number of currents that the converters of its tile, `part`, clip at the low and high end."""
        amps = self.read.amps
        low, high = torch.from_numpy(np.stack(part.flaws.edges(part.ranges))).to(amps)
        counts = torch.stack([(amps < low).sum(), (amps > high).sum()]).tolist()
        return int(counts[0]), int(counts[1])


@dataclass(frozen=True, eq=False)
class DeviceCodes:
    """Activation codes `values` `[vectors, inputs]`, uint8, on a device: norsim.periphery.code_vectors.LayerCodes."""

    values: Tensor

    def __getitem__(self, which: NDArray[np.int64]) -> Codes:
        """Return the codes `[n, inputs]` of some vectors, in memory."""
        return rows_of(self.values, which)


def rows_of(values: Tensor, which: NDArray[np.int64]) -> NDArray[Any]:
    """Return some rows `[n, ...]` of `values` `[rows, ...]`, in memory."""
    found: NDArray[Any] = values[torch.from_numpy(which).to(values.device)].cpu().numpy()
    return found
