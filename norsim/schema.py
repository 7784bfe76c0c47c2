"""The keys of a chip file: which there are, in which units, within which bounds."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from norsim.array.variation import CurrentSpread
from norsim.periphery.bit_serial import BitSerial, ZeroPoint
from norsim.periphery.encoding import Encoding
from norsim.periphery.energy import USUAL_COSTS
from norsim.periphery.linear_pair import LinearPair
from norsim.quantities import (
    Amperes,
    Deviation,
    Farads,
    Kelvin,
    NotNegative,
    Ohms,
    Seconds,
    Share,
    Steps,
    Volts,
    any_quantity,
    quantity,
)

NAME = r"^[A-Za-z_][A-Za-z0-9_.]*$"
# What norsim's decks set themselves.
OWN_OPTIONS = {"gmin", "abstol", "reltol", "vntol", "temp", "method", "klu", "sparse"}
SPICE_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[A-Za-z]{0,8}")


def _pin(value: Any) -> Any:
    if value in ("drain", "gate", "source", "bulk", "ground"):
        return value
    try:
        return VOLTS.func(value)
    except ValueError:
        raise ValueError(
            f"expected drain, gate, source, bulk, ground or volts such as '1.2 V', not {value!r}"
        ) from None


def _spice_number(value: Any) -> str:
    if isinstance(value, bool) or not SPICE_NUMBER.fullmatch(str(value)):
        raise ValueError(f"expected a number as SPICE has it, such as 70n or 1e-6, not {value!r}")
    return str(value)


VOLTS: Any = quantity("volt")
Name = Annotated[str, Field(pattern=NAME)]
# A node of the cell's model: a terminal, or volts of its own.
Pin = Annotated[str | float, BeforeValidator(_pin)]
Parameter = Annotated[float, BeforeValidator(any_quantity), Field(allow_inf_nan=False)]
SpiceNumber = Annotated[str, BeforeValidator(_spice_number)]


class Section(BaseModel):
    """Common to all parts of a chip file: unknown keys are errors, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LibrarySection(Section):
    """An entry of `cell.models`: a file, or a section of it that begins with `.lib SECTION`, such as a corner."""

    file: str
    section: Annotated[str, Field(pattern=NAME)] | None = None


class CellSection(Section):
    """`cell`: which files, which subcircuit or transistor, how it is connected, what carries its state, its window."""

    netlist: str | None = None
    models: list[str | LibrarySection] = []
    subcircuit: Name | None = None
    model: Name | None = None
    pins: Annotated[list[Pin], Field(min_length=3, max_length=32)] = ["drain", "gate", "source", "bulk"]
    state: Name | None = None
    state_erased: Parameter | None = None
    state_programmed: Parameter | None = None
    programmed_as: Name | None = None
    erased: Volts
    programmed: Volts
    lowest: Volts | None = None
    highest: Volts | None = None
    instance: dict[Name, SpiceNumber] = {}
    params: dict[Name, SpiceNumber] = {}
    options: dict[Name, SpiceNumber] = {}
    compatibility: Annotated[str, Field(pattern=r"^[a-z]{0,12}$")] = ""
    osdi: list[str] = []

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


class TileSection(Section):
    """`tile`: lines of one tile."""

    wordlines: Annotated[int, Field(ge=1, le=8192)]
    bitlines: Annotated[int, Field(ge=1, le=8192)]
    row_order: bool = False


class SensedWiresSection(Section):
    """`linear_pair.wires`: ohms a segment and at the ends; each row has a source line, sensed at one end."""

    bitline: Ohms
    bitline_end: Ohms
    source_line: Ohms
    source_line_end: Ohms
    wordline: Ohms = 0.0
    wordline_end: Ohms = 0.0
    wordline_farads: Farads = 0.0
    bitline_farads: Farads = 0.0
    source_line_farads: Farads = 0.0


class WiresSection(SensedWiresSection):
    """`bit_serial.wires`: source lines are shared by rows and strapped to ground as well; see norsim.array.wires."""

    rows_per_source_line: Annotated[int, Field(ge=1)]
    strap_every: Annotated[int, Field(ge=2)] | None


class EncodingSection(Protocol):
    """What the section of every encoding has."""

    @property
    def wires(self) -> SensedWiresSection:
        """The wires of an array that is used so."""

    @property
    def settle(self) -> float | None:
        """How long after its wordlines step a read is sampled, seconds; None for long enough."""

    def encoding(self) -> Encoding:
        """The encoding, in SI units."""


