"""A layer as the array sees it: integer weight codes, scales and zero points. NumPy and numba only.

The affine scheme is that of Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (CVPR 2018), equations 1 to 4, with one scale per output channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import ArrayLike, NDArray

from norsim.array.compiled import njit
from norsim.errors import ConfigurationError, PlacementError
from norsim.quantization.by_layer.bits import MAX_BITS

TINY = 1e-8
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
CLIP_FRACTIONS = 0.05 ** (np.arange(41) / 40)
# Number of values that are compared with all scales before the next ones.
SPAN = 4096


@dataclass(frozen=True)
class ConvGeometry:
    """Geometry by which a convolution cuts its input into vectors; every pair is (vertical, horizontal), in pixels.

    A 1-D convolution has height 1. `padding_mode` is torch's parameter of that name.
    """

    in_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    padding_mode: str = "zeros"

    def __post_init__(self) -> None:
        if self.padding_mode not in PADDING_MODES:
            raise ConfigurationError(f"padding mode {self.padding_mode!r}; expected one of {', '.join(PADDING_MODES)}")
        for field in fields(self)[:-1]:
            value = getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else (value,)
            lowest = 0 if field.name == "padding" else 1
            if any(type(number) is not int or number < lowest for number in numbers):
                raise ConfigurationError(
                    f"convolution {field.name} is {value!r}; expected integers of at least {lowest}"
                )
            if isinstance(value, tuple) and len(value) != 2:
                raise ConfigurationError(f"convolution {field.name} is {value!r}; expected (height, width)")
        if self.in_channels % self.groups:
            raise ConfigurationError(f"{self.in_channels} channels cannot be divided into {self.groups} groups")

    def positions(self, size: Sequence[int]) -> tuple[int, int]:
        """Return the height and the width of the outputs for padded images of a `size`, height and width."""
        along = zip(size, self.kernel, self.dilation, self.stride, strict=True)
        rows, columns = ((length - step * (kernel - 1) - 1) // stride + 1 for length, kernel, step, stride in along)
        return rows, columns

    @property
    def inputs(self) -> int:
        """Weights per output: the channels of one group times the kernel's area."""
        return self.in_channels // self.groups * self.kernel[0] * self.kernel[1]


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """One Conv1d, Conv2d or Linear in integers. With weight codes q, activation codes x and zero points z,

        y[o] = weight_scale[o] · input_scale · Σ_i (q[o, i] − weight_zero)(x[i] − input_zero) + bias[o]

    (Jacob et al. 2018, equations 3 and 4, with the output left as a real number).

    - `weights`: `[outputs, inputs]`, uint8 codes 0..2^weight_bits − 1. Inputs of a convolution are in
      the order of `torch.nn.functional.unfold`: channel of the group, kernel row, kernel column.
    - `weight_zero`: the code of weight 0, one for the whole layer, because on the array all outputs share
      reference columns of cells at that code.
    - `weight_scale`: `[outputs]`, float32, positive: real weight per code step.
    - `input_scale`, `input_zero`: real activation per code step, and the code of activation 0 (also the
      code of a convolution's zero padding).
    - `bias`: `[outputs]`, float32, in the unit of the output, or None.
    - `geometry`: None for a linear layer.

    Arrays are copied and read-only. Raises PlacementError for a weight outside the levels of a cell,
    ConfigurationError for any other inconsistency.
    """

    name: str
    weights: NDArray[np.uint8]
    weight_zero: int
    weight_scale: NDArray[np.float32]
    weight_bits: int
    input_scale: float
    input_zero: int
    input_bits: int
    bias: NDArray[np.float32] | None = None
    geometry: ConvGeometry | None = None

    def __post_init__(self) -> None:
        for kind in ("weight", "input"):
            bits = getattr(self, f"{kind}_bits")
            self._require(1 <= bits <= MAX_BITS, f"{kind}_bits is {bits}; expected 1 to {MAX_BITS}")
            zero, top = getattr(self, f"{kind}_zero"), 2**bits - 1
            self._require(int(zero) == zero, f"{kind}_zero is {zero}; expected an integer")
            self._require(0 <= zero <= top, f"{kind}_zero is {zero}; expected a code from 0 to {top}")
        scale = self.input_scale
        self._require(bool(np.isfinite(scale)) and scale > 0, f"input_scale is {scale}; expected above 0")
        self._freeze("weights", self._checked_codes())
        self._freeze("weight_scale", self._checked_vector("weight_scale", self.weight_scale))
        self._require(bool((self.weight_scale > 0).all()), "a weight_scale is not above 0")
        if self.bias is not None:
            self._freeze("bias", self._checked_vector("bias", self.bias))
        self._check_geometry()

    @property
    def outputs(self) -> int:
        """Number of outputs of all groups."""
        return int(self.weights.shape[0])

    @property
    def inputs(self) -> int:
        """Number of weights per output: the inputs of one group."""
        return int(self.weights.shape[1])

    @property
    def groups(self) -> int:
        """Groups of outputs, each with its own inputs; 1 except for grouped convolutions."""
        return self.geometry.groups if self.geometry else 1

    @property
    def vector_length(self) -> int:
        """Length of an activation vector: the inputs of all groups, one group after the other."""
        return self.inputs * self.groups

    @property
    def zero_sums(self) -> NDArray[np.int64]:
        """`[outputs]`: input_zero · Σ (q − weight_zero), the excess of Σ (q − weight_zero) x over that sum."""
        found: NDArray[np.int64] = self.weights.sum(axis=1, dtype=np.int64) - self.inputs * self.weight_zero
        return self.input_zero * found

    def encode(self, activations: ArrayLike) -> NDArray[np.uint8]:
        """Return the codes, uint8, same shape, of real activations of any shape: clip(round(x / s) + z).

        The reciprocal of the scale is rounded to float32 first and ties go to even, as in torch's
        fake-quantization kernels, so that both return the same integers.
        """
        reciprocal = np.float32(1) / np.float32(self.input_scale)
        steps = np.rint(np.asarray(activations, dtype=np.float32) * reciprocal)
        codes: NDArray[np.uint8] = np.clip(steps + self.input_zero, 0, 2**self.input_bits - 1).astype(np.uint8)
        return codes

    def decode(self, sums: ArrayLike) -> NDArray[np.float32]:
        """Return real outputs, float32, of `sums` `[..., outputs]` = Σ (q − z_w)(x − z_x), by the equation above."""
        step = self.weight_scale.astype(np.float64) * float(self.input_scale)
        outputs = np.asarray(sums, dtype=np.float64) * step
        if self.bias is not None:
            outputs = outputs + self.bias
        return outputs.astype(np.float32)

    def _require(self, holds: bool, problem: str) -> None:
        if not holds:
            raise ConfigurationError(f"layer {self.name!r}: {problem}")

    def _freeze(self, field: str, value: NDArray[Any]) -> None:
        value.setflags(write=False)
        object.__setattr__(self, field, value)

    def _checked_codes(self) -> NDArray[np.uint8]:
        codes = np.asarray(self.weights)
        self._require(codes.ndim == 2 and codes.size > 0, f"weights {codes.shape}; expected [outputs, inputs]")
        self._require(codes.dtype.kind in "iu", f"weights are {codes.dtype}; expected integer codes")
        top = 2**self.weight_bits - 1
        outside = np.argwhere((codes < 0) | (codes > top))
        if len(outside):
            output, place = (int(index) for index in outside[0])
            raise PlacementError(
                f"layer {self.name!r}: weight code {codes[output, place]} at output {output}, input {place} "
                f"is outside the levels 0 to {top} of a {self.weight_bits}-bit cell "
                f"({len(outside)} of {codes.size} codes are); quantize the layer to {self.weight_bits} bits"
            )
        return codes.astype(np.uint8)

    def _checked_vector(self, field: str, value: ArrayLike) -> NDArray[np.float32]:
        vector = np.array(value, dtype=np.float32)
        shape = (self.outputs,)
        self._require(vector.shape == shape, f"{field} has shape {vector.shape}; expected {shape}")
        self._require(bool(np.isfinite(vector).all()), f"{field} has a value that is not finite")
        return vector

    def _check_geometry(self) -> None:
        if self.geometry is None:
            return
        need, groups = self.geometry.inputs, self.geometry.groups
        self._require(self.inputs == need, f"{self.inputs} weights per output; its geometry needs {need}")
        self._require(self.outputs % groups == 0, f"{self.outputs} outputs cannot be divided into {groups} groups")


