"""How a tiled layer computes in torch on a device: by its tiles, with the reader's noise and observer, or exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from norsim.backends.backend import Backend
from norsim.errors import ConfigurationError, first_line
from norsim.periphery.code_vectors import CodeVectors, LayerCodes
from norsim.periphery.encoding import Codes
from norsim.solver.macro.float16_parts import full_precision
from norsim.tiling.grid import TileGrid
from norsim.tiling.on_device.build import device_tile, digital_side
from norsim.tiling.on_device.layer import DeviceLayer, Observer, bytes_at_once
from norsim.tiling.on_device.observed import DeviceCodes, ObservedDeviceRead
from norsim.tiling.on_device.tile import DeviceRead
from norsim.tiling.on_device.vectors import padded, patches
from norsim.tiling.program import ProgrammedTile
from norsim.tiling.reader import Reader
from norsim.tiling.tile import ObservedRead, PlacedTile, TileRead, joined


@dataclass(eq=False)
class TensorPath:
    """A layer's computation in torch on one device.

    `layer`     its integers and, once `backend` has read them, its tiles on the device
    """

    grid: TileGrid
    device: torch.device
    layer: DeviceLayer = field(repr=False)
    backend: Backend | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> TensorPath:
        """Return the computation of a copy of the grid: the tensors never change, so both have the same ones."""
        return replace(self, grid=deepcopy(self.grid, memo))

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Pickle as None: whoever reads the network may not have the device, and makes the tensors from the grid."""
        return type(None), ()

    @classmethod
    def of(cls, grid: TileGrid, device: torch.device) -> TensorPath:
        """Return the computation of a layer on a device, before its tiles are there."""
        return cls(grid, device, DeviceLayer(digital_side(grid.layer, device), (), bytes_at_once(device)))

    def codes(self, vectors: Tensor) -> Iterator[Tensor]:
        """Yield the codes of activations `[vectors, inputs]`, float32, as many at a time as fit the memory."""
        yield from map(self.layer.side.encode, torch.split(vectors, self.layer.vectors_at_once()))

    def patches(self, activations: Tensor, positions: int) -> Iterator[Tensor]:
        """Yield the codes `[vectors, inputs]` of the patches of activations `[images, channels, height, width]`,
        float32, each with that many positions, of as many images at a time as fit the memory."""
        layer, shape = self.grid.layer, self.grid.layer.geometry
        assert shape is not None
        for images in torch.split(activations, max(self.layer.vectors_at_once() // positions, 1)):
            codes = padded(self.layer.side.encode(images), shape, layer.input_zero)
            yield patches(codes, shape)

    def outputs(
        self, parts: Iterable[Tensor], vectors: int, reader: Reader, record: list[Codes | CodeVectors] | None
    ) -> Tensor:
        """Return real outputs `[vectors, outputs]`, float32, for activation codes `[..., inputs]`, uint8, in parts of
        `vectors` in all, read with `reader` or, if its backend gives integers, exact. Codes are appended to `record`.

        Raises ConfigurationError for a layer that is not programmed, and if the memory of the device is full.
        """
        found = []
        with full_precision(), self._memory():
            noise, integers, observe = reader.noise, reader.backend.gives_integers, self._observer(reader)
            pairs = [] if integers else self.place(reader.backend)
            noises = [None if noise is None else noise.of_tile(part, array, vectors) for part, array in pairs]
            for codes in parts:
                if record is not None:
                    record.append(codes.cpu().numpy())
                layer = self.layer
                sums = layer.side.exact_sums(codes) if integers else layer.sums(codes, noises, observe)
                found.append(layer.side.real(sums))
        return torch.cat(found)

    @contextmanager
    def _memory(self) -> Iterator[None]:
        """Raise ConfigurationError, with what to do, where torch finds no memory."""
        try:
            yield
        except torch.cuda.OutOfMemoryError as problem:
            raise ConfigurationError(
                f"the memory of {self.device} is full while layer {self.grid.layer.name!r} is computed: "
                f"{first_line(problem)}. Give fewer images at a time, end other programs on the card, or use the CPU"
            ) from problem

    def place(self, backend: Backend) -> list[tuple[PlacedTile, ProgrammedTile]]:
        """Put the tiles, read through the models of `backend`, on the device, unless they are there; return them."""
        pairs = self.grid.programmed()
        if self.backend is not backend:
            tiles = tuple(device_tile(part, array, backend, self.device) for part, array in pairs)
            self.layer, self.backend = replace(self.layer, tiles=tiles), backend
        return pairs

    def _observer(self, reader: Reader) -> Observer:
        """Return a function that shows the reads of a tile to the reader."""
        grid = self.grid

        def observe(place: int, codes: Tensor, read: DeviceRead) -> None:
            seen = ObservedDeviceRead(read)
            reader.observe(grid.tiles[place], grid.arrays[place], DeviceCodes(codes), seen)
            reader.report(f"{reader.phase} {grid.layer.name}", place + 1, len(grid.tiles))

        return observe


def read_tiles(grid: TileGrid, codes: Codes, reader: Reader, device: torch.device) -> list[TileRead]:
    """Return the read of each tile for all activation codes `[vectors, inputs]` of the layer, computed on `device` as
    far as `path_of` says."""
    path = path_of(None, grid, reader, device)
    if path is None or reader.backend.gives_integers:
        return grid.read_whole(codes, reader.on(str(device)))
    found: dict[int, list[TileRead]] = {}

    def observe(part: PlacedTile, array: ProgrammedTile, some: LayerCodes, read: ObservedRead) -> None:
        found.setdefault(id(part), []).append(read.take(np.arange(read.shape[0])))

    at_once = path.layer.vectors_at_once()
    parts = (torch.from_numpy(codes[k : k + at_once]).to(device) for k in range(0, len(codes), at_once))
    path.outputs(parts, len(codes), replace(reader, observe=observe), None)
    return [joined(found[id(part)]) for part in grid.tiles]


def path_of(path: TensorPath | None, grid: TileGrid, reader: Reader, device: torch.device) -> TensorPath | None:
    """Return how a layer whose former path is `path` computes in torch on a device; None for NumPy and numba on a CPU.

    Backends that read no models take vectors from memory, wherever the network is.
    """
    able = reader.backend.by_model or reader.backend.gives_integers
    if not able or (device.type == "cpu" and not reader.in_torch):
        return None
    if path is not None and path.grid is grid and path.device == device:
        return path
    return TensorPath.of(grid, device)
