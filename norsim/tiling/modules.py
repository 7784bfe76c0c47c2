"""The torch modules that replace layers and read their tiles: what all have in common, and linear layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from norsim.backends.backend import Backend
from norsim.backends.ideal import Ideal
from norsim.data.inputs.structure import Structure, split, taken, tensors_in
from norsim.errors import ConfigurationError
from norsim.periphery.code_vectors import CodeVectors
from norsim.periphery.encoding import Codes
from norsim.quantization.forward import forward
from norsim.tiling.fit import fit_as_vector, with_fit
from norsim.tiling.grid import TileGrid
from norsim.tiling.on_device.reading import TensorPath, path_of
from norsim.tiling.read_noise import image_axis
from norsim.tiling.reader import Reader

# Values of images that pass through a network at a time while codes are recorded.
VALUES_AT_ONCE = 2**22


class TiledLayer(nn.Module):
    """A layer whose multiply-accumulates are done by the array; it has no gradient.

    Its classes are also torch's, so that a network that asks a layer for its weight, type or geometry gets an answer.

    `weight`   copy of what is programmed, `[outputs, inputs]` or `[outputs, channels, ...]`, and `bias` `[outputs]`;
               not in `state_dict`
    `grid`     its tiles
    `reader`   how they are read; None until a backend is chosen, by `norsim.calibrate` or `use`
    `fixed`    a backend for this layer that overrides the reader's; None for none
    `record`   if it is a list, the activation codes of each forward pass are appended to it
    `calls`    number of calls since `use`: noise is drawn again in each
    `path`     the layer in torch, on the device where it last computed that way; None before
    """

    weight: Tensor

    def hold(self, grid: TileGrid, fixed: Backend | None) -> None:
        """Set the fields of a new layer of torch's class."""
        self.grid = grid
        self.fixed = fixed
        self.reader: Reader | None = None
        self.record: list[Codes | CodeVectors] | None = None
        self.calls = 0
        self.path: TensorPath | None = None
        real = (grid.layer.weights.astype(np.float32) - grid.layer.weight_zero) * grid.layer.weight_scale[:, None]
        for name, value in (("weight", real.reshape(self.weight.shape)), ("bias", grid.layer.bias)):
            kept = None if value is None else nn.Parameter(torch.tensor(value), requires_grad=False)
            self.register_parameter(name, kept)
        # In a tuple, because an attribute would be another parameter.
        self.programmed = tuple(self._parameters.values())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TiledLayer:
        # The tables on a device that the layer leaves.
        self.path = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

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

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        # Only the fit: the weights are those of the array.
        destination[f"{prefix}_extra_state"] = self.get_extra_state()
        for name, value in self._buffers.items():
            if name not in self._non_persistent_buffers_set and value is not None:
                destination[prefix + name] = value if keep_vars else value.detach()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        programmed = {prefix + name: value for name, value in self._parameters.items() if value is not None}
        super()._load_from_state_dict(state_dict | programmed, prefix, *rest)

    def reader_in_use(self) -> Reader:
        """Return the reader. Raises ConfigurationError if there is none, if it reads an array that is not calibrated,
        or if other weights were put in the place of the programmed ones."""
        name = self.grid.layer.name
        if any(one is not other for one, other in zip(self._parameters.values(), self.programmed, strict=False)):
            raise ConfigurationError(
                f"layer {name!r} was given another weight or bias, but its cells keep the programmed ones; compute "
                "with torch.nn.functional, which stays digital, or deploy the network with those weights"
            )
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

    def in_torch(self, input: Tensor) -> TensorPath | None:
        """Return how the layer computes in torch, on the device of its input; None for NumPy and numba on a CPU."""
        path = path_of(self.path, self.grid, self.reader_in_use(), input.device)
        self.path = path or self.path
        return path

    def real_numbers(self, input: Tensor) -> Tensor:
        """Return real activations of any shape, float32, on their device. Raises ConfigurationError for integers and
        NaN."""
        if not input.is_floating_point():
            raise ConfigurationError(
                f"layer {self.grid.layer.name!r}: input of {input.dtype}; expected real numbers as the network was "
                "trained on, for example images.float() / 255"
            )
        activations = input.detach().float()
        # The least of numbers with a NaN is NaN.
        if activations.numel() and torch.isnan(activations.amin()):
            raise ConfigurationError(
                f"layer {self.grid.layer.name!r}: an input is not a number (NaN), for which there is no code; check "
                "the images and the layers before it"
            )
        return activations

    def reader_of_call(self, images: int) -> Reader:
        """Return the reader of the next call, for `images` images, with the noise of that call."""
        reader = self.reader_in_use()
        noise = reader.noise.of_call(images, self.calls) if reader.noise is not None and self.grid.noisy else None
        self.calls += 1
        return replace(reader, noise=noise)

    def sums(self, codes: Codes | CodeVectors, images: int, device: torch.device) -> NDArray[np.floating]:
        """Return the sums `[vectors, outputs]` of (q - z) x for activation codes `[vectors, inputs]`.

        The vectors are those of `images` images, image after image; that matters only for noise. A backend that can
        computes on `device`.
        """
        if self.record is not None:
            self.record.append(codes)
        if not len(codes):
            return np.empty((0, self.grid.layer.outputs))
        # Sums in the type of autocast would be rounded.
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return self.grid.multiply(codes, self.reader_of_call(images).on(str(device)))

    def outputs_in_torch(self, path: TensorPath, parts: Iterable[Tensor], vectors: int, images: int) -> Tensor:
        """Return real outputs `[vectors, outputs]`, float32, for codes on a device, in parts `[..., inputs]` of
        `vectors` vectors in all, which are those of `images` images."""
        if not vectors:
            return torch.empty(0, self.grid.layer.outputs)
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return path.outputs(parts, vectors, self.reader_of_call(images), self.record)

    def image_axis(self, shape: Sequence[int]) -> tuple[int, int]:
        """Return the axis of an input that counts images, and the number of images, for its `shape` without inputs.

        Raises ConfigurationError if noise is drawn by image and no axis counts them.
        """
        noise = self.reader_in_use().noise
        images = noise.images if noise is not None and self.grid.noisy else None
        axis = image_axis(shape, images, self.grid.layer.name)
        length = shape[axis] if shape else 1
        return axis, length if images is None else min(images, length)

    def as_torch(self, found: Tensor, input: Tensor, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
        """Return outputs of any shape on the device of `input`, in a memory format, in the type of autocast if it is
        on."""
        kind = input.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        wanted = torch.empty(found.shape, dtype=dtype, device=input.device, memory_format=layout)
        # By strides, because torch calls some tensors contiguous in a format whose strides they do not have.
        same = found.stride() == wanted.stride()
        return found.to(input.device, dtype) if same else wanted.copy_(found)

    def real(self, sums: NDArray[np.floating]) -> Tensor:
        """Return real outputs `[..., outputs]`, float32, for sums of (q - z) x of the same shape."""
        return torch.from_numpy(self.grid.layer.decode(sums - self.grid.layer.zero_sums))


class TiledLinear(TiledLayer, nn.Linear):
    """A linear layer on tiles: `[..., inputs]` -> `[..., outputs]`."""

    def __init__(self, grid: TileGrid, fixed: Backend | None = None) -> None:
        layer = grid.layer
        nn.Linear.__init__(self, layer.inputs, layer.outputs, layer.bias is not None, device="meta")
        self.hold(grid, fixed)

    def forward(self, input: Tensor) -> Tensor:
        """Return `[..., outputs]` for `[..., inputs]`, read from the tiles, in the type that torch's layer returns.

        Raises ConfigurationError for an input of another shape.
        """
        layer = self.grid.layer
        if input.shape[-1:] != (layer.vector_length,):
            raise ConfigurationError(
                f"layer {layer.name!r}: input of shape {tuple(input.shape)}; expected [..., {layer.vector_length}]"
            )
        axis, images = self.image_axis(input.shape[:-1])
        first = input.movedim(axis, 0) if input.ndim > 1 else input
        path = self.in_torch(input)
        if path is None:
            codes = layer.encode(self.real_numbers(first).cpu().numpy()).reshape(-1, layer.vector_length)
            found = self.real(self.sums(codes, images, input.device))
        else:
            vectors = self.real_numbers(first).reshape(-1, layer.vector_length)
            found = self.outputs_in_torch(path, path.codes(vectors), len(vectors), images)
        found = found.reshape(*first.shape[:-1], layer.outputs)
        return self.as_torch(found.movedim(0, axis) if input.ndim > 1 else found, input)


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


def layer_codes(model: nn.Module, images: Structure, names: Collection[str] | None = None) -> dict[str, Codes]:
    """Return what `layer_vectors` returns as arrays `[vectors, inputs]`."""
    return {name: vectors[:] for name, vectors in layer_vectors(model, images, names).items()}


def layer_vectors(model: nn.Module, images: Structure, names: Collection[str] | None = None) -> dict[str, CodeVectors]:
    """Return the `[vectors, inputs]` activation codes of layers `names`, by default all, for `images`, all layers
    digital. Raises ConfigurationError for a name that is not a converted layer."""
    with digital(model) as layers, torch.inference_mode():
        wanted = {name: layers.get(name) for name in (layers if names is None else names)}
        recorded: dict[str, list[Codes | CodeVectors]] = {}
        try:
            for name, layer in wanted.items():
                if layer is None:
                    raise ConfigurationError(f"no layer {name!r} on the array; the layers are {', '.join(layers)}")
                layer.record = recorded[name] = []
            # Large images in parts, whose activations fit the memory.
            each = sum(one.numel() for one in tensors_in(taken(images, slice(1))))
            parts = list(split(images, max(VALUES_AT_ONCE // max(each, 1), 1)))
            for part in parts:
                forward(model, part)
        finally:
            for layer in layers.values():
                layer.record = None
    return {name: CodeVectors.joined(_by_call(found, len(parts))) for name, found in recorded.items()}


def _by_call(recorded: list[Codes | CodeVectors], parts: int) -> list[Codes | CodeVectors]:
    """Return what a layer recorded for several parts of images in the order of one pass of all: call after call, as far
    as it is called equally often for each part."""
    calls, more = divmod(len(recorded), parts)
    if more:
        return recorded
    return [recorded[part * calls + call] for call in range(calls) for part in range(parts)]
