"""The keys of a chip file: which there are, in which units, within which bounds."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Protocol

from pydantic import Field, model_validator

from norsim.array.variation import CurrentSpread
from norsim.chip.cell_schema import CellSection, Section
from norsim.chip.quantities import (
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
    quantity,
)
from norsim.periphery.bit_serial import BitSerial, ZeroPoint
from norsim.periphery.encoding import Encoding
from norsim.periphery.energy import USUAL_COSTS
from norsim.periphery.linear_pair import LinearPair


class TileSection(Section):
    """`tile`: lines of one tile."""

    wordlines: Annotated[int, Field(ge=1, le=8192)]
    """Wordlines of a tile."""
    bitlines: Annotated[int, Field(ge=1, le=8192)]
    """Bitlines of a tile."""
    row_order: bool = False
    """Whether inputs are put in the order that loads source lines least, by their weights."""


class SensedWiresSection(Section):
    """`linear_pair.wires`: ohms a segment and at the ends; each row has a source line, sensed at one end."""

    bitline: Ohms
    """One bitline segment, from cell to cell."""
    bitline_end: Ohms
    """Between a bitline's volts and its first cell: sense amplifier and column select, or driver."""
    source_line: Ohms
    """One source-line segment, from cell to cell."""
    source_line_end: Ohms
    """A strap's contact, or the sense amplifier's input."""
    wordline: Ohms = 0.0
    """One wordline segment."""
    wordline_end: Ohms = 0.0
    """A wordline's driver."""
    wordline_farads: Farads = 0.0
    """Capacitance of a wordline to ground, a cell: wire and gate."""
    bitline_farads: Farads = 0.0
    """The same of a bitline: wire and junction."""
    source_line_farads: Farads = 0.0
    """The same of a source line."""


class WiresSection(SensedWiresSection):
    """`bit_serial.wires`: source lines are shared by rows and strapped to ground as well; see norsim.array.wires."""

    rows_per_source_line: Annotated[int, Field(ge=1)]
    """Wordlines that share a source line."""
    strap_every: Annotated[int, Field(ge=2)] | None
    """Bitlines between two straps to ground, the edges being straps as well; null: no straps, sensed beside bitline
    0."""


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
    """Gate volts of a 1 bit; a 0 bit is 0 V."""
    bitline_read: Volts
    """Volts on every bitline."""
    top_level: Amperes
    """Cell current of weight code 15; codes are uniform in current from 0."""
    zero_point: ZeroPoint
    """Where the term of the weights' zero point comes from."""
    reference_every: Annotated[int, Field(ge=2)]
    """Bitlines of a group; one of them is the reference column. Counts for `reference` alone."""
    settle: Annotated[float, quantity("second"), Field(gt=0, allow_inf_nan=False)] | None = None
    """How long after its wordlines step a read is sampled; null: long enough."""
    wires: WiresSection

    def encoding(self) -> BitSerial:
        """Bits on the wordlines."""
        return BitSerial(
            self.wordline_read, self.bitline_read, self.top_level, self.zero_point, self.reference_every
        )  # fmt: skip


class LinearPairSection(Section):
    """`linear_pair`: bias, full drain volts and level currents there, and the wires of such an array."""

    wordline_bias: Volts
    """Gate volts of every cell."""
    drain_full: Volts
    """Drain volts of activation code 15."""
    base_level: Amperes
    """Cell current of weight code 0 at `drain_full`."""
    top_level: Amperes
    """Cell current of weight code 15 at `drain_full`."""
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
    """Resolution of each output's converter."""
    gain: Share = 0.0
    """Standard deviation of gain errors over converters, a share."""
    offset: Steps = 0.0
    """The same of offsets, in steps."""
    bow: Steps = 0.0
    """The same of bows, largest at mid-scale, in steps."""
    noise: Steps = 0.0
    """Standard deviation of each conversion, in steps."""


