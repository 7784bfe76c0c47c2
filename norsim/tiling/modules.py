"""The torch modules that replace Conv1d, Conv2d and Linear and read their tiles."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from norsim.backends.backend import Backend
from norsim.backends.ideal import Ideal
from norsim.errors import ConfigurationError
from norsim.periphery.encoding import Codes
from norsim.quantization.forward import forward
from norsim.quantization.layer import ConvGeometry, QuantizedLayer
from norsim.tiling.fit import fit_as_vector, with_fit
from norsim.tiling.grid import TileGrid, signed_weights
from norsim.tiling.im2col import patches
from norsim.tiling.read_noise import image_axis
from norsim.tiling.reader import Reader


class TiledLayer(nn.Module):
    """A layer whose multiply-accumulates are done by the array; it has no parameters and no gradient.

    `grid`     its tiles
    `reader`   how they are read; None until a backend is chosen, by `norsim.calibrate` or `use`
    `fixed`    a backend for this layer that overrides the reader's; None for none
    `record`   if it is a list, the activation codes of each forward pass are appended to it
    `calls`    number of calls since `use`: noise is drawn again in each
    """

    def __init__(self, grid: TileGrid, fixed: Backend | None = None) -> None:
        super().__init__()
        self.grid = grid
        self.fixed = fixed
        self.reader: Reader | None = None
        self.record: list[Codes] | None = None
        self.calls = 0

    @property
    def stays_digital(self) -> bool:
        """Whether it computes integers, independently of the network's backend."""
        return self.fixed is not None and self.fixed.gives_integers

    def backend_with(self, backend: Backend) -> Backend:
        """Return the backend that reads it in a network whose backend is `backend`."""
        return self.fixed or backend

    def use(self, reader: Reader) -> None:
        """Read the tiles with `reader` from now on, but with the layer's fixed backend if it has one."""
        self.reader = replace(reader, backend=self.backend_with(reader.backend))
        self.calls = 0

    def get_extra_state(self) -> Tensor:
        """Return the fit `[n]`, float64, for `state_dict`: see norsim.tiling.fit. Empty before calibration."""
        return torch.from_numpy(fit_as_vector(self.grid.tiles) if self.grid.calibrated else np.empty(0))

    def set_extra_state(self, state: Tensor) -> None:
        """Set the fit `[n]` from `get_extra_state`. Raises ConfigurationError for a state of another layer or chip."""
        if len(state):
            tiles = with_fit(self.grid.tiles, state.cpu().numpy())
            self.grid = replace(self.grid, tiles=tiles, calibrated=True)
        else:
            self.grid = replace(self.grid, calibrated=False)

    def reader_in_use(self) -> Reader:
        """Return the reader. Raises ConfigurationError if there is none, or if it reads an array that is not
        calibrated."""
        name = self.grid.layer.name
        if self.reader is None:
            raise ConfigurationError(
                f"layer {name!r} is on the array, but no backend reads it yet: call norsim.calibrate(network, "
                "training_data) first, or use norsim.deploy, which does all steps"
            )
        if not self.grid.calibrated and not self.reader.backend.gives_integers:
            raise ConfigurationError(
                f"layer {name!r} is not calibrated, so its converters have no range: call norsim.calibrate(network, "
                "training_data) first, or load a state_dict with a calibration"
            )
        return self.reader

    def encode(self, input: Tensor) -> Codes:
        """Return the codes of real activations, both of any shape. Raises ConfigurationError for integers."""
        if not input.is_floating_point():
            raise ConfigurationError(
                f"layer {self.grid.layer.name!r}: input of {input.dtype}; expected real numbers as the network was "
                "trained on, for example images.float() / 255"
            )
        return self.grid.layer.encode(input.detach().float().cpu().numpy())

    def outputs(self, codes: Codes, images: int) -> Tensor:
        """Return real outputs `[vectors, outputs]`, float32, for activation codes `[vectors, inputs]`.

        The vectors are those of `images` images, image after image; that matters only for noise.
        """
        reader = self.reader_in_use()
        if self.record is not None:
            self.record.append(codes)
        noise = reader.noise.of_call(images, self.calls) if reader.noise is not None and self.grid.noisy else None
        self.calls += 1
        return self.real(self.grid.multiply(codes, replace(reader, noise=noise)))

    def image_axis(self, shape: Sequence[int]) -> tuple[int, int]:
        """Return the axis of an input that counts images, and the number of images, for its `shape` without inputs.

        Raises ConfigurationError if noise is drawn by image and no axis counts them.
        """
        noise = self.reader_in_use().noise
        images = noise.images if noise is not None and self.grid.noisy else None
        axis = image_axis(shape, images, self.grid.layer.name)
        length = shape[axis] if shape else 1
        return axis, length if images is None else min(images, length)

    def real(self, sums: NDArray[np.floating]) -> Tensor:
        """Return real outputs `[..., outputs]`, float32, for sums of (q - z) x of the same shape."""
        layer = self.grid.layer
        if layer.input_zero:
            sums = sums - layer.input_zero * (
                layer.weights.sum(axis=1, dtype=np.int64) - layer.inputs * layer.weight_zero
            )
        return torch.from_numpy(layer.decode(sums))


