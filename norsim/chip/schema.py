"""The keys of a chip file with their units and bounds."""

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
    """`tile`: the size of a tile."""

    wordlines: Annotated[int, Field(ge=1, le=8192)]
    """Wordlines of a tile."""
    bitlines: Annotated[int, Field(ge=1, le=8192)]
    """Bitlines of a tile."""
    row_order: bool = False
    """Whether to order inputs by their weights so that source lines are loaded least."""


class SensedWiresSection(Section):
    """`linear_pair.wires`: resistances per segment and at the ends; each row has a source line, sensed at one end."""

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


class WiresSection(SensedWiresSection):
    """`bit_serial.wires`: source lines are shared by rows and strapped to ground; see norsim.array.wires."""

    rows_per_source_line: Annotated[int, Field(ge=1)]
    """Wordlines that share a source line."""
    strap_every: Annotated[int, Field(ge=2)] | None
    """Bitlines between two straps to ground, with straps at both edges; null: no straps, sensed beside bitline 0."""


class EncodingSection(Protocol):
    """The interface of all encoding sections."""

    @property
    def wires(self) -> SensedWiresSection:
        """Return the wires of an array with this encoding."""

    @property
    def settle(self) -> float | None:
        """Return the seconds from a step of the wordlines to the sample of a read; None for settled reads."""

    def encoding(self) -> Encoding:
        """Return the encoding, in SI units."""


class BitSerialSection(Section):
    """`bit_serial`: read voltages, top level current, zero point, and wires."""

    wordline_read: Volts
    """Gate voltage of a 1 bit; a 0 bit is 0 V."""
    bitline_read: Volts
    """Voltage of every bitline."""
    top_level: Amperes
    """Cell current of weight code 15; levels are uniform in current from 0."""
    zero_point: ZeroPoint
    """Source of the term of the weights' zero point."""
    reference_every: Annotated[int, Field(ge=2)]
    """Bitlines per group, including its reference column. Only for `reference`."""
    settle: Annotated[float, quantity("second"), Field(gt=0, allow_inf_nan=False)] | None = None
    """Time from a step of the wordlines to the sample of a read; null: reads are settled."""
    wires: WiresSection

    def encoding(self) -> BitSerial:
        """Return the encoding."""
        return BitSerial(
            self.wordline_read, self.bitline_read, self.top_level, self.zero_point, self.reference_every
        )  # fmt: skip


class LinearPairSection(Section):
    """`linear_pair`: bias, full drain voltage, level currents at that voltage, and wires."""

    wordline_bias: Volts
    """Gate voltage of every cell."""
    drain_full: Volts
    """Drain voltage of activation code 15."""
    base_level: Amperes
    """Cell current of weight code 0 at `drain_full`."""
    top_level: Amperes
    """Cell current of weight code 15 at `drain_full`."""
    wires: SensedWiresSection
    # Its wordlines are constant.
    settle: ClassVar[None] = None

    def encoding(self) -> LinearPair:
        """Return the encoding."""
        return LinearPair(self.wordline_bias, self.drain_full, self.base_level, self.top_level)


class AdcSection(Section):
    """`adc`: resolution and standard deviations of errors; the range is fitted on training images.

    See norsim.periphery.adc.ConverterSpread: `gain` is a share, the others are in steps.
    """

    bits: Annotated[int, Field(ge=1, le=24)]
    """Resolution of the converter of each output."""
    gain: Share = 0.0
    """Standard deviation of the gain error between converters, as a share."""
    offset: Steps = 0.0
    """Standard deviation of the offset between converters, in steps."""
    bow: Steps = 0.0
    """Standard deviation of the bow between converters, in steps at mid-scale."""
    noise: Steps = 0.0
    """Standard deviation of the noise of each conversion, in steps."""


class DacSection(Section):
    """`dac`: standard deviation of the drain voltage levels, in steps."""

    steps: Steps = 0.0
    """Standard deviation of the drain voltage levels of linear-pair, in steps; the ends are exact."""


