"""The use of each layer's converters: how many reads and conversions, and how many of these are clipped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from norsim.periphery.code_vectors import LayerCodes
from norsim.tiling.program import ProgrammedTile
from norsim.tiling.tile import ObservedRead, PlacedTile

# The share of clipped conversions above which a layer loses more than a well-fitted range does.
MANY = 0.01


@dataclass(frozen=True)
class Use:
    """The number of reads of a layer's tiles, of conversions of their currents, and of clipped conversions.

    `low`, `high`   currents below the lowest and above the highest code by more than half a step, which become the
                    lowest and the highest code
    """

    reads: int = 0
    conversions: int = 0
    low: int = 0
    high: int = 0

    def __add__(self, other: Use) -> Use:
        return Use(
            self.reads + other.reads, self.conversions + other.conversions, self.low + other.low, self.high + other.high
        )

    def shares(self) -> dict[str, float | None]:
        """Return the shares of conversions that are clipped at either end; None without conversions."""
        count = self.conversions
        return {
            "clipped_low": self.low / count if count else None,
            "clipped_high": self.high / count if count else None,
        }


class Tally:
    """An observer of reads that counts the use of each layer's converters."""

    def __init__(self) -> None:
        self.uses: dict[str, Use] = {}

    def observe(self, part: PlacedTile, array: ProgrammedTile, codes: LayerCodes, result: ObservedRead) -> None:
        """Count the reads of one tile, made for the layer's `codes` `[vectors, inputs]`."""
        vectors, passes, outputs = result.shape
        use = Use(vectors * passes, vectors * passes * outputs, *result.clipped(part))
        self.uses[part.layer.name] = self.uses.get(part.layer.name, Use()) + use


def total(parts: Iterable[Mapping[str, Use]]) -> dict[str, Use]:
    """Return the sum of uses by layer."""
    found: dict[str, Use] = {}
    for part in parts:
        for name, use in part.items():
            found[name] = found.get(name, Use()) + use
    return found
