"""Chip files: YAML with units in strings -> validated -> the dataclasses of the array, in SI units."""

from __future__ import annotations

import difflib
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pint
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from norsim.array.cell import Cell
from norsim.array.measured import read_measured
from norsim.array.variation import NO_SPREAD, CurrentSpread, Silicon
from norsim.array.wires import Wires
from norsim.chip import Calibration, Chip
from norsim.errors import ConfigurationError
from norsim.paths import models_folder, netlists_folder
from norsim.periphery.adc import ConverterSpread
from norsim.periphery.bit_serial import BitSerial, ZeroPoint
from norsim.periphery.energy import USUAL_COSTS, Costs
from norsim.periphery.linear_pair import LinearPair
from norsim.spice.source import Source

LARGEST_YAML_BYTES = 1 << 20
QUANTITY = re.compile(r"([-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf))\s*([^\W\d_]+(?:[/*][^\W\d_]+)*)")


@lru_cache
def _units() -> pint.UnitRegistry[float]:
    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True)


def quantity(unit: str) -> BeforeValidator:
    """Accepts text such as `1.6 uA` and gives the number in `unit`; a bare number has no unit and is refused."""

    def convert(value: Any) -> float:
        if not isinstance(value, str):
            raise ValueError(f"give a quantity with its unit, for example '1 {unit}', not {value!r}")
        match = QUANTITY.fullmatch(value.strip())
        try:
            if match is None:
                raise ValueError
            return float(_units().Quantity(float(match[1]), match[2]).to(unit).magnitude)
        except (pint.PintError, ValueError):
            raise ValueError(f"{value!r} is not a quantity in units of {unit}, such as '1 {unit}'") from None

    return BeforeValidator(convert)


Volts = Annotated[float, quantity("volt"), Field(allow_inf_nan=False)]
Amperes = Annotated[float, quantity("ampere"), Field(gt=0, allow_inf_nan=False)]
Ohms = Annotated[float, quantity("ohm"), Field(ge=0, allow_inf_nan=False)]
NotNegative = Field(ge=0, allow_inf_nan=False)
Farads = Annotated[float, quantity("farad"), NotNegative]
Kelvin = Annotated[float, quantity("kelvin"), Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, quantity("second"), NotNegative]
Deviation = Annotated[float, quantity("volt"), NotNegative]
Share = Annotated[float, Field(ge=0, le=1)]
Steps = Annotated[float, NotNegative]


class Section(BaseModel):
    """Common to all parts of a chip file: unknown keys are errors, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CellSection(Section):
    """`cell`: which files, which subcircuit, which parameter carries the threshold, and its window."""

    netlist: str
    models: list[str]
    subcircuit: str
    state: str
    erased: Volts
    programmed: Volts


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


class BitSerialSection(Section):
    """`bit_serial`: volts, top level current and zero point, and the wires of such an array."""

    wordline_read: Volts
    bitline_read: Volts
    top_level: Amperes
    zero_point: ZeroPoint
    reference_every: Annotated[int, Field(ge=2)]
    settle: Annotated[float, quantity("second"), Field(gt=0, allow_inf_nan=False)] | None = None
    wires: WiresSection


class LinearPairSection(Section):
    """`linear_pair`: bias, full drain volts and level currents there, and the wires of such an array."""

    wordline_bias: Volts
    drain_full: Volts
    base_level: Amperes
    top_level: Amperes
    wires: SensedWiresSection


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


class ChipFile(Section):
    """A whole chip file."""

    name: str
    temperature: Kelvin
    cell: CellSection
    tile: TileSection
    encoding: Literal["bit-serial", "linear-pair"]
    bit_serial: BitSerialSection
    linear_pair: LinearPairSection
    adc: AdcSection
    dac: DacSection = DacSection()
    cost: CostSection = CostSection()
    silicon: SiliconSection = SiliconSection()
    calibration: CalibrationSection


def presets() -> dict[str, Path]:
    """The chips that come with norsim, by name."""
    return {path.stem: path for path in sorted((models_folder() / "chips").glob("*.yaml"))}


def load_chip(chip: str | Path, settings: tuple[str, ...] = (), trust_cell: bool = False) -> Chip:
    """The chip of a YAML file or preset name, with `key.key=value` settings put over it.

    What its cell and model files may hold, and where they may lie, is limited (norsim.spice.source) unless
    `trust_cell`. Raises ConfigurationError, with a "did you mean" for unknown names and keys.
    """
    content, path = read_chip_file(chip)
    return build_chip(apply_settings(content, settings), path, trust_cell)


def read_chip_file(chip: str | Path) -> tuple[dict[str, Any], Path]:
    """The YAML content of a chip file or preset, and where it lies."""
    path = Path(chip) if Path(chip).suffix in (".yaml", ".yml") else presets().get(str(chip))
    if path is None:
        raise ConfigurationError(
            f"no chip {str(chip)!r}{_meant(str(chip), list(presets()))}. Give a preset or a .yaml file"
        )
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ConfigurationError(f"chip file {path} holds no keys")
    return content, path


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, a few lines of which can stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias (*name); write the value out")
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file of up to 1 MiB. Raises ConfigurationError where it is none."""
    try:
        if path.stat().st_size > LARGEST_YAML_BYTES:
            raise ConfigurationError(f"{path} has {path.stat().st_size} bytes; at most {LARGEST_YAML_BYTES} are read")
        return yaml.load(path.read_text(), _PlainLoader)
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigurationError(f"{path} cannot be read: {problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        raise ConfigurationError(f"{path} is not YAML that can be read: {' '.join(str(problem).split())}") from None


def apply_settings(content: dict[str, Any], settings: tuple[str, ...]) -> dict[str, Any]:
    """`content` with each `key.key=value` put in; values are read as YAML."""
    for setting in settings:
        keys, equals, text = setting.partition("=")
        if not equals:
            raise ConfigurationError(f"--set {setting!r}: expected key=value, for example adc.bits=10")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigurationError(f"--set {setting!r}: {text!r} is not a YAML value") from None
        content = _with(content, keys.strip().split("."), value, setting, ChipFile)
    return content


def _with(content: dict[str, Any], keys: list[str], value: Any, setting: str, section: type[Section]) -> dict[str, Any]:
    first, rest = keys[0], keys[1:]
    known = section.model_fields
    if first not in known:
        raise ConfigurationError(f"--set {setting!r}: there is no key {first!r}{_meant(first, list(known))}")
    if not rest:
        return {**content, first: value}
    below = _section_of(known[first].annotation)
    if below is None:
        raise ConfigurationError(f"--set {setting!r}: {first!r} has no keys below it")
    # A part that the file leaves out, or has as null, starts empty.
    return {**content, first: _with(content.get(first) or {}, rest, value, setting, below)}


def _section_of(annotation: Any) -> type[Section] | None:
    """The part of a chip file that a key's type stands for, optional or not; None for a plain value."""
    kinds = [
        kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type) and issubclass(kind, Section)
    ]
    return kinds[0] if kinds else None


