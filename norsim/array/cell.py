"""The memory cell: a SPICE subcircuit with one parameter that carries its programmed state."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

from norsim.errors import ConfigurationError

NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True)
class Cell:
    """A cell as SPICE knows it. Pins are drain, gate, source, bulk, in this order.

    `subcircuit`     name of the subcircuit in `netlist`
    `netlist`        text that defines it
    `models`         text of the model cards it needs
    `state`          the subcircuit parameter that carries the threshold
    `erased_volts`, `programmed_volts`   lowest and highest threshold the cell can be given, volts
    `temperature_kelvin`  junction temperature, kelvin
    `lowest_volts`, `highest_volts`   thresholds that a cell of a real chip can come to, volts; None for half a window
                          beyond either end of it
    `options`        ngspice options that the models need, by name, e.g. `scale`
    `compatibility`  ngspice's mode for models written for another simulator, e.g. `hsa`; empty for its own language
    `osdi`           compiled Verilog-A models that ngspice loads: path and SHA-256 of each

    Raises ConfigurationError when the window is empty, a limit lies inside it, a name is none, or the subcircuit is not
    in the netlist.
    """

    subcircuit: str
    netlist: str
    models: str
    state: str
    erased_volts: float
    programmed_volts: float
    temperature_kelvin: float = 300.15
    lowest_volts: float | None = None
    highest_volts: float | None = None
    options: tuple[tuple[str, str], ...] = ()
    compatibility: str = ""
    osdi: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.erased_volts < self.programmed_volts:
            raise ConfigurationError(
                f"the cell's threshold window is empty: erased {self.erased_volts:g} V must lie below "
                f"programmed {self.programmed_volts:g} V"
            )
        low, high = self.limits
        if low > self.erased_volts or high < self.programmed_volts:
            raise ConfigurationError(
                f"the cell's thresholds are limited to {low:g} V to {high:g} V, which leaves out part of its window, "
                f"{self.erased_volts:g} V to {self.programmed_volts:g} V"
            )
        for name in (self.subcircuit, self.state):
            if not NAME.fullmatch(name):
                raise ConfigurationError(f"{name!r} is no name in SPICE: letters, digits and underscores were expected")
        if f".subckt {self.subcircuit.lower()} " not in self.netlist.lower():
            raise ConfigurationError(f"the cell's netlist holds no line '.subckt {self.subcircuit} d g s b'")

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest threshold that a cell of a real chip can come to, volts."""
        beyond = (self.programmed_volts - self.erased_volts) / 2
        low, high = self.erased_volts - beyond, self.programmed_volts + beyond
        return (
            low if self.lowest_volts is None else self.lowest_volts,
            high if self.highest_volts is None else self.highest_volts,
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything that decides the cell's currents; names it in caches and manifests."""
        text = [self.subcircuit, self.netlist, self.models, self.state, repr(self.temperature_kelvin)]
        needs = (self.options, self.compatibility, tuple(digest for _, digest in self.osdi))
        if any(needs):
            text.append(repr(needs))
        return hashlib.sha256("\0".join(text).encode()).hexdigest()
