"""The memory cell: a SPICE subcircuit with one parameter for its programmed state."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property

from norsim.errors import ConfigurationError

NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
# The end of a line that the next line continues, with comments and blank lines between them.
CONTINUED = re.compile(r"\r?\n(?:[ \t]*(?:\*.*)?\r?\n)*[ \t]*\+")


@dataclass(frozen=True)
class Cell:
    """A cell as a SPICE subcircuit with the pins drain, gate, source, bulk, in this order.

    `subcircuit`     name of the subcircuit in `netlist`
    `netlist`        text that defines it
    `models`         text of the model cards it needs
    `state`          the subcircuit parameter that sets the threshold
    `erased_volts`, `programmed_volts`   lowest and highest threshold that the cell can be programmed to, volts
    `temperature_kelvin`  junction temperature, kelvin
    `lowest_volts`, `highest_volts`   lowest and highest threshold that a cell of a real chip can reach, volts; None for
                          half a window beyond that end of the window
    `options`        ngspice options that the models need, by name, e.g. `scale`
    `compatibility`  ngspice's mode for models written for another simulator, e.g. `hsa`; empty for ngspice's own syntax
    `neutral_volts`  threshold without stored charge, volts, if the state is a charge; None if the netlist tells it
    `osdi`           compiled Verilog-A models that the simulator loads: path and SHA-256 of each
    `verilog_a`      Verilog-A files that are compiled for the simulator: path, and SHA-256 of it with its includes
    `files`          further files that a trusted cell lets ngspice read: path and SHA-256 of each
    `allowed_parameters`  parameters, in lower case, that ngspice may ignore because it does not know them
    `origins`        for messages: the files of `models` and `netlist`, as numbers of lines of both texts joined by a
                     line break, from 1, at which a file begins or goes on, its name, and the number of that line there
    `notes`          for messages: what norsim changed in the files, in sentences

    Raises ConfigurationError if the window is empty, a limit lies inside it, a name is not a valid SPICE name, or the
    netlist does not define the subcircuit.
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
    verilog_a: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    neutral_volts: float | None = None
    allowed_parameters: tuple[str, ...] = ()
    origins: tuple[tuple[int, str, int], ...] = field(default=(), compare=False, repr=False)
    notes: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.erased_volts < self.programmed_volts:
            raise ConfigurationError(
                f"the cell's threshold window is empty: erased {self.erased_volts:g} V must lie below "
                f"programmed {self.programmed_volts:g} V"
            )
        low, high = self.limits
        if low > self.erased_volts or high < self.programmed_volts:
            raise ConfigurationError(
                f"the cell's threshold limits, {low:g} V to {high:g} V, exclude part of its window, "
                f"{self.erased_volts:g} V to {self.programmed_volts:g} V"
            )
        for name in (self.subcircuit, self.state):
            if not NAME.fullmatch(name):
                raise ConfigurationError(
                    f"{name!r} is not a valid SPICE name: use letters, digits and underscores, no digit first"
                )
        joined = CONTINUED.sub(" ", f"{self.models}\n{self.netlist}")
        if not re.search(rf"^[ \t]*\.subckt[ \t]+{self.subcircuit}\b", joined, re.IGNORECASE | re.MULTILINE):
            raise ConfigurationError(f"the cell's netlist has no line '.subckt {self.subcircuit} d g s b'")

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest threshold that a cell of a real chip can reach, volts."""
        beyond = (self.programmed_volts - self.erased_volts) / 2
        low, high = self.erased_volts - beyond, self.programmed_volts + beyond
        return (
            low if self.lowest_volts is None else self.lowest_volts,
            high if self.highest_volts is None else self.highest_volts,
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that determines the cell's currents; identifies the cell in caches and manifests."""
        text = [self.subcircuit, self.netlist, self.models, self.state, repr(self.temperature_kelvin)]
        needs = (self.options, self.compatibility, tuple(digest for _, digest in self.osdi))
        if any(needs):
            text.append(repr(needs))
        text += [digest for _, digest in (*self.files, *self.verilog_a)]
        return hashlib.sha256("\0".join(text).encode()).hexdigest()
