"""The torch modules that replace Conv1d and Conv2d and read their tiles."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from norsim.backends.backend import Backend
from norsim.errors import ConfigurationError
from norsim.tiling.convolutions import im2col
from norsim.tiling.grid import TileGrid
from norsim.tiling.modules import TiledLayer


class TiledConvolution(TiledLayer):
    """A convolution by im2col."""

    def convolved(self, input: Tensor) -> Tensor:
        """Return `[images, outputs, height', width']`, float32, for `[images, channels, height, width]`."""
        layer, geometry = self.grid.layer, self.grid.layer.geometry
        assert geometry is not None
        rows, columns = self.positions(input)
        path = self.in_torch(input)
        if path is not None:
            parts = path.patches(self.real_numbers(input), rows * columns)
            images = self.image_axis(input.shape[:1])[1]
            found = self.outputs_in_torch(path, parts, len(input) * rows * columns, images)
            return found.view(len(input), rows, columns, layer.outputs).permute(0, 3, 1, 2)
        codes = im2col.padded_codes(self.real_numbers(input).cpu(), layer, geometry)
        vectors, shape = im2col.patches(codes, geometry), (len(input), layer.outputs, rows, columns)
        if self.reader_in_use().backend.gives_integers:
            if self.record is not None:
                self.record.append(vectors)
            sums = im2col.exact_convolution(layer, geometry, codes).reshape(*shape[:2], rows * columns)
        else:
            by_vector = self.sums(vectors, self.image_axis(input.shape[:1])[1], input.device)
            sums = by_vector.reshape(len(input), rows * columns, layer.outputs).transpose(0, 2, 1)
        return torch.from_numpy(im2col.decoded(sums, layer)).view(shape)

    def positions(self, input: Tensor) -> tuple[int, int]:
        """Return the rows and columns of the output for `[images, channels, height, width]`.

        Raises ConfigurationError for images that are smaller than the kernel.
        """
        layer, geometry = self.grid.layer, self.grid.layer.geometry
        assert geometry is not None
        around = zip(input.shape[2:], geometry.padding, strict=True)
        found = geometry.positions([length + 2 * padding for length, padding in around])
        if min(found) < 1:
            raise ConfigurationError(
                f"layer {layer.name!r}: input of shape {tuple(input.shape)} is smaller than the kernel of "
                f"{geometry.kernel[0]} x {geometry.kernel[1]}, padding included"
            )
        return found


class TiledConv2d(TiledConvolution, nn.Conv2d):
    """A 2D convolution: `[images, channels, height, width]` -> `[images, outputs, height', width']`."""

    def __init__(self, grid: TileGrid, fixed: Backend | None = None) -> None:
        nn.Conv2d.__init__(self, **im2col.of_convolution(grid.layer, slice(0, 2)), device="meta")
        self.hold(grid, fixed)

    def forward(self, input: Tensor) -> Tensor:
        """Return `[images, outputs, height', width']` for `[images, channels, height, width]`, or both without images,
        read from the tiles, in the type and memory format that torch's layer returns.

        Raises ConfigurationError for an input of another shape.
        """
        found = self.convolved(im2col.batched(input, self.grid.layer, 2))
        if input.ndim == 3:
            return self.as_torch(found[0], input)
        # As in torch, either of input and weight can make the output channels-last.
        last = torch.channels_last in (im2col.memory_format(input), im2col.memory_format(self.weight))
        return self.as_torch(found, input, torch.channels_last if last else torch.contiguous_format)


class TiledConv1d(TiledConvolution, nn.Conv1d):
    """A 1D convolution, as images of height 1: `[images, channels, length]` -> `[images, outputs, length']`."""

    def __init__(self, grid: TileGrid, fixed: Backend | None = None) -> None:
        nn.Conv1d.__init__(self, **im2col.of_convolution(grid.layer, slice(1, 2)), device="meta")
        self.hold(grid, fixed)

    def forward(self, input: Tensor) -> Tensor:
        """Return `[images, outputs, length']` for `[images, channels, length]`, or both without images, as
        TiledConv2d does. Raises ConfigurationError for an input of another shape."""
        found = self.convolved(im2col.batched(input, self.grid.layer, 1).unsqueeze(-2)).squeeze(-2)
        return self.as_torch(found if input.ndim == 3 else found[0], input)
