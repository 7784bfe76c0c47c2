"""Chip keys that differ between layers: `layers`, by patterns of layer names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from norsim.configuration.quantities import MOST_AMPERES, quantity
from norsim.configuration.section import Section

# `fitted` on training images, `full` scale of the tile, or the amperes of the lowest and the highest code.
AdcRange = Literal["fitted", "full"] | tuple[float, float]
SignedAmperes = Annotated[
    float, quantity("ampere"), Field(ge=-MOST_AMPERES, le=MOST_AMPERES, allow_inf_nan=False)
]  # fmt: skip
RangeKey = Literal["fitted", "full"] | Annotated[list[SignedAmperes], Field(min_length=2, max_length=2)]
AdcBits = Annotated[int, Field(ge=1, le=24)]
RowsUsed = Annotated[int, Field(ge=1, le=8192)]


@dataclass(frozen=True)
class LayerKeys:
    """The chip keys of the layers whose names match `pattern`; None where the chip's own key counts.

    `adc_bits`, `adc_range`, `rows_used`   as in norsim.chip.model.Chip
    """

    pattern: str
    adc_bits: int | None = None
    adc_range: AdcRange | None = None
    rows_used: int | None = None


def range_of(key: str | list[float]) -> AdcRange:
    """Return the range that a key `adc.range` states. Raises ValueError for an empty one."""
    if key in ("fitted", "full"):
        return "full" if key == "full" else "fitted"
    low, high = map(float, key)
    if not low < high:
        raise ValueError(f"the range from {low:g} A to {high:g} A is empty; give the lower current first")
    return low, high


class LayerAdcSection(Section):
    """`adc` of some layers."""

    bits: AdcBits | None = None
    """Resolution of the converters of these layers; null: `adc.bits`."""
    range: RangeKey | None = None
    """Range of the converters of these layers; null: `adc.range`."""

    @model_validator(mode="after")
    def _has_a_range(self) -> LayerAdcSection:
        if self.range is not None:
            range_of(self.range)
        return self


class LayerTileSection(Section):
    """`tile` of some layers."""

    rows_used: RowsUsed | None = None
    """Inputs of these layers on one tile, at most; null: `tile.rows_used`."""


class LayerSection(Section):
    """The keys of the layers that a pattern matches."""

    adc: LayerAdcSection = LayerAdcSection()
    tile: LayerTileSection = LayerTileSection()

    def keys(self, pattern: str) -> LayerKeys:
        """Return the keys in SI units."""
        own = self.adc.range
        return LayerKeys(pattern, self.adc.bits, None if own is None else range_of(own), self.tile.rows_used)
