"""Parts of a chip that can be switched on and off to measure their cost.

Each part has one entry in `FACTORS`: the settings of a chip file without it, and with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from norsim.array.non_idealities.read_disturb import ReadDisturb
from norsim.chip.model import Chip

By = Literal["causes", "cures", "layers"]


@dataclass(frozen=True)
class Factor:
    """A part of the chip that can be switched: settings of a chip file without it and with it; `{wires}` is the key of
    the encoding's wires."""

    without: tuple[str, ...]
    with_it: tuple[str, ...] = ()


LINEAR = (
    "cell.netlist=linear.sp", "cell.models=[]", "cell.subcircuit=linear", "cell.state=vt", "cell.model=null",
    "cell.pins=[drain, gate, source, bulk]", "cell.state_erased=null", "cell.state_programmed=null",
    "cell.programmed_as=null", "cell.instance={{}}", "cell.params={{}}", "cell.options={{}}", "cell.compatibility=''",
    "cell.osdi=[]",
    "cell.verilog_a=[]",
    "cell.module=null",
)  # fmt: skip


FACTORS = {
    "causes": {
        "cell": Factor(LINEAR),
        "bitline": Factor(("{wires}.bitline=0 ohm", "{wires}.bitline_end=0 ohm")),
        "source line": Factor(("{wires}.source_line=0 ohm", "{wires}.source_line_end=0 ohm")),
        "converter": Factor(("adc.bits=24", "adc.range=fitted", "adc.inl=0")),
    },
    "cures": {
        "column fit": Factor(("calibration.column_fit=false",), ("calibration.column_fit=true",)),
        "programming in place": Factor(("silicon.in_situ=false",), ("silicon.in_situ=true",)),
        "row order": Factor(("tile.row_order=false",), ("tile.row_order=true",)),
    },
}


# Straps with a resistance need source lines with one.
OF_METAL = {
    "source line": Factor(("{wires}.source_line=1 mohm", "{wires}.source_line_end=0 ohm")),
    "straps": Factor(("{wires}.strap_ends=all",)),
}


# The sense path, and how long it waits.
SENSING = Factor((
    "sense.amplifier=ideal", "sense.gain=null", "sense.window=0 s", "sense.input=0 ohm", "sense.multiplexer=0 ohm",
    "sense.global_bitline=0 ohm", "sense.offset=0 V", "sense.offset_drift=0 V/K",
))  # fmt: skip
READ_TIME = Factor(("sense.read_time=null",))
# Cells that were programmed exactly, and what comes from other cells and from reads.
PULSES = Factor(("silicon.pulses.step=null",))
NEIGHBOURS = Factor(("neighbours.rows=0", "neighbours.idle_rows=false"))
READ_DISTURB = Factor(("silicon.reads=0",))


def factors_of(by: str, chip: Chip) -> Mapping[str, Factor]:
    """Return the parts of a chip that can be switched, by name."""
    found = FACTORS[by]
    if by != "causes":
        return found
    if chip.wires.has_strap_metal:
        found = found | OF_METAL
    if chip.sensing.parts() or chip.sensing.has_offset:
        found = found | {"sensing": SENSING}
    if chip.sensing.read_seconds is not None:
        found = found | {"read time": READ_TIME}
    if chip.pulses is not None:
        found = found | {"pulses": PULSES}
    if chip.neighbours.rows or chip.neighbours.idle:
        found = found | {"neighbours": NEIGHBOURS}
    disturbed = any(isinstance(one, ReadDisturb) and one.disturbs for one in chip.silicon.mechanisms)
    return found | {"read disturb": READ_DISTURB} if disturbed else found


def settings_with(wires: str, on: frozenset[str], factors: Mapping[str, Factor]) -> list[str]:
    """Return the settings of a chip with the factors `on` and without the others; `wires` is the key of its wires."""
    return [
        text.format(wires=wires)
        for name, factor in factors.items()
        for text in (factor.with_it if name in on else factor.without)
    ]
