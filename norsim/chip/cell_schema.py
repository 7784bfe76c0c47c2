"""The keys of a chip file's cell, and what all sections have in common."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from norsim.chip.quantities import Conversion, Volts, any_quantity, same_kind

NAME = r"^[A-Za-z_][A-Za-z0-9_.]*$"
# What norsim's decks set themselves.
OWN_OPTIONS = {"gmin", "abstol", "reltol", "vntol", "temp", "method", "klu", "sparse"}
# ngspice's modes, which can stand together: HSPICE, PSPICE, LTspice, KiCad, Spectre, Eagle; `a` for all of a netlist.
COMPATIBILITY = r"^(hs|ps|lt|ki|sp|eg|s3|mc|a|all)*$"
SPICE_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[A-Za-z]{0,8}")


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
        raise ValueError(f"expected a number as SPICE has it, such as 70n or 1e-6, not {value!r}")
    return str(value)


def _is_parameter(value: Any) -> bool:
    try:
        any_quantity(value)
    except ValueError:
        return False
    return True


Name = Annotated[str, Field(pattern=NAME)]
# A node of the cell's model: a terminal, or volts of its own.
Pin = Annotated[str | float, BeforeValidator(_pin)]
Parameter = Annotated[float, BeforeValidator(any_quantity), Field(allow_inf_nan=False)]
SpiceNumber = Annotated[str, BeforeValidator(_spice_number)]


class Section(BaseModel):
    """Common to all parts of a chip file: unknown keys are errors, and nothing changes after loading."""

    # The reference page of the keys is made of the docstrings below them: docs/chip_keys.py.
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class LibrarySection(Section):
    """An entry of `cell.models`: a file, or a section of it that begins with `.lib SECTION`, such as a corner."""

    file: str
    """Name of the file."""
    section: Annotated[str, Field(pattern=NAME)] | None = None
    """What follows `.lib` in it; null: the whole file."""


class CellSection(Section):
    """`cell`: which files, which subcircuit or transistor, how it is connected, what carries its state, its window."""

    netlist: str | None = None
    """Defines the subcircuit; looked for beside the chip file, then in `netlists/cells/`."""
    models: list[str | LibrarySection] = []
    """What else the cell needs; beside the chip file, then in `models/devices/`. An entry is a file name, or `{file:
    cards.lib, section: tt}` for what stands between `.lib tt` and `.endl`."""
    subcircuit: Name | None = None
    """Name of the subcircuit that is the cell."""
    model: Name | None = None
    """In place of `cell.subcircuit`: the card of a transistor, with or without bins."""
    pins: Annotated[list[Pin], Field(min_length=3, max_length=32)] = ["drain", "gate", "source", "bulk"]
    """The model's nodes in their order: `drain`, `gate`, `source`, `bulk`, `ground`, or volts such as `1.2 V`. `bulk`
    is the array's well, which decks tie to 0 V; `ground` is 0 V itself, whatever a well does."""
    state: Name | None = None
    """The parameter that carries a cell's state; null: the threshold is shifted by a source before the gate."""
    state_erased: Parameter | None = None
    """The parameter at the erased end of the window, for instance `0.1 fC` or `10 uS`; null: the parameter is the
    threshold in volts."""
    state_programmed: Parameter | None = None
    """The same at its programmed end; linear between them."""
    programmed_as: Name | None = None
    """The card of a programmed cell, where `cell.model` is that of an erased one; for the record, since cells between
    them are shifted erased ones."""
    erased: Volts
    """Lowest threshold a cell can be given."""
    programmed: Volts
    """Highest threshold; a level of 0 A is a cell at this threshold."""
    lowest: Volts | None = None
    """Lowest threshold that a cell of a real chip can come to; null: half a window below `erased`."""
    highest: Volts | None = None
    """Highest one; null: half a window above `programmed`."""
    instance: dict[Name, SpiceNumber] = {}
    """Further parameters of the model as SPICE has them, for instance `{w: 70n, l: 110n}`."""
    params: dict[Name, SpiceNumber] = {}
    """`.param` lines before the files."""
    options: dict[Name, SpiceNumber] = {}
    """Options of ngspice that the models need, for instance `{scale: 1u}`."""
    compatibility: Annotated[str, Field(pattern=COMPATIBILITY)] = ""
    """Mode of ngspice for models of another simulator, for instance `hsa`, as `ngspice -D ngbehavior=hsa`; `build-
    netlist` writes it to `.spiceinit` beside the deck."""
    osdi: list[str] = []
    """Compiled Verilog-A beside the chip file; needs an ngspice with OSDI, and `--trust-cell`. Not run yet: no ngspice
    with OSDI was at hand."""

    @model_validator(mode="before")
    @classmethod
    def _has_ends_of_one_kind(cls, content: Any) -> Any:
        ends = [content.get(name) for name in ("state_erased", "state_programmed")] if isinstance(content, dict) else []
        if None not in ends and ends and all(map(_is_parameter, ends)) and not same_kind(*ends):
            raise ValueError(f"`state_erased` is {ends[0]} and `state_programmed` {ends[1]}: give both in one unit")
        return content

    @model_validator(mode="after")
    def _agrees(self) -> CellSection:
        if (self.subcircuit is None) == (self.model is None):
            raise ValueError("give either `subcircuit`, or `model` for the card of a transistor")
        missing = {"drain", "gate", "source"} - {pin for pin in self.pins if isinstance(pin, str)}
        if missing:
            raise ValueError(f"`pins` has no {sorted(missing)[0]}")
        if self.model is not None and len(self.pins) != 4:
            raise ValueError("`pins` of a transistor are four")
        if (self.state_erased is None) != (self.state_programmed is None):
            raise ValueError("`state_erased` and `state_programmed` belong together")
        if self.state_erased is not None and self.state is None:
            raise ValueError("`state_erased` and `state_programmed` need `state`, the name of the parameter")
        if self.programmed_as is not None and self.state is not None:
            raise ValueError("`programmed_as` is for a cell without `state`")
        ours = OWN_OPTIONS & {name.lower() for name in self.options}
        if ours:
            raise ValueError(f"`options` cannot set {sorted(ours)[0]}: norsim does")
        return self
