"""The keys of a chip file with their units and bounds.

The sections of encodings are in norsim.periphery, the keys of cell non-idealities in norsim.array.non_idealities.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field, create_model, model_validator

from norsim.array.non_idealities import registry
from norsim.array.non_idealities.non_ideality import NonIdeality
from norsim.array.sectors.neighbours import Neighbours
from norsim.chip.cell_schema import CellSection
from norsim.chip.circuit_schema import CircuitSection
from norsim.chip.layer_keys import AdcBits, LayerSection, RangeKey, RowsUsed, range_of
from norsim.chip.silicon import SiliconSection, silicon_section
from norsim.configuration.quantities import MOST_SECONDS, Kelvin, NotNegative, Seconds, Share, Steps, Volts, quantity
from norsim.configuration.section import Section
from norsim.periphery.adc import Kind
from norsim.periphery.circuits.energy import USUAL_COSTS
from norsim.periphery.mapping import MappingSection
from norsim.periphery.registry import ENCODINGS, EncodingSection, section_key
from norsim.periphery.sensing import SenseSection


class TileSection(Section):
    """`tile`: the size of a tile."""

    wordlines: Annotated[int, Field(ge=1, le=8192)]
    """Wordlines of a tile."""
    bitlines: Annotated[int, Field(ge=1, le=8192)]
    """Bitlines of a tile."""
    row_order: bool = False
    """Whether to order inputs by their weights so that source lines are loaded least."""
    rows_used: RowsUsed | None = None
    """Inputs of a layer on one tile, at most: fewer rows add up to less current and less IR drop, but take more tiles
    and conversions. null: as many as a tile holds."""


class AdcSection(Section):
    """`adc`: resolution, range and standard deviations of errors.

    See norsim.periphery.adc.ConverterSpread: `gain` is a share, the others are in steps.
    """

    bits: AdcBits
    """Resolution of the converter of each output."""
    range: RangeKey = "fitted"
    """Currents of the lowest and the highest code: `fitted` to each tile on training images, `full` for the full scale
    of the tile in both directions, or fixed, such as `[-2 uA, 8 uA]`."""
    gain: Share = 0.0
    """Standard deviation of the gain error between converters, as a share."""
    offset: Steps = 0.0
    """Standard deviation of the offset between converters, in steps."""
    bow: Steps = 0.0
    """Standard deviation of the bow between converters, in steps at mid-scale."""
    noise: Steps = 0.0
    """Standard deviation of the noise of each conversion, in steps."""
    type: Kind = "sar"
    """Kind of the converters, which sets the pattern of `adc.inl`, and, with `cost.cycle` and `cost.decision`, the time
    and energy of a conversion."""
    inl: Steps = 0.0
    """Standard deviation of the thresholds from a straight line, in steps at mid-scale; of at most 12 bits."""
    shared_by: Annotated[int, Field(ge=1, le=8192)] = 1
    """Neighbouring outputs of a tile that share one converter, with its errors; it converts one after the other."""
    reference: Literal["fixed", "ratiometric"] = "fixed"
    """Whether the converters' range is fixed or follows the current of reference cells from the temperature of the
    calibration to that of reads."""

    @model_validator(mode="after")
    def _has_a_range(self) -> AdcSection:
        range_of(self.range)
        return self


class NeighboursSection(Section):
    """`neighbours`: cells that share the bitlines of a tile and are not read. Not in linear-pair.

    See norsim.array.sectors.neighbours.
    """

    rows: Annotated[int, Field(ge=0, le=65_536)] = 0
    """Wordlines of other sectors on each bitline."""
    threshold: Volts | None = None
    """Mean threshold of their cells; null: the erased threshold."""
    spread: Annotated[float, quantity("volt"), Field(ge=0, le=10)] = 0.0
    """Standard deviation of these thresholds."""
    tail: Share = 0.0
    """Share of over-erased cells among them."""
    tail_depth: Annotated[float, quantity("volt"), Field(ge=0, le=10)] = 0.0
    """Mean of how far thresholds of over-erased cells are below the others."""
    idle_rows: bool = False
    """Whether the wordlines of a tile that hold no inputs have such cells too. Without, a tile has only the wordlines
    of its inputs."""

    def build(self) -> Neighbours:
        """Return the neighbours, in SI units."""
        return Neighbours(self.rows, self.threshold, self.spread, self.tail, self.tail_depth, self.idle_rows)


class DacSection(Section):
    """`dac`: standard deviation of the drain voltage levels, in steps."""

    steps: Steps = 0.0
    """Standard deviation of the drain voltage levels of linear-pair, in steps; the ends are exact."""


class CostSection(Section):
    """`cost`: see norsim.periphery.circuits.energy.Costs."""

    sample: Seconds = USUAL_COSTS.sample_seconds
    """Time from the step of the lines to the first conversion. The default is an estimate."""
    conversion: Seconds = USUAL_COSTS.conversion_seconds
    """Time per conversion. The default is that of Pelzers, van der Struijk and Harpe (2023), 65 nm, 20 MS/s."""
    adc_step: Annotated[float, quantity("joule"), NotNegative] = USUAL_COSTS.joules_per_step
    """Energy per conversion for each of the converter's 2^bits steps. The default is of the same converter."""
    cycle: Annotated[float, quantity("second"), Field(gt=0, le=MOST_SECONDS)] | None = None
    """Cycle of the converters' clock, instead of `cost.conversion`: `sar` takes one a bit, `ramp` 2^bits, `flash`
    one."""
    decision: Annotated[float, quantity("joule"), NotNegative] | None = None
    """Energy of a decision of a comparator, instead of `cost.adc_step`: `sar` makes one a bit, `ramp` and `flash`
    2^bits - 1."""
    held: bool = USUAL_COSTS.held
    """Whether each output has a sample-and-hold: cells conduct for `cost.sample`, not until the last conversion."""
    pump_efficiency: Annotated[float, Field(gt=0, le=1)] = USUAL_COSTS.pump_efficiency
    """Efficiency of the pump that supplies the wordlines. The default is an estimate."""
    circuits: CircuitSection = CircuitSection()