def weight_span(layer: QuantizedLayer, inputs: range, outputs: range) -> range:
    """Return the range of an output's weights that belong to `inputs`, which are counted over all groups; weights are
    counted within one group."""
    before = outputs.start // (layer.outputs // layer.groups) * layer.inputs
    return range(inputs.start - before, inputs.stop - before)


def blocks_of(layer: QuantizedLayer, outputs: range) -> int:
    """Return the number of whole groups of a convolution that are those `outputs`; 1 for a part of one."""
    return max(len(outputs) // (layer.outputs // layer.groups), 1)


def span_weights(layer: QuantizedLayer, inputs: range, outputs: range, between: int) -> NDArray[np.uint8]:
    """Return the `[inputs, outputs]` weight codes between those inputs and outputs, in the layer's order, and `between`
    where an input and an output belong to different groups."""
    blocks = blocks_of(layer, outputs)
    if blocks == 1:
        span = weight_span(layer, inputs, outputs)
        return layer.weights[outputs.start : outputs.stop, span.start : span.stop].T
    own = layer.weights[outputs.start : outputs.stop].reshape(blocks, -1, layer.inputs)
    found = np.full((blocks, layer.inputs, blocks, own.shape[1]), between, dtype=np.uint8)
    diagonal = np.arange(blocks)
    found[diagonal, :, diagonal] = own.transpose(0, 2, 1)
    return found.reshape(len(inputs), len(outputs))


def fit_grid(values: NDArray[np.float32], bits: int) -> tuple[NDArray[np.float32], int]:
    """Find the scales `[rows]` and the one zero point whose codes fit `values` `[rows, n]` with least squared error.

    Zero points are searched around that of the full range (0 if no value is negative), the scale of each row
    from the largest, which clips nothing, down to a twentieth of it.
    """
    top = 2**bits - 1
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    middle = round(-low / (high - low) * top) if low < 0 else 0
    candidates = range(max(middle - 4, 0), min(middle + 4, top) + 1) if low < 0 else range(1)
    fits = [(*_fit_scales(values, zero, top), zero) for zero in candidates]
    scale, _, zero = min(fits, key=lambda fit: fit[1])
    return scale, zero


def fit_percentile(values: NDArray[np.float32], bits: int, percent: float) -> tuple[NDArray[np.float32], int]:
    """Return the scale `[1]` and the zero point with which the highest and the lowest code of `values` `[n]` are at the
    percentiles `percent` and 100 - `percent`; values without negative ones have the zero point 0."""
    top = 2**bits - 1
    for share in (percent, 100.0):
        low, high = (float(value) for value in np.percentile(values, (100 - share, share)))
        low, high = min(low, 0.0) if values.min() < 0 else 0.0, max(high, 0.0)
        if high - low >= TINY:
            return np.array([(high - low) / top], np.float32), round(-low / (high - low) * top)
    # Values that are all 0, or nearly so, fit every scale.
    return np.array([1 / top], np.float32), 0


def _fit_scales(values: NDArray[np.float32], zero: int, top: int) -> tuple[NDArray[np.float32], float]:
    above = values.max(1) / (top - zero) if zero < top else np.zeros(len(values))
    below = -values.min(1) / zero if zero else np.zeros(len(values))
    widest = np.maximum(above, below)
    # A row of zeros fits every scale; a scale that is not tiny keeps it trainable.
    widest[widest < TINY] = 1 / top
    scales = (widest[:, None] * CLIP_FRACTIONS).astype(np.float32)
    errors = np.empty(scales.shape)
    _squared_errors(np.ascontiguousarray(values), scales, np.float32(-zero), np.float32(top - zero), errors)
    best = errors.argmin(axis=1)[:, None]
    found: NDArray[np.float32] = np.take_along_axis(scales, best, 1)[:, 0]
    return found, float(np.take_along_axis(errors, best, 1).sum())


@njit(parallel=True, fastmath={"reassoc"}, error_model="numpy")
def _squared_errors(values, scales, lowest, highest, errors):  # type: ignore[no-untyped-def]
    """Set errors[r, k] to the sum over i of the squared differences between values[r, i] and its nearest multiple of
    scales[r, k], from `lowest` to `highest` times the scale. A row is taken in parts that stay in the cache."""
    rows, count = values.shape
    parts = (count + SPAN - 1) // SPAN
    for r in prange(rows):
        for k in range(scales.shape[1]):
            errors[r, k] = 0.0
        for part in range(parts):
            for k in range(scales.shape[1]):
                scale, total = scales[r, k], 0.0
                for i in range(part * SPAN, min((part + 1) * SPAN, count)):
                    value = values[r, i]
                    difference = min(max(np.rint(value / scale), lowest), highest) * scale - value
                    total += np.float64(difference * difference)
                errors[r, k] += total