def build_chip(content: dict[str, Any], path: Path, trust_cell: bool = False) -> Chip:
    """Validates the content of a chip file and turns it into SI units."""
    try:
        file = ChipFile.model_validate(content)
    except ValidationError as problem:
        raise ConfigurationError(f"chip file {path}: {_first_problem(problem, content)}") from None
    cell = Cell(
        subcircuit=file.cell.subcircuit,
        netlist=_text(file.cell.netlist, path, netlists_folder() / "cells", trust_cell),
        models="\n".join(_text(name, path, models_folder() / "devices", trust_cell) for name in file.cell.models),
        state=file.cell.state,
        erased_volts=file.cell.erased,
        programmed_volts=file.cell.programmed,
        temperature_kelvin=file.temperature,
    )
    encoding, wires = _encoding(file)
    adc = file.adc
    return Chip(
        file.name, cell, wires, file.tile.wordlines, file.tile.bitlines, encoding, adc.bits,
        Calibration(**file.calibration.model_dump()), ConverterSpread(adc.gain, adc.offset, adc.bow, adc.noise),
        file.dac.steps, _silicon(file.silicon, path), file.silicon.programmed_at, file.silicon.tracking,
        file.silicon.in_situ, file.bit_serial.settle if file.encoding == "bit-serial" else None,
        file.tile.row_order, Costs(file.cost.sample, file.cost.conversion, file.cost.adc_step),
    )  # fmt: skip


def _silicon(section: SiliconSection, path: Path) -> Silicon:
    return Silicon(
        programming=section.programming.spread() if section.programming else NO_SPREAD,
        aged=section.aged.spread() if section.aged else None,
        aged_seconds=section.aged.after if section.aged else 1.0,
        reading=section.reading.spread() if section.reading else NO_SPREAD,
        measured=read_measured(path.parent / section.measured) if section.measured else None,
        programming_volts=section.programming_volts, lost_share=section.lost_a_decade, neutral_volts=section.neutral,
        seconds=section.time, telegraph_volts=section.telegraph_a_decade, die_volts=section.die,
        cell_volts=section.cell, stuck=section.stuck, open=section.open,
    )  # fmt: skip


def _encoding(file: ChipFile) -> tuple[BitSerial | LinearPair, Wires]:
    if file.encoding == "bit-serial":
        serial = file.bit_serial
        return BitSerial(
            serial.wordline_read,
            serial.bitline_read,
            serial.top_level,
            serial.zero_point,
            serial.reference_every,
        ), _wires(serial.wires)
    pair = file.linear_pair
    return LinearPair(pair.wordline_bias, pair.drain_full, pair.base_level, pair.top_level), _wires(pair.wires)


def _wires(section: SensedWiresSection) -> Wires:
    return Wires(
        section.bitline, section.bitline_end, section.source_line, section.source_line_end,
        section.rows_per_source_line if isinstance(section, WiresSection) else 1,
        section.strap_every if isinstance(section, WiresSection) else None,
        section.wordline, section.wordline_end, section.wordline_farads, section.bitline_farads,
        section.source_line_farads,
    )  # fmt: skip


def _text(name: str, chip_path: Path, packaged: Path, trust_cell: bool) -> str:
    """A file named in a chip file: beside that file, or among those that come with norsim."""
    for folder in (chip_path.parent, packaged):
        if (folder / name).is_file():
            return Source((chip_path.parent, packaged), trust_cell).read(folder / name)
    raise ConfigurationError(f"chip file {chip_path}: no file {name!r} beside it or in {packaged}")


def _first_problem(problem: ValidationError, content: dict[str, Any]) -> str:
    # A misspelt key also leaves its right name missing: the misspelling is what to speak of.
    first = min(problem.errors(), key=lambda error: error["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"{place}: {first['msg'].removeprefix('Value error, ')}"
    section: Any = ChipFile
    for part in first["loc"][:-1]:
        section = _section_of(section.model_fields[str(part)].annotation)
    return f"unknown key {place!r}{_meant(str(first['loc'][-1]), list(section.model_fields))}"


def _meant(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"