class BitSerialSection(Section):
    """`bit_serial`: volts, top level current and zero point, and the wires of such an array."""

    wordline_read: Volts
    bitline_read: Volts
    top_level: Amperes
    zero_point: ZeroPoint
    reference_every: Annotated[int, Field(ge=2)]
    settle: Annotated[float, quantity("second"), Field(gt=0, allow_inf_nan=False)] | None = None
    wires: WiresSection

    def encoding(self) -> BitSerial:
        """Bits on the wordlines."""
        return BitSerial(
            self.wordline_read, self.bitline_read, self.top_level, self.zero_point, self.reference_every
        )  # fmt: skip


class LinearPairSection(Section):
    """`linear_pair`: bias, full drain volts and level currents there, and the wires of such an array."""

    wordline_bias: Volts
    drain_full: Volts
    base_level: Amperes
    top_level: Amperes
    wires: SensedWiresSection
    # Its wordlines do not step.
    settle: ClassVar[None] = None

    def encoding(self) -> LinearPair:
        """Activations as drain volts."""
        return LinearPair(self.wordline_bias, self.drain_full, self.base_level, self.top_level)


class AdcSection(Section):
    """`adc`: resolution, and standard deviations of what is wrong; the range is fitted on training images.

    See norsim.periphery.adc.ConverterSpread: `gain` is a share, the others are in steps.
    """

    bits: Annotated[int, Field(ge=1, le=24)]
    gain: Share = 0.0
    offset: Steps = 0.0
    bow: Steps = 0.0
    noise: Steps = 0.0


class DacSection(Section):
    """`dac`: standard deviation of the levels of the drain volts, in steps."""

    steps: Steps = 0.0


class CostSection(Section):
    """`cost`: see norsim.periphery.energy.Costs."""

    sample: Seconds = USUAL_COSTS.sample_seconds
    conversion: Seconds = USUAL_COSTS.conversion_seconds
    adc_step: Annotated[float, quantity("joule"), NotNegative] = USUAL_COSTS.joules_per_step


class SpreadSection(Section):
    """A spread in current, sigma(I) = scale (1 - exp(-I / knee))."""

    scale: Amperes
    knee: Amperes

    def spread(self) -> CurrentSpread:
        """As the array has it."""
        return CurrentSpread(self.scale, self.knee)


class AgedSection(SpreadSection):
    """`silicon.aged`: the spread in current so long after programming."""

    after: Annotated[float, quantity("second"), Field(gt=0, allow_inf_nan=False)]


class SiliconSection(Section):
    """`silicon`: what ails the cells; see norsim.array.variation.Silicon. Without it they are what they should be."""

    programming: SpreadSection | None = None
    aged: AgedSection | None = None
    reading: SpreadSection | None = None
    measured: str | None = None
    programming_volts: Deviation = 0.0
    lost_a_decade: Share = 0.0
    neutral: Volts = 0.0
    time: Seconds = 0.0
    telegraph_a_decade: Deviation = 0.0
    die: Deviation = 0.0
    cell: Deviation = 0.0
    stuck: Share = 0.0
    open: Share = 0.0
    in_situ: bool = False
    programmed_at: Kelvin | None = None
    tracking: bool = False


class CalibrationSection(Section):
    """`calibration`: see norsim.chip.Calibration."""

    images: Annotated[int, Field(ge=1)]
    reads: Annotated[int, Field(ge=2)]
    column_fit: bool
    fresh: bool = False


# Each has a section of that name, with underscores.
EncodingName = Literal["bit-serial", "linear-pair"]


class ChipFile(Section):
    """A whole chip file."""

    name: str
    temperature: Kelvin
    cell: CellSection
    tile: TileSection
    encoding: EncodingName
    bit_serial: BitSerialSection | None = None
    linear_pair: LinearPairSection | None = None
    adc: AdcSection
    dac: DacSection = DacSection()
    cost: CostSection = CostSection()
    silicon: SiliconSection = SiliconSection()
    calibration: CalibrationSection

    @model_validator(mode="after")
    def _has_its_encoding(self) -> ChipFile:
        name = self.encoding.replace("-", "_")
        if getattr(self, name) is None:
            raise ValueError(f"encoding is {self.encoding}, but there is no section `{name}`")
        return self

    @property
    def encoded(self) -> EncodingSection:
        """The section of the encoding that counts."""
        section: EncodingSection = getattr(self, self.encoding.replace("-", "_"))
        return section
