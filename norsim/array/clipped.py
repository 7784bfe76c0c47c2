"""Cells that cannot reach their state, and stay at an end of the thresholds that they can have."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from norsim.array.tile import Floats

# Rounding of thresholds, volts, and of currents, relative.
ROUNDING_VOLTS, ROUNDING = 1e-9, 1e-6


@dataclass(frozen=True)
class Clipped:
    """How many of some cells are clipped at the ends of their thresholds, and by how much.

    `cells`   number of cells
    `low`     those that should have a lower threshold, and so conduct less than they should
    `high`    those that should have a higher one
    `volts`   the most by which a threshold is away from what it should be, where that is known
    `amps`    the most that is missing of a cell's current under the verify read, where that is known
    """

    cells: int = 0
    low: int = 0
    high: int = 0
    volts: float = 0.0
    amps: float = 0.0

    def __add__(self, other: Clipped) -> Clipped:
        return Clipped(
            self.cells + other.cells, self.low + other.low, self.high + other.high, max(self.volts, other.volts),
            max(self.amps, other.amps),
        )  # fmt: skip

    def content(self) -> dict[str, float]:
        """Return the fields by name, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        far = [f"{self.volts:.3g} V" if self.volts else "", f"{self.amps:.3g} A" if self.amps else ""]
        return f"{self.low} of {self.cells} cells are at the lowest threshold" + (
            f", up to {' and '.join(filter(None, far))} short of their state" if any(far) else ""
        )


def clipped(wanted: Floats, limits: tuple[float, float], missing: Floats) -> Clipped:
    """Return what is lost where thresholds `wanted`, volts, of any shape, are clipped to `limits`, and where currents
    `missing`, amperes, of the same shape, were out of reach before."""
    below, above = limits[0] - wanted, wanted - limits[1]
    low = (below > ROUNDING_VOLTS) | (missing > 0)
    volts = max(float(below.max()), float(above.max()))
    return Clipped(
        wanted.size, int(low.sum()), int((above > ROUNDING_VOLTS).sum()), volts if volts > ROUNDING_VOLTS else 0.0,
        float(missing.max()),
    )  # fmt: skip