class TiledLinear(TiledLayer):
    """A linear layer on tiles: `[..., inputs]` -> `[..., outputs]`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return `[..., outputs]`, float32, for `[..., inputs]`, read from the tiles.

        Raises ConfigurationError for an input of another shape.
        """
        layer = self.grid.layer
        if input.shape[-1:] != (layer.vector_length,):
            raise ConfigurationError(
                f"layer {layer.name!r}: input of shape {tuple(input.shape)}; expected [..., {layer.vector_length}]"
            )
        axis, images = self.image_axis(input.shape[:-1])
        first = input.movedim(axis, 0) if input.ndim > 1 else input
        codes = self.encode(first).reshape(-1, layer.vector_length)
        found = self.outputs(codes, images).reshape(*first.shape[:-1], layer.outputs).to(input.device)
        return found.movedim(0, axis) if input.ndim > 1 else found


class TiledConv2d(TiledLayer):
    """A 2D convolution by im2col: `[images, channels, height, width]` -> `[images, outputs, height', width']`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return `[images, outputs, height', width']` for `[images, channels, height, width]`, read from the tiles.

        Raises ConfigurationError for an input of another shape.
        """
        layer, geometry = self.grid.layer, self.grid.layer.geometry
        if geometry is None:
            raise ConfigurationError(f"layer {layer.name!r} is not a convolution: it has no geometry")
        if input.ndim != 4 or input.shape[1] != geometry.in_channels:
            raise ConfigurationError(
                f"layer {layer.name!r}: input of shape {tuple(input.shape)}; expected [images, {geometry.in_channels}, "
                "height, width]"
            )
        codes = padded(torch.from_numpy(self.encode(input)), geometry, layer.input_zero)
        if self.reader_in_use().backend.gives_integers:
            if self.record is not None:
                self.record.append(patches(codes.numpy(), geometry)[0])
            found = self.real(exact_convolution(layer, geometry, codes).numpy())
        else:
            vectors, rows = patches(codes.numpy(), geometry)
            _, images = self.image_axis(input.shape[:1])
            found = self.outputs(vectors, images).reshape(len(input), rows, -1, layer.outputs)
        return found.permute(0, 3, 1, 2).to(input.device)


class TiledConv1d(TiledConv2d):
    """A 1D convolution, as images of height 1: `[images, channels, length]` -> `[images, outputs, length']`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return `[images, outputs, length']` for `[images, channels, length]`, read from the tiles."""
        return super().forward(input.unsqueeze(-2)).squeeze(-2)


def padded(codes: Tensor, geometry: ConvGeometry, padding_code: int) -> Tensor:
    """Return activation codes `[images, channels, height, width]`, contiguous, with the geometry's padding.

    Zero padding means real zeros, so it uses `padding_code`, the code of the input's zero point.
    """
    vertical, horizontal = geometry.padding
    around = (horizontal, horizontal, vertical, vertical)
    if geometry.padding_mode == "zeros":
        return functional.pad(codes, around, value=padding_code).contiguous()
    return functional.pad(codes.float(), around, mode=geometry.padding_mode).to(codes.dtype).contiguous()


def exact_convolution(layer: QuantizedLayer, geometry: ConvGeometry, codes: Tensor) -> Tensor:
    """Return exact sums of (q - z) x, `[images, height', width', outputs]`, of padded codes."""
    weights = signed_weights(layer).view(layer.outputs, -1, *geometry.kernel)
    sums = functional.conv2d(
        codes.to(weights), weights, stride=geometry.stride, dilation=geometry.dilation, groups=geometry.groups
    )
    return sums.permute(0, 2, 3, 1)


def tiled_layers(model: nn.Module) -> dict[str, TiledLayer]:
    """Return the converted layers by name, in order of definition."""
    return {name: part for name, part in model.named_modules() if isinstance(part, TiledLayer)}


@contextmanager
def reading(model: nn.Module, reader: Reader) -> Iterator[dict[str, TiledLayer]]:
    """Let every converted layer use `reader` within the block; restore their readers and counts of calls afterwards."""
    layers = tiled_layers(model)
    before = {name: (layer.reader, layer.calls) for name, layer in layers.items()}
    try:
        for layer in layers.values():
            layer.use(reader)
        yield layers
    finally:
        for name, layer in layers.items():
            layer.reader, layer.calls = before[name]


@contextmanager
def digital(model: nn.Module) -> Iterator[dict[str, TiledLayer]]:
    """Let all layers compute integers within the block, including those with a fixed backend."""
    integers = Reader(Ideal())
    with reading(model, integers) as layers:
        for layer in layers.values():
            layer.reader = integers
        yield layers


def layer_codes(model: nn.Module, images: Tensor, names: Collection[str] | None = None) -> dict[str, Codes]:
    """Return the `[vectors, inputs]` activation codes of layers `names`, by default all, for `images`, all layers
    digital.

    Raises ConfigurationError for a name that is not a converted layer.
    """
    with digital(model) as layers, torch.inference_mode():
        wanted = {name: layers.get(name) for name in (layers if names is None else names)}
        recorded: dict[str, list[Codes]] = {}
        try:
            for name, layer in wanted.items():
                if layer is None:
                    raise ConfigurationError(f"no layer {name!r} on the array; the layers are {', '.join(layers)}")
                layer.record = recorded[name] = []
            forward(model, images)
        finally:
            for layer in layers.values():
                layer.record = None
    return {name: found[0] if len(found) == 1 else np.concatenate(found) for name, found in recorded.items()}
