"""One tile read in torch: codes to line currents, to outputs, to converter codes, to sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from norsim.solver.macro.float16_parts import Parts
from norsim.solver.macro.on_device import DeviceTables
from norsim.tiling.on_device.converter import Converter


@dataclass(frozen=True, eq=False)
class DeviceRead:
    """The read of a tile for some vectors, as norsim.tiling.tile.TileRead: `amps` and `adc` `[vectors, passes,
    conversions]`, `sums` `[vectors, outputs]`, `line_noise` `[vectors, passes, lines]` or None."""

    amps: Tensor
    adc: Tensor
    sums: Tensor
    line_noise: Tensor | None = None


class Noise(Protocol):
    """Random numbers of the consecutive reads of a tile: norsim.tiling.read_noise.TileNoise."""

    def normals_of_lines(self, reads: int) -> Any:
        """Return standard normal numbers `[reads, lines]`, float32; None without noise of cells."""

    def of_converters(self, reads: int) -> Any:
        """Return the converters' noise `[reads, conversions]`, float32, in steps; None without."""


@dataclass(frozen=True, eq=False)
class DeviceTile:
    """A placed and programmed tile as tensors.

    `tables`     its model
    `inputs`, `outputs`   the first, and the one after the last, of the layer's that it holds
    `order`      `[inputs]`: the input on each of its lines; None for the layer's order
    `drives`     `[levels, slots]`: the drive of a line in each slot for each code; None for the code itself
    `top`        the largest drive
    `sensed`, `signs`   `[parts, conversions]`: lines that a conversion is summed from, and +1, -1, or 0 for none
    `converter`  from currents to sums
    `squares`    `[levels, passes]`: the square of the share of full drive in each pass, for each code
    `variance`   `[inputs, lines]`, amperes squared, of noise of the cells; None without
    `digital`    returns the term `[vectors, outputs]` that is added to the sums, for codes `[vectors, inputs]` of the
                 layer in memory; None without
    """

    tables: DeviceTables
    inputs: tuple[int, int]
    outputs: tuple[int, int]
    order: Tensor | None
    drives: Tensor | None
    top: float
    sensed: Tensor
    signs: Tensor
    converter: Converter
    squares: Tensor
    variance: Parts | None = None
    digital: Callable[[Any], Any] | None = None

    @property
    def passes(self) -> int:
        """Number of reads of a vector."""
        return len(self.converter.place_values)

    def vectors_at_once(self, most_bytes: int) -> int:
        """Return the number of vectors whose read takes about `most_bytes` of memory; at least 1."""
        of_outputs = 4 * self.passes * self.sensed.shape[1] * (8 + len(self.sensed))
        of_noise = 0 if self.variance is None else 14 * self.passes * len(self.variance.high)
        return max(most_bytes // (self.tables.bytes_per_vector(self.passes) + of_outputs + of_noise), 1)

    def read(self, layer_codes: Tensor, noise: Noise | None, most_bytes: int) -> Iterator[tuple[int, DeviceRead]]:
        """Yield reads of some of the `[vectors, inputs]` codes of the layer at a time, with their first vector."""
        at_once = self.vectors_at_once(most_bytes)
        for start in range(0, len(layer_codes), at_once):
            yield start, self.read_some(layer_codes[start : start + at_once], noise)

    def read_some(self, layer_codes: Tensor, noise: Noise | None) -> DeviceRead:
        """Return the read of all of the `[vectors, inputs]` codes of the layer at once."""
        codes = layer_codes[:, self.inputs[0] : self.inputs[1]]
        if self.order is not None:
            codes = codes[:, self.order]
        amps = self.sense(self.integrated(codes))
        lines, converters = (None, None) if noise is None else self.noise(codes, noise)
        if lines is not None:
            amps = amps + self.sense(lines)
        adc, sums = self.converter.read_out(amps, converters)
        if self.digital is not None:
            sums += torch.as_tensor(self.digital(layer_codes.cpu().numpy())).to(sums)
        shape = (len(codes), self.passes, -1)
        return DeviceRead(amps.view(shape), adc.view(shape), sums, None if lines is None else lines.view(shape))

    def integrated(self, codes: Tensor) -> Tensor:
        """Return the lines' amperes `[reads, lines]` for the tile's codes `[vectors, inputs]`, summed over slots."""
        if self.drives is None:
            return self.tables.lines(codes, self.passes, self.top)
        slots = torch.split(self.drives, 1, dim=1)
        found = self.tables.lines(functional.embedding(codes.int(), slots[0])[..., 0], self.passes, self.top)
        for slot in slots[1:]:
            found = found + self.tables.lines(functional.embedding(codes.int(), slot)[..., 0], self.passes, self.top)
        return found

    def sense(self, lines: Tensor) -> Tensor:
        """Return the amperes that are converted, `[reads, conversions]`, of lines' `[reads, lines]`."""
        total = lines[:, self.sensed[0]] * self.signs[0]
        for line, sign in zip(self.sensed[1:], self.signs[1:], strict=True):
            total = total.addcmul(lines[:, line], sign)
        return total

    def noise(self, codes: Tensor, noise: Noise) -> tuple[Tensor | None, Tensor | None]:
        """Return the deviations of the lines' currents, `[reads, lines]`, amperes, and the noise of the converters,
        `[reads, conversions]`, in steps, in the next reads."""
        reads = len(codes) * self.passes
        normals, converters = noise.normals_of_lines(reads), noise.of_converters(reads)
        lines = None
        if normals is not None and self.variance is not None:
            squares = functional.embedding(codes.int(), self.squares).transpose(1, 2).reshape(reads, -1)
            lines = torch.as_tensor(normals).to(squares) * self.variance.times(squares).sqrt_()
        return lines, None if converters is None else torch.as_tensor(converters).to(self.signs)