class CostSection(Section):
    """`cost`: see norsim.periphery.energy.Costs."""

    sample: Seconds = USUAL_COSTS.sample_seconds
    """Time for which cells conduct in a read."""
    conversion: Seconds = USUAL_COSTS.conversion_seconds
    """Time per conversion."""
    adc_step: Annotated[float, quantity("joule"), NotNegative] = USUAL_COSTS.joules_per_step
    """Energy per conversion for each of the converter's 2^bits steps."""


class SpreadSection(Section):
    """A spread in current, sigma(I) = scale (1 - exp(-I / knee))."""

    scale: Amperes
    """Spread at large currents."""
    knee: Amperes
    """Current at which the spread saturates."""

    def spread(self) -> CurrentSpread:
        """Return the spread as a model of the array."""
        return CurrentSpread(self.scale, self.knee)


class AgedSection(SpreadSection):
    """`silicon.aged`: the spread in current some time after programming."""

    after: Annotated[float, quantity("second"), Field(gt=0, allow_inf_nan=False)]
    """Time since programming."""


class SiliconSection(Section):
    """`silicon`: cell non-idealities, none by default; see norsim.array.variation.Silicon."""

    programming: SpreadSection | None = None
    """`scale` and `knee`, currents: spread in current after program-verify."""
    aged: AgedSection | None = None
    """`scale`, `knee` and `after`, a time: spread in current at that time after programming."""
    reading: SpreadSection | None = None
    """`scale` and `knee`: spread in current from read to read."""
    measured: str | None = None
    """Table of measured cells beside the chip file, instead of `programming` and `aged`."""
    programming_volts: Deviation = 0.0
    """Standard deviation of cell thresholds after programming."""
    lost_a_decade: Share = 0.0
    """Share of the stored charge that is lost per decade of time in seconds."""
    neutral: Volts = 0.0
    """Threshold of a cell without stored charge."""
    time: Seconds = 0.0
    """Time since programming."""
    telegraph_a_decade: Deviation = 0.0
    """Increase in amplitude that makes telegraph noise ten times as rare."""
    die: Deviation = 0.0
    """Standard deviation between chips of a shift common to all thresholds."""
    cell: Deviation = 0.0
    """Standard deviation of cell thresholds due to mismatch."""
    stuck: Share = 0.0
    """Share of cells that conduct like erased ones."""
    open: Share = 0.0
    """Share of cells that do not conduct."""
    in_situ: bool = False
    """Whether to program each cell to conduct its level in the array, under the usual IR drop, instead of alone."""
    programmed_at: Kelvin | None = None
    """Temperature of program-verify; null: `temperature`."""
    tracking: bool = False
    """Whether the read voltage of the wordlines tracks a reference cell over temperature."""


class CalibrationSection(Section):
    """`calibration`: see norsim.chip.model.Calibration."""

    images: Annotated[int, Field(ge=1)]
    """Training images that supply the inputs of each layer."""
    reads: Annotated[int, Field(ge=2)]
    """Reads per tile on the array for the fits."""
    column_fit: bool
    """Whether each output has a digital gain and offset fitted to these reads."""
    fresh: bool = False
    """Whether to fit just after programming, at the temperature of programming, instead of at the time of use."""


# Each has a section of the same name with underscores.
EncodingName = Literal["bit-serial", "linear-pair"]


class ChipFile(Section):
    """A chip file."""

    name: str
    """Name of the chip."""
    temperature: Kelvin
    """Temperature of all cells in reads, and in program-verify unless `silicon.programmed_at` is set."""
    cell: CellSection
    tile: TileSection
    encoding: EncodingName
    """How the array computes; selects the section `bit_serial` or `linear_pair`."""
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
        """Return the section of the selected encoding."""
        section: EncodingSection = getattr(self, self.encoding.replace("-", "_"))
        return section
