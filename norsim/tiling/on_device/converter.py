"""Conversion of currents to converter codes and sums in torch: what norsim.periphery.readout does by numba on a CPU."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Converter:
    """The converters of a tile's outputs, and the digital correction of their codes, in float32.

    `low`, `step`   `[conversions]`, amperes; `top`: the highest code
    `gain`, `offset`, `bow`   `[conversions]`, of Flaws: the factor on a current, the offset, and four times the bow
    `scale`, `shift`   `[conversions]`: code c stands for c scale + shift
    `place_values`     weight of each pass in the sum
    `slices`           conversions of an output, next to each other
    `thresholds`       `[conversions, codes]`, steps: of Flaws; None for half a step below each code
    """

    low: Tensor
    step: Tensor
    top: float
    gain: Tensor
    offset: Tensor
    bow: Tensor
    scale: Tensor
    shift: Tensor
    place_values: tuple[float, ...]
    slices: int
    thresholds: Tensor | None = None

    def read_out(self, amps: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Convert amperes `[vectors x passes, conversions]`, passes innermost, to codes of that shape and sums
        `[vectors, outputs]`; `noise` is that of the conversions, in steps."""
        ideal = (amps * self.gain - self.low) / self.step
        share = ideal / self.top
        seen = ideal + self.offset + self.bow * share * (1 - share)
        if noise is not None:
            seen = seen + noise
        codes = self.convert(seen)
        values = (codes * self.scale + self.shift).view(-1, len(self.place_values), codes.shape[1])
        sums = torch.zeros_like(values[:, 0])
        for place, value in enumerate(self.place_values):
            sums += value * values[:, place]
        by_slice = sums.view(len(sums), -1, self.slices)
        total = by_slice[..., 0]
        for one in range(1, self.slices):
            total = total + by_slice[..., one]
        return codes, total

    def convert(self, seen: Tensor) -> Tensor:
        """Return the codes, as whole numbers, of currents `[reads, conversions]` in steps."""
        if self.thresholds is None:
            # Ties go to the even code, as in NumPy.
            return seen.round().clamp(0, self.top)
        # As norsim.periphery.adc.searched.
        columns, bits = torch.arange(seen.shape[1], device=seen.device), self.thresholds.shape[1].bit_length() - 1
        codes = torch.zeros_like(seen, dtype=torch.int64)
        for bit in range(bits - 1, -1, -1):
            trial = codes | 1 << bit
            codes = torch.where(seen >= self.thresholds[columns, trial], trial, codes)
        return codes.to(seen.dtype)
