"""The torch modules that stand in for Conv2d and Linear, and `convert`, which puts them there."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from norsim.backends import Progress
from norsim.chip import Chip
from norsim.errors import ConfigurationError
from norsim.network.operands import QuantizedOperands
from norsim.network.placement import TileGrid, place, signed_weights
from norsim.network.quantized import ConvGeometry, QuantizedLayer
from norsim.network.reader import Reader
from norsim.network.replace import replace_modules
from norsim.network.unfold import patches
from norsim.periphery.encoding import Codes
from norsim.units import UnitStore
from norsim.workers import HERE, Workers

CALIBRATION_VECTORS = 2048


class TiledLayer(nn.Module):
    """A layer whose multiply-accumulates the array does; no parameters, no gradient.

    `grid`     its tiles
    `reader`   how they are read; `fixed_backend` overrides the reader's, for this layer alone
    `record`   when it is a list, the activation codes of each forward are appended to it
    """

    def __init__(self, grid: TileGrid, fixed_backend: str | None = None) -> None:
        super().__init__()
        self.grid = grid
        self.fixed_backend = fixed_backend
        self.reader = Reader("ideal")
        self.record: list[Codes] | None = None

    def use(self, reader: Reader) -> None:
        """Read the tiles by `reader` from now on, but by this layer's own backend where that is fixed."""
        self.reader = reader if self.fixed_backend is None else replace(reader, backend=self.fixed_backend)

    def outputs(self, codes: Codes) -> Tensor:
        """`[vectors, inputs]` activation codes -> `[vectors, outputs]` real outputs, float32."""
        if self.record is not None:
            self.record.append(codes)
        return self.real(self.grid.multiply(codes, self.reader))

    def real(self, sums: NDArray[np.floating]) -> Tensor:
        """`[..., outputs]` sums of (q - z) x -> real outputs, float32."""
        layer = self.grid.layer
        if layer.input_zero:
            sums = sums - layer.input_zero * (
                layer.weights.sum(axis=1, dtype=np.int64) - layer.inputs * layer.weight_zero
            )
        return torch.from_numpy(layer.decode(sums))


class TiledLinear(TiledLayer):
    """`[..., inputs]` -> `[..., outputs]`."""

    def forward(self, input: Tensor) -> Tensor:
        """`[..., inputs]` -> `[..., outputs]`, float32, read off the tiles."""
        layer = self.grid.layer
        codes = layer.encode(input.detach().cpu().numpy()).reshape(-1, layer.vector_length)
        return self.outputs(codes).reshape(*input.shape[:-1], layer.outputs)


class TiledConv2d(TiledLayer):
    """`[images, channels, height, width]` -> `[images, outputs, height', width']`, by im2col."""

    def forward(self, input: Tensor) -> Tensor:
        """`[images, channels, height, width]` -> `[images, outputs, height', width']`, read off the tiles.

        Raises ConfigurationError for an input of another shape.
        """
        layer, geometry = self.grid.layer, self.grid.layer.geometry
        if geometry is None:
            raise ConfigurationError(f"layer {layer.name!r} has no convolution geometry")
        if input.ndim != 4 or input.shape[1] != geometry.in_channels:
            raise ConfigurationError(
                f"layer {layer.name!r}: input of shape {tuple(input.shape)}; expected [images, {geometry.in_channels}, "
                "height, width]"
            )
        codes = padded(torch.from_numpy(layer.encode(input.detach().cpu().numpy())), geometry, layer.input_zero)
        if self.reader.backend == "ideal":
            if self.record is not None:
                self.record.append(patches(codes.numpy(), geometry)[0])
            return self.real(exact_convolution(layer, geometry, codes).numpy()).permute(0, 3, 1, 2)
        vectors, rows = patches(codes.numpy(), geometry)
        return self.outputs(vectors).reshape(len(input), rows, -1, layer.outputs).permute(0, 3, 1, 2)


class TiledConv1d(TiledConv2d):
    """`[images, channels, length]` -> `[images, outputs, length']`, as images of height 1."""

    def forward(self, input: Tensor) -> Tensor:
        """`[images, channels, length]` -> `[images, outputs, length']`, read off the tiles."""
        return super().forward(input.unsqueeze(-2)).squeeze(-2)


TILED = {nn.Conv1d: TiledConv1d, nn.Conv2d: TiledConv2d, nn.Linear: TiledLinear}


def padded(codes: Tensor, geometry: ConvGeometry, padding_code: int) -> Tensor:
    """Activation codes `[images, channels, height, width]`, contiguous, with the geometry's padding.

    That of zeros means a real zero, which is the code of the input's zero point.
    """
    vertical, horizontal = geometry.padding
    around = (horizontal, horizontal, vertical, vertical)
    if geometry.padding_mode == "zeros":
        return functional.pad(codes, around, value=padding_code).contiguous()
    return functional.pad(codes.float(), around, mode=geometry.padding_mode).to(codes.dtype).contiguous()


