"""The interface of all cell non-idealities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from norsim.array.cell import Cell
from norsim.array.draw import Draw
from norsim.array.non_idealities.key import check_values
from norsim.array.tile import Floats

Same = TypeVar("Same", bound="NonIdeality")


@dataclass(frozen=True, eq=False)
class ProgrammedCells:
    """The cells of a tile just after program-verify.

    `thresholds`   `[wordlines, bitlines]`, volts
    `target_amps`  same shape, the currents that program-verify aimed at, amperes
    `cell`         the cell, at the temperature of reads
    `seconds`      time since programming
    `retention_seconds`   the time at the reference temperature of retention in which as much charge is lost
    `neutral_volts`   returns the threshold of the cell without stored charge
    """

    thresholds: Floats
    target_amps: Floats
    cell: Cell
    seconds: float
    retention_seconds: float
    neutral_volts: Callable[[], float]


@dataclass(frozen=True)
class NonIdeality:
    """One mechanism: a subclass in its own file, and one line in norsim.array.non_idealities.registry.

    A subclass is a frozen dataclass with a default for each field; with all defaults it has no effect. The metadata of
    a field holds the key of the chip file that sets it (norsim.array.non_idealities.key). A subclass states its law in
    `gains`, `slopes`, `shift`, `currents` or `broken`. These are pure functions; random numbers come from a stream with
    a name of its own, `draw.normal("name", shape)`.

    Raises ConfigurationError for a number that is not finite or below the bound of its key.
    """

    def __post_init__(self) -> None:
        check_values(self)

    def fresh(self: Same) -> Same:
        """Return the mechanism without noise, as just after programming."""
        return self

    def at_read(self) -> bool:
        """Return whether `currents` returns those at the temperature of reads instead of that of program-verify."""
        return False

    def gains(self, shape: tuple[int, int], draw: Draw) -> Floats | None:
        """Return the factor on the current of each cell that program-verify found, `[wordlines, bitlines]`; None: 1."""
        return None

    def slopes(self, shape: tuple[int, int], draw: Draw) -> Floats | None:
        """Return the relative deviation of the slope of each cell, `[wordlines, bitlines]`; None for none."""
        return None

    def shift(self, cells: ProgrammedCells, draw: Draw) -> Floats | float:
        """Return what is added to the thresholds: `[wordlines, bitlines]` volts, or one value for all cells."""
        return 0.0

    def currents(self, amps: Floats, cells: ProgrammedCells, draw: Draw) -> Floats:
        """Return the currents, under the verify read, of cells that would conduct `amps`; `[wordlines, bitlines]`.

        They are those at the temperature of program-verify, or of reads if `at_read()`.
        """
        return amps

    def broken(self, thresholds: Floats, cells: ProgrammedCells, draw: Draw) -> Floats:
        """Return thresholds with those of broken cells replaced, both `[wordlines, bitlines]` volts."""
        return thresholds
