"""The keys of the section `wires` of an encoding."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from norsim.array.wires import Wires
from norsim.configuration.quantities import Farads, Ohms
from norsim.configuration.section import Section
from norsim.errors import ConfigurationError


class SensedWiresSection(Section):
    """Wires with one source line per row, without straps, sensed at the end beside bitline 0."""

    bitline: Ohms
    """Bitline segment from cell to cell."""
    bitline_end: Ohms
    """Between a bitline's voltage source and its first cell: sense amplifier and column select, or driver."""
    source_line: Ohms
    """Source-line segment from cell to cell."""
    source_line_end: Ohms
    """Contact of a strap, or input of the sense amplifier."""
    wordline: Ohms = 0.0
    """Wordline segment from cell to cell."""
    wordline_end: Ohms = 0.0
    """Output of the wordline driver."""
    wordline_farads: Farads = 0.0
    """Wordline capacitance to ground per cell: wire and gate."""
    bitline_farads: Farads = 0.0
    """Bitline capacitance to ground per cell: wire and junction."""
    source_line_farads: Farads = 0.0
    """Source-line capacitance to ground per cell."""

    def build(self) -> Wires:
        """Return the wires, in SI units."""
        return Wires(
            self.bitline, self.bitline_end, self.source_line, self.source_line_end, 1, None, self.wordline,
            self.wordline_end, self.wordline_farads, self.bitline_farads, self.source_line_farads,
        )  # fmt: skip


class WiresSection(SensedWiresSection):
    """Wires with source lines that are shared by rows and strapped to ground.

    norsim.array.wires describes the straps.
    """

    rows_per_source_line: Annotated[int, Field(ge=1, le=8192)]
    """Wordlines that share a source line; all of a tile's if it has fewer. `macro` takes at most 8."""
    strap_every: Annotated[int, Field(ge=2, le=8192)] | None
    """Bitlines between two straps to ground, with straps at both edges; null: no straps, sensed beside bitline 0."""
    strap_ends: Literal["one", "both", "all"] = "all"
    """Where straps are grounded: at the end beside wordline 0, at both, or ideally at each source line (`all`)."""
    strap: Ohms = 0.0
    """Metal of a strap, along a bitline from cell to cell."""
    ground: Ohms = 0.0
    """Between each grounded end of a strap and ground."""

    def build(self) -> Wires:
        """Return the wires, in SI units; `ConfigurationError` if straps have a resistance and source lines none."""
        has_metal = self.strap_every is not None and self.strap_ends != "all" and (self.strap or self.ground)
        if has_metal and not self.source_line:
            raise ConfigurationError(
                "straps with a resistance (wires.strap, wires.ground) need source lines with one: set wires.source_line"
                " to 1 mohm or more, or make the straps ideal with wires.strap_ends=all"
            )
        return replace(
            super().build(), rows_per_source_line=self.rows_per_source_line, strap_every=self.strap_every,
            strap_ends=self.strap_ends, strap_ohms=self.strap, ground_ohms=self.ground,
        )  # fmt: skip