def exact_convolution(layer: QuantizedLayer, geometry: ConvGeometry, codes: Tensor) -> Tensor:
    """Padded codes -> `[images, height', width', outputs]` sums of (q - z) x, integers held exactly."""
    weights = signed_weights(layer).view(layer.outputs, -1, *geometry.kernel)
    sums = functional.conv2d(
        codes.to(weights), weights, stride=geometry.stride, dilation=geometry.dilation, groups=geometry.groups
    )
    return sums.permute(0, 2, 3, 1)


def convert(model: nn.Module, chip: Chip, overrides: Mapping[str, Mapping[str, str]] | None = None) -> nn.Module:
    """A copy of a quantized network with every quantized layer on `chip`'s tiles; names are kept.

    `overrides` fixes the backend of single layers: `{"conv1": {"backend": "ideal"}}`. The layers start
    with the `ideal` reader and full-scale converters: see `calibrate` and `evaluate`. What else the
    network holds stays digital: `norsim.network.digital` lists it. Raises PlacementError for a layer that does
    not fit, ConfigurationError for a network without quantized layers or an override of no layer.
    """
    analog = copy.deepcopy(model).eval()
    wanted = dict(overrides or {})
    found = {name: part for name, part in analog.named_modules() if isinstance(part, QuantizedOperands)}
    if not found:
        raise ConfigurationError("the network holds no quantized layer: call norsim.quantize on it first")
    unknown = sorted(set(wanted) - set(found))
    if unknown:
        raise ConfigurationError(f"no layer {unknown[0]!r} to override; there are {', '.join(found)}")
    for name, override in wanted.items():
        if set(override) != {"backend"}:
            raise ConfigurationError(
                f"the override of layer {name!r} has keys {sorted(override)}; 'backend' is the one"
            )
        Reader(override["backend"])
    new: dict[int, TiledLayer] = {}
    for name, part in found.items():
        kind = next(kind for plain, kind in TILED.items() if isinstance(part, plain))
        new[id(part)] = kind(place(part.quantized_layer(name), chip), wanted.get(name, {}).get("backend"))
    return replace_modules(analog, new)


def tiled_layers(model: nn.Module) -> dict[str, TiledLayer]:
    """The converted layers by name, in order of definition."""
    return {name: part for name, part in model.named_modules() if isinstance(part, TiledLayer)}


@contextmanager
def reading(model: nn.Module, reader: Reader) -> Iterator[dict[str, TiledLayer]]:
    """Within the block every converted layer uses `reader`; then what it used before."""
    layers = tiled_layers(model)
    before = {name: layer.reader for name, layer in layers.items()}
    try:
        for layer in layers.values():
            layer.use(reader)
        yield layers
    finally:
        for name, layer in layers.items():
            layer.reader = before[name]


@contextmanager
def digital(model: nn.Module) -> Iterator[dict[str, TiledLayer]]:
    """Within the block no array is read, not even by layers whose backend is fixed."""
    with reading(model, Reader("ideal")) as layers:
        for layer in layers.values():
            layer.reader = Reader("ideal")
        yield layers


def layer_codes(model: nn.Module, images: Tensor, names: Collection[str] | None = None) -> dict[str, Codes]:
    """`[vectors, inputs]` activation codes that layers `names`, by default all, get from `images`, all layers digital.

    Raises ConfigurationError for a name that is not among the converted layers.
    """
    with digital(model) as layers, torch.inference_mode():
        wanted = {name: layers.get(name) for name in (layers if names is None else names)}
        recorded: dict[str, list[Codes]] = {}
        try:
            for name, layer in wanted.items():
                if layer is None:
                    raise ConfigurationError(f"no layer {name!r} on the array; there are {', '.join(layers)}")
                layer.record = recorded[name] = []
            model(images)
        finally:
            for layer in layers.values():
                layer.record = None
    return {name: found[0] if len(found) == 1 else np.concatenate(found) for name, found in recorded.items()}


def calibrate(
    model: nn.Module,
    images: Tensor,
    backend: str = "macro",
    *,
    seed: int = 0,
    workers: Workers = HERE,
    progress: Progress | None = None,
    store: UnitStore | None = None,
) -> None:
    """Fit every layer's converters and column corrections in place, on training images alone.

    `images` `[images, channels, height, width]` show each layer the activations of the digital network.
    A layer whose backend is fixed to `ideal` is left as it is.
    """
    layers = {name: layer for name, layer in tiled_layers(model).items() if layer.fixed_backend != "ideal"}
    codes = layer_codes(model, images, layers)
    for name, layer in layers.items():
        own = Reader(layer.fixed_backend or backend, workers, progress, store=store)
        layer.grid = calibrate_layer(layer.grid, codes.pop(name), own, seed)


def calibrate_layer(grid: TileGrid, codes: Codes, reader: Reader, seed: int) -> TileGrid:
    """`grid` fitted on up to 2,048 of the `[vectors, inputs]` activation codes that its layer gets.

    The chip's calibration section says how many reads of them the array makes. What is drawn depends on
    the seed and the layer's name alone, so that a tile is fitted alike with or without its neighbours.
    """
    random = np.random.default_rng([seed, 1, *grid.layer.name.encode()])
    chosen = np.sort(random.choice(len(codes), min(CALIBRATION_VECTORS, len(codes)), replace=False))
    return grid.calibrate(codes[chosen], reader, random)