class DacSection(Section):
    """`dac`: standard deviation of the levels of the drain volts, in steps."""

    steps: Steps = 0.0
    """Standard deviation of the levels of linear-pair's drain volts, in steps; their ends are exact."""


class CostSection(Section):
    """`cost`: see norsim.periphery.energy.Costs."""

    sample: Seconds = USUAL_COSTS.sample_seconds
    """How long cells conduct in a read."""
    conversion: Seconds = USUAL_COSTS.conversion_seconds
    """How long a conversion takes."""
    adc_step: Annotated[float, quantity("joule"), NotNegative] = USUAL_COSTS.joules_per_step
    """What a conversion takes, for each of the 2^bits steps of its converter."""


class SpreadSection(Section):
    """A spread in current, sigma(I) = scale (1 - exp(-I / knee))."""

    scale: Amperes
    """The spread at large currents."""
    knee: Amperes
    """The current where it bends."""

    def spread(self) -> CurrentSpread:
        """As the array has it."""
        return CurrentSpread(self.scale, self.knee)


class AgedSection(SpreadSection):
    """`silicon.aged`: the spread in current so long after programming."""

    after: Annotated[float, quantity("second"), Field(gt=0, allow_inf_nan=False)]
    """Time since programming."""


class SiliconSection(Section):
    """`silicon`: what ails the cells; see norsim.array.variation.Silicon. Without it they are what they should be."""

    programming: SpreadSection | None = None
    """`scale` and `knee`, currents: the spread in current that program-verify leaves."""
    aged: AgedSection | None = None
    """`scale`, `knee` and `after`, a time: the spread so long after programming."""
    reading: SpreadSection | None = None
    """`scale` and `knee`: the spread from one read to the next."""
    measured: str | None = None
    """A table of measured cells beside the chip file, in place of `programming` and `aged`."""
    programming_volts: Deviation = 0.0
    """Standard deviation of each cell's threshold after programming."""
    lost_a_decade: Share = 0.0
    """Share of the stored charge that is lost a decade of time in seconds."""
    neutral: Volts = 0.0
    """Threshold of a cell without stored charge."""
    time: Seconds = 0.0
    """Time since programming."""
    telegraph_a_decade: Deviation = 0.0
    """By so much larger amplitudes of telegraph noise are ten times as rare."""
    die: Deviation = 0.0
    """Standard deviation of all thresholds of a chip together."""
    cell: Deviation = 0.0
    """Standard deviation of each cell's threshold by mismatch."""
    stuck: Share = 0.0
    """Share of cells that conduct like erased ones."""
    open: Share = 0.0
    """Share of cells that do not conduct."""
    in_situ: bool = False
    """Whether cells are programmed to conduct in their places what others are to conduct alone."""
    programmed_at: Kelvin | None = None
    """Temperature of program-verify; null: `temperature`."""
    tracking: bool = False
    """Whether the wordlines' read volts follow a reference cell over temperature."""


class CalibrationSection(Section):
    """`calibration`: see norsim.chip.model.Calibration."""

    images: Annotated[int, Field(ge=1)]
    """Training images that show each layer its inputs."""
    reads: Annotated[int, Field(ge=2)]
    """Reads a tile that are made on the array for the fits."""
    column_fit: bool
    """Whether each output gets a digital gain and offset, fitted on these reads."""
    fresh: bool = False
    """Whether fits are made just after programming, at the temperature of that, instead of when the chip is used."""


# Each has a section of that name, with underscores.
EncodingName = Literal["bit-serial", "linear-pair"]


class ChipFile(Section):
    """A whole chip file."""

    name: str
    """What the chip is called."""
    temperature: Kelvin
    """Temperature of all cells in reads, and in program-verify unless `silicon.programmed_at` says otherwise."""
    cell: CellSection
    tile: TileSection
    encoding: EncodingName
    """How the array computes; decides which of the sections `bit_serial` and `linear_pair` counts."""
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
