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

    Raises ConfigurationError when the window is empty, a name is none, or the subcircuit is not in the netlist.
    """

    subcircuit: str
    netlist: str
    models: str
    state: str
    erased_volts: float
    programmed_volts: float
    temperature_kelvin: float = 300.15

    def __post_init__(self) -> None:
        if not self.erased_volts < self.programmed_volts:
            raise ConfigurationError(
                f"the cell's threshold window is empty: erased {self.erased_volts:g} V must lie below "
                f"programmed {self.programmed_volts:g} V"
            )
        for name in (self.subcircuit, self.state):
            if not NAME.fullmatch(name):
                raise ConfigurationError(f"{name!r} is no name in SPICE: letters, digits and underscores were expected")
        if f".subckt {self.subcircuit.lower()} " not in self.netlist.lower():
            raise ConfigurationError(f"the cell's netlist holds no line '.subckt {self.subcircuit} d g s b'")

    @property
    def limits(self) -> tuple[float, float]:
        """Thresholds that a cell of a real chip can come to: half a window beyond either end of it."""
        beyond = (self.programmed_volts - self.erased_volts) / 2
        return self.erased_volts - beyond, self.programmed_volts + beyond

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything that decides the cell's currents; names it in caches and manifests."""
        text = "\0".join([self.subcircuit, self.netlist, self.models, self.state, repr(self.temperature_kelvin)])
        return hashlib.sha256(text.encode()).hexdigest()