class CalibrationSection(Section):
    """`calibration`: see norsim.chip.model.Calibration."""

    images: Annotated[int, Field(ge=1, le=1_000_000)]
    """Training images that supply the inputs of each layer; all of them if there are fewer."""
    reads: Annotated[int, Field(ge=2, le=16_384)]
    """Reads per tile on the array for the fits; at most those of 2,048 activation vectors."""
    column_fit: bool
    """Whether each output has a digital gain and offset fitted to these reads."""
    fresh: bool = False
    """Whether to fit just after programming, at the temperature of programming, instead of at the time of use."""


class LeadingKeys(Section):
    """The keys of a chip file before the sections of the encodings."""

    name: str
    """Name of the chip."""
    temperature: Kelvin
    """Temperature of all cells in reads, and in program-verify unless `silicon.programmed_at` is set."""
    cell: CellSection
    tile: TileSection
    encoding: str
    """How the array computes; selects the section of the same name with underscores."""


class ChipFile(LeadingKeys):
    """A chip file, without the sections that registries determine: see `chip_file`."""

    mapping: MappingSection = MappingSection()
    sense: SenseSection = SenseSection()
    neighbours: NeighboursSection = NeighboursSection()
    adc: AdcSection
    dac: DacSection = DacSection()
    cost: CostSection = CostSection()
    silicon: SiliconSection = SiliconSection()
    calibration: CalibrationSection
    layers: dict[str, LayerSection] = Field(default={})
    """Keys of layers by patterns of their names, such as `{conv1: {adc: {bits: 9}}}`; a layer has those of the first
    pattern that matches its name."""

    @model_validator(mode="after")
    def _has_its_encoding(self) -> ChipFile:
        key = section_key(self.encoding)
        if getattr(self, key) is None:
            raise ValueError(f"encoding is {self.encoding}, but there is no section `{key}`")
        return self

    @property
    def encoded(self) -> EncodingSection:
        """Return the section of the selected encoding."""
        section: EncodingSection = getattr(self, section_key(self.encoding))
        return section


def chip_file() -> type[ChipFile]:
    """Return the model of a chip file, with a section for each registered encoding and the keys of each registered
    non-ideality."""
    return _chip_file(tuple(ENCODINGS.items()), registry.NON_IDEALITIES)


@lru_cache(maxsize=8)
def _chip_file(
    encodings: tuple[tuple[str, type[EncodingSection]], ...], non_idealities: tuple[type[NonIdeality], ...]
) -> type[ChipFile]:
    names: Any = Literal.__getitem__(tuple(name for name, _ in encodings))
    encoding = Field(description=LeadingKeys.model_fields["encoding"].description)
    sections: dict[str, Any] = {section_key(name): (section | None, None) for name, section in encodings}
    leading = create_model("LeadingKeys", __base__=LeadingKeys, **sections)
    silicon = silicon_section(non_idealities)
    # The last base has its keys first.
    bases: Any = (ChipFile, leading)
    made: type[ChipFile] = create_model(
        "ChipFile", __base__=bases, encoding=(names, encoding), silicon=(silicon, silicon())
    )
    return made
