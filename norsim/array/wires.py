"""Resistance and capacitance of the lines of an array."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from norsim.errors import ConfigurationError


@dataclass(frozen=True)
class EndPart:
    """A resistance at the end of a line, with the capacitance to ground at its side of the array; `name` is its name in
    decks."""

    name: str
    ohms: float
    farads: float = 0.0


EndParts = tuple[EndPart, ...]


@dataclass(frozen=True)
class Wires:
    """Resistance and capacitance of bitlines, source lines and wordlines.

    Wordlines drive gates, so they have no voltage drop at DC.

    `bitline_ohms`       one segment, from cell to cell; wordline 0 is nearest to the driven end
    `bitline_end_ohms`   between the bitline's volts and its first cell: driver or sense amplifier
    `source_ohms`        one segment of a source line, from cell to cell
    `source_end_ohms`    between a source line's end and its volts: strap contact or sense amplifier
    `bitline_end_parts`, `source_end_parts`   what these two consist of, from the volts to the array; their ohms add
                         up to them; empty for one resistance
    `rows_per_source_line`  2 if a row pair shares its diffusion, 1 if each row has its own line
    `strap_every`        bitlines between two straps to ground. A strap takes a column pitch of its own,
                         so n cells between two straps have n + 1 segments. The array's edges are straps
                         as well. None: no straps; the line is sensed at the end next to bitline 0.
    `strap_ends`         where straps are grounded: at `one` end, beside wordline 0, at `both`, or, with `all`, ideally
                         at each source line, so that the next two do not count
    `strap_ohms`         metal of a strap, along a bitline from cell to cell
    `ground_ohms`        between each grounded end of a strap and ground

    `wordline_ohms`, `wordline_end_ohms`   one segment of a wordline, and its driver
    `wordline_farads`, `bitline_farads`, `source_farads`   capacitance to ground per cell: wire, gate and junction

    A line whose `..._ohms` is 0 is one node. Raises ConfigurationError for values that are negative or not finite.
    """

    bitline_ohms: float = 0.0
    bitline_end_ohms: float = 0.0
    source_ohms: float = 0.0
    source_end_ohms: float = 0.0
    rows_per_source_line: int = 2
    strap_every: int | None = 16
    wordline_ohms: float = 0.0
    wordline_end_ohms: float = 0.0
    wordline_farads: float = 0.0
    bitline_farads: float = 0.0
    source_farads: float = 0.0
    strap_ends: Literal["one", "both", "all"] = "all"
    strap_ohms: float = 0.0
    ground_ohms: float = 0.0
    bitline_end_parts: EndParts = ()
    source_end_parts: EndParts = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith(("_ohms", "_farads")) and not 0 <= value < float("inf"):
                raise ConfigurationError(f"{field.name} must be finite and not negative, not {value}")
        for line, parts in (("bitline", self.bitline_end_parts), ("source", self.source_end_parts)):
            whole, total = getattr(self, f"{line}_end_ohms"), sum(part.ohms for part in parts)
            if parts and abs(total - whole) > 1e-9 * whole:
                raise ConfigurationError(f"{line}_end_parts add up to {total:g} ohm, not to {line}_end_ohms, {whole:g}")
        if self.rows_per_source_line < 1 or (self.strap_every is not None and self.strap_every < 1):
            raise ConfigurationError("rows_per_source_line and strap_every must be at least 1")
        if self.has_strap_metal and not self.source_ohms:
            raise ConfigurationError(
                "straps with a resistance need source lines with one: set source_ohms above 0, or strap_ends to all"
            )

    @property
    def bitline_end(self) -> EndParts:
        """What is between a bitline's volts and its first cell."""
        return self.bitline_end_parts or _one(self.bitline_end_ohms)

    @property
    def source_end(self) -> EndParts:
        """What is between a source line's volts and its end."""
        return self.source_end_parts or _one(self.source_end_ohms)

    @property
    def wordline_end(self) -> EndParts:
        """What is between a wordline's driver and its first cell."""
        return _one(self.wordline_end_ohms)

    @property
    def has_strap_metal(self) -> bool:
        """Whether the straps of source lines have a resistance to ground."""
        return self.strap_every is not None and self.strap_ends != "all" and bool(self.strap_ohms or self.ground_ohms)

    def source_lines(self, wordlines: int) -> int:
        """Return the number of source lines of an array with `wordlines` wordlines."""
        return -(-wordlines // self.rows_per_source_line)


def _one(ohms: float) -> EndParts:
    return (EndPart("end", ohms),) if ohms else ()
